"""Signals, locks and memory of this system."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]
CAN_RENAME_OPEN_FILES = fcntl is not None  # Windows cannot, and has no `fcntl`
# Windows locks bytes, which no other process can then read. So lmchat locks one byte far behind the
# content of a file there.
_LOCKED_BYTE = 1024 * 1024 * 1024

HANG_UP = 1  # SIGHUP, which Windows does not have
# Signals that ask a program to end, as far as this system has them.
ENDING_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
    if hasattr(signal, name)
)


def interrupt_on_ending_signals(on_hang_up: Callable[[], None] = lambda: None) -> list[int]:
    """Make all `ENDING_SIGNALS` interrupt the program as Ctrl+C does, from now on.

    A signal that is already ignored stays ignored: with `nohup`, a program survives its terminal.
    SIGINT, which Ctrl+C sends, keeps its handler.

    Return an empty list. When a signal other than SIGINT comes, its number is added to the list, so
    the caller can tell it from Ctrl+C. `on_hang_up` is called before SIGHUP interrupts the program.
    """
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        """Handle a signal: note its number for the caller, then do what Ctrl+C does."""
        received.append(number)
        if number == HANG_UP:
            on_hang_up()
        # a script starts its background programs with SIGINT ignored: raising it would do nothing
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    for number in ENDING_SIGNALS:
        is_ignored = signal.getsignal(number) is signal.SIG_IGN
        if number != signal.SIGINT and not is_ignored:
            signal.signal(number, interrupt)
    return received


def try_lock(descriptor: int, *, is_shared: bool = False) -> bool:
    """Try to lock an open file without waiting; return False if another process has locked it.

    With `is_shared`, other processes may have shared locks of the file at the same time; Windows
    ignores this. The system releases the lock when the file is closed or the process ends. Raises
    `OSError` on a file system without locks.
    """
    try:
        if fcntl is None:
            _lock_byte(descriptor)
        else:
            kind = fcntl.LOCK_SH if is_shared else fcntl.LOCK_EX
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # locked by another process; Windows: the second
        return False
    return True


def _lock_byte(descriptor: int) -> None:
    """Lock a file on Windows, by one byte far behind its content, which stays readable.

    Raises `PermissionError` if another process has locked it.
    """
    import msvcrt  # noqa: PLC0415 - only Windows has it

    os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
    msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]


def limit_memory(limit_bytes: int) -> None:
    """Limit the memory of this process; code that needs more raises `MemoryError`.

    This has no effect on Windows.
    """
    with suppress(ImportError):
        import resource  # noqa: PLC0415 - Windows has none

        resource.setrlimit(resource.RLIMIT_AS, (limit_bytes, limit_bytes))
