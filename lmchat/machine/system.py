"""What differs from system to system: locks, signals and ends of programs."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress
from types import FrameType

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

CAN_RENAME_OPEN_FILES = fcntl is not None
_FAR = 1 << 30  # byte that stands for the whole file: on Windows, locked bytes cannot be read

ENDING = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if name in signal.Signals.__members__ and hasattr(signal, name)
)
"""Signals that ask a program to end."""


def interrupt_at_end() -> list[int]:
    """Make these signals interrupt the program as Ctrl+C does.

    The returned list gets their numbers.
    """
    ended: list[int] = []

    def end(number: int, _: FrameType | None) -> None:
        ended.append(number)
        signal.raise_signal(signal.SIGINT)

    for number in ENDING:
        if number != signal.SIGINT:
            signal.signal(number, end)
    return ended


def try_lock(descriptor: int, *, is_shared: bool = False) -> bool:
    """Lock an open file without waiting; return whether no other process has it.

    The system releases the lock when the process ends, however it ends. Raises `OSError` where the
    file system has no locks.
    """
    try:
        if fcntl is None:
            _lock_byte(descriptor)
        else:
            kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # the second on Windows
        return False
    return True


def _lock_byte(descriptor: int) -> None:
    try:
        import msvcrt  # noqa: PLC0415 - only Windows has it
    except ImportError as error:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK)) from error
    os.lseek(descriptor, _FAR, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def end_program(pid: int, *, is_forced: bool = False) -> None:
    """Ask a program that leads a session, and those that it started, to end; or kill them."""
    with suppress(ProcessLookupError, PermissionError):  # it has ended; the second on macOS
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL if is_forced else signal.SIGTERM)
        else:
            _end_tree(pid)


def _end_tree(pid: int) -> None:
    """Kill a process and its children: Windows knows no request to end."""
    import psutil  # noqa: PLC0415 - for Windows, and slow to import

    with suppress(psutil.Error):  # it has ended
        process = psutil.Process(pid)
        for member in (*process.children(recursive=True), process):
            with suppress(psutil.Error):  # it has ended
                member.kill()
