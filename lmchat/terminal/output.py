"""Where a full-screen program draws, until the moment from which it must draw nothing more."""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic

PATIENCE_S = 0.3
"""How long a terminal that takes no bytes (a stalled line) is waited for."""


class TerminalOutput:
    """A file that writes to a terminal; it does not raise when that is gone, nor draw after `end`."""

    def __init__(self, fileno: int, on_gone: Callable[[], None]) -> None:
        self._fileno = fileno
        self._on_gone = on_gone
        self._pieces: list[str] = []
        self._is_open = True
        self._writing = Lock()

    def write(self, text: str) -> int:
        """Keep text for the next flush."""
        self._pieces.append(text)
        return len(text)

    def flush(self) -> None:
        """Write what was kept; a terminal that is gone is told once."""
        with self._writing:
            data, self._pieces = "".join(self._pieces).encode(errors="replace"), []
            try:
                while data and self._is_open:
                    data = data[self._write_some(data) :]
            except OSError:
                self._is_open = False
                self._on_gone()

    def fileno(self) -> int:
        """Return the number of the terminal's file."""
        return self._fileno

    def isatty(self) -> bool:
        """Say what Textual wants to know."""
        return True

    def begin(self) -> None:
        """Draw (again)."""
        self._pieces = []
        self._is_open = True

    def end(self, last_words: str) -> None:
        """Drop what has not been written, write the last words and nothing after them.

        It may be called while another thread is in the middle of a write that never ends.
        """
        self._is_open = False
        has_turn = self._writing.acquire(timeout=PATIENCE_S)
        try:
            with suppress(OSError):
                write_soon(self._fileno, last_words.encode(), PATIENCE_S)
        finally:
            if has_turn:
                self._writing.release()

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._fileno, data)
        except BlockingIOError:  # a program before us left the terminal without blocking
            select.select([], [self._fileno], [], 1)
            return 0


def write_soon(fileno: int, data: bytes, patience_s: float) -> None:
    """Write to a terminal without ever waiting longer than this, whatever its other users have set.

    A file of our own can be made non-blocking without changing the one that the shell shares with us.
    """
    deadline = monotonic() + patience_s
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
    with suppress(OSError):
        return os.open(os.ttyname(fileno), flags)
    with suppress(OSError):
        return os.open("/dev/tty", flags)
    return fileno
