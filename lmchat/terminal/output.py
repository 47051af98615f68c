"""Where a full-screen program draws, until the moment from which it must draw nothing more."""

from __future__ import annotations

import logging
import os
import select
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from threading import Lock
from time import monotonic
from types import FrameType

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


logger = logging.getLogger(__name__)

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGQUIT)
FROM_KEYS = (signal.SIGINT, signal.SIGQUIT)
"""What Ctrl+C and Ctrl+\\ send to all programs of a terminal, also to us while an editor has it."""
_LENT, _OURS = 254, 255
"""Beside the numbers of signals in the pipe: who has the terminal from there on."""


class SignalGuard:
    """Watches for signals on a thread of its own, so that no main thread has to be alive for it.

    A signal writes its number into a pipe from C. The thread gives the terminal back, asks the program to
    end, and ends it by itself when `patience_s` have passed.
    """

    def __init__(
        self, *, give_back: Callable[[], None], ask: Callable[[int], None], patience_s: float
    ) -> None:
        self.ended_by: int | None = None
        """The signal that ends the program."""
        self._give_back = give_back
        self._ask = ask
        self._patience_s = patience_s
        self._pipe: tuple[int, int] | None = None

    def watch(self) -> None:
        """Begin; a second call changes nothing. To be called on the main thread."""
        if self._pipe is not None:
            return
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        threading.Thread(target=self._wait, name="signal-guard", daemon=True).start()
        for number in ENDING:
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)

    def lend(self, *, is_lent: bool) -> None:
        """Say whether another program has the terminal from now on: keys of it are no signals for us.

        It goes through the pipe, too: what was pressed before counts as pressed then, however late the thread
        comes to read it.
        """
        self._write(_LENT if is_lent else _OURS)

    def hang_up(self) -> None:
        """Say that the terminal is gone, from any thread: the same as the kernel's SIGHUP."""
        self._on_signal(signal.SIGHUP, None)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # asyncio may have taken the wake-up file for itself: tell the thread from here too.
        self._write(number)

    def _write(self, number: int) -> None:
        if self._pipe is not None:
            os.write(self._pipe[1], bytes([number]))

    def _wait(self) -> None:
        is_lent = False
        while self._pipe is not None:
            for number in os.read(self._pipe[0], 64):
                if number in (_LENT, _OURS):
                    is_lent = number == _LENT
                elif number in ENDING and not (is_lent and number in FROM_KEYS):
                    self._end(number)

    def _end(self, number: int) -> None:
        self.ended_by = number
        logger.info("ending on %s", signal.Signals(number).name)
        try:
            self._give_back()
            self._ask(number)
        except Exception:
            logger.exception("could not end in order")
        threading.Event().wait(self._patience_s)  # a program that ends in time takes this thread with it
        os._exit(128 + number)


def has_shell() -> bool:
    """Whether a shell with job control started us: only that can continue us once we are stopped.

    It leads our session then, and has put us into a process group of our own.
    """
    try:
        return os.getpgid(os.getsid(0)) != os.getpgrp()
    except OSError:  # the leader has ended
        return False
