"""Locks of open files, which other processes see."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
CAN_RENAME_OPEN_FILES = fcntl is not None  # Windows cannot, and has no `fcntl`
# Windows locks bytes, which no other process can then read: one far behind the content
_LOCKED_BYTE = 1024 * 1024 * 1024
_TRY_EVERY_S = 0.1


def try_lock(descriptor: int, *, is_shared: bool = False) -> bool:
    """Return False if another process has locked the file; raise `OSError` without locks.

    On Windows, no lock is shared. It is released when the file is closed or the process ends.
    """
    try:
        if fcntl is None:
            _lock_byte(descriptor)
        else:
            kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # Windows raises the latter
        return False
    return True


@asynccontextmanager
async def one_process(file: Path, wait_s: float) -> AsyncIterator[None]:
    """Let no other process be in a block with this file, for at most `wait_s`.

    Without locks, or where the file cannot be written, nothing waits.
    """
    import asyncio  # noqa: PLC0415 - not before the first paint

    with ExitStack() as stack:
        with suppress(OSError, TimeoutError):
            opened = stack.enter_context(await asyncio.to_thread(file.open, "ab"))
            async with asyncio.timeout(wait_s):
                while not try_lock(opened.fileno()):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(_TRY_EVERY_S)
        yield


def has_locks(folder: Path) -> bool:
    """Whether files in a folder can be locked as SQLite does it; True if that cannot be tried.

    Some network disks have no such locks (`ENOLCK`, `EOPNOTSUPP`, `ENOSYS`). SQLite takes the first
    for the lock of another program, and waits for its end.
    """
    if fcntl is None:
        return True
    return _can_lock(folder, lambda file: fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB))


def has_file_locks(folder: Path) -> bool:
    """Whether `try_lock` works in a folder; True if that cannot be tried."""
    return _can_lock(folder, try_lock)


def is_byte_locked(path: Path, position: int) -> bool:
    """Whether another process has locked a byte of a file as SQLite does it. Raises `OSError`.

    False on Windows, where nobody can rename or remove a file that another one has open.
    """
    if fcntl is None:
        return False
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, position)
        except OSError:
            return True
    return False


def _can_lock(folder: Path, lock: Callable[[int], object]) -> bool:
    path = folder / f".lmchat-{os.urandom(4).hex()}"
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0)
    try:
        descriptor = os.open(path, flags, 0o600)
    except OSError:
        return True
    try:
        lock(descriptor)
    except OSError:  # no other program has locked a new file
        return False
    finally:
        os.close(descriptor)
        with suppress(OSError):
            path.unlink()
    return True


def _lock_byte(descriptor: int) -> None:
    """Raises `PermissionError` if another process has locked the byte."""
    import msvcrt  # noqa: PLC0415 - only Windows has it

    position = os.lseek(descriptor, 0, os.SEEK_CUR)
    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    try:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
    finally:
        os.lseek(descriptor, position, os.SEEK_SET)
