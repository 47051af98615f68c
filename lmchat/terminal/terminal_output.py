"""Terminal output that can be closed at once, and what was typed at a terminal."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

_END_S = 0.3  # timeout for a terminal that takes no bytes


class TerminalOutput:
    """Writer to a terminal; it never raises, and never draws after `end`."""

    def __init__(self, fileno: int, on_gone: Callable[[], None]) -> None:
        self._fileno = fileno
        self._on_gone = on_gone
        self._is_open = True
        self._writing = Lock()

    def begin(self) -> None:
        self._is_open = True

    def write(self, text: str) -> None:
        """Write a text whole; `on_gone` is called once when the terminal is gone."""
        data = text.encode(errors="replace")
        with self._writing:
            try:
                while data and self._is_open:
                    data = data[self._write_some(data) :]
            except OSError:  # the terminal is gone
                self._is_open = False
                self._on_gone()

    def end(self, last_words: str) -> None:
        """Write nothing more but the last words; another thread may be blocked in a write."""
        self._is_open = False
        has_turn = self._writing.acquire(timeout=_END_S)
        try:
            with suppress(OSError):  # the terminal is gone
                write_soon(self._fileno, last_words.encode(), _END_S)
        finally:
            if has_turn:
                self._writing.release()

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._fileno, data)
        except BlockingIOError:  # a program before us left the terminal without blocking
            select.select([], [self._fileno], [], 1)
            return 0


def write_soon(fileno: int, data: bytes, timeout_s: float) -> None:
    """Write to a terminal within a time limit.

    It is opened again: non-blocking mode on the shared file would change it for the shell too.
    """
    deadline = monotonic() + timeout_s
    own = _own_file(fileno)
    try:
        while data and (left_s := deadline - monotonic()) > 0:
            _, writable, _ = select.select([], [own], [], left_s)
            if writable:
                data = data[os.write(own, data) :]
    finally:
        if own != fileno:
            os.close(own)


def _own_file(fileno: int) -> int:
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY
    with suppress(OSError):  # its device is not there, as in a container
        return os.open(os.ttyname(fileno), flags)
    with suppress(OSError):  # no terminal controls this process
        return os.open("/dev/tty", flags)
    return fileno


def has_shell() -> bool:
    """Return whether a shell with job control started us, which can continue us after a stop."""
    try:
        return os.getpgid(os.getsid(0)) != os.getpgrp()
    except (OSError, AttributeError):  # the leader has ended; Windows has no such shells
        return False


def drop_typed(fileno: int) -> None:
    """Forget what was typed at a terminal and not read yet."""
    if termios is not None:
        with suppress(termios.error):  # it is no terminal
            termios.tcflush(fileno, termios.TCIFLUSH)


def has_more_input(fileno: int, *, wait_s: float) -> bool:
    """Return whether more was typed or pasted, or is within `wait_s`; always False on Windows."""
    try:
        readable, _, _ = select.select([fileno], [], [], wait_s)
    except (OSError, ValueError):  # Windows selects sockets only; the file may be closed
        return False
    return bool(readable)
