"""Terminal output that can be closed at once, and a guard that ends the program on signals."""

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

from lmchat.machine.system import ENDING

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]

logger = logging.getLogger(__name__)

PATIENCE_S = 0.3  # timeout for a terminal that takes no bytes
_FROM_KEYS = ("SIGINT", "SIGQUIT")
"""Sent by Ctrl+C and Ctrl+\\ to all programs of a terminal, also while an editor has it."""
_HANG_UP = 1  # SIGHUP
_LENT, _OURS = (
    254,
    255,
)  # in the pipe beside the numbers of signals: who has the terminal from there on


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
            except OSError:
                self._is_open = False
                self._on_gone()

    def end(self, last_words: str) -> None:
        """Write nothing more but the last words; another thread may be blocked in a write."""
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
    """Write to a terminal within a time limit.

    It is opened again: non-blocking mode on the shared file would change it for the shell too.
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


class SignalGuard:
    """Thread that ends the program on a signal, even if the main thread hangs.

    Signals write their number into a pipe, from C. The thread restores the terminal, asks the program to end,
    and exits after `patience_s`.
    """

    def __init__(
        self, *, give_back: Callable[[], None], ask: Callable[[int], None], patience_s: float
    ) -> None:
        self.ended_by: int | None = None  # the signal that ends the program
        self._give_back = give_back
        self._ask = ask
        self._patience_s = patience_s
        self._pipe: tuple[int, int] | None = None

    def watch(self) -> None:
        """Start, from the main thread; a second call has no effect."""
        if self._pipe is not None:
            return
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        threading.Thread(target=self._wait, name="signal-guard", daemon=True).start()
        for number in ENDING:
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._pipe[1], warn_on_full_buffer=False)

    def lend(self, *, is_lent: bool) -> None:
        """Lend the terminal to another program, whose keys are then no signals for us.

        The pipe keeps the order of keys and lending.
        """
        self._write(_LENT if is_lent else _OURS)

    def hang_up(self) -> None:
        self._write(_HANG_UP)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # asyncio may use the wake-up file itself
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
                elif number in ENDING and not (
                    is_lent and signal.Signals(number).name in _FROM_KEYS
                ):
                    self._end(number)

    def _end(self, number: int) -> None:
        self.ended_by = number
        logger.info("ending on %s", signal.Signals(number).name)
        try:
            self._give_back()
            self._ask(number)
        except Exception:
            logger.exception("could not end in order")
        threading.Event().wait(
            self._patience_s
        )  # a program that ends in time takes this thread with it
        os._exit(128 + number)


def has_shell() -> bool:
    """Return whether a shell with job control started us, which can continue us after a stop."""
    try:
        return os.getpgid(os.getsid(0)) != os.getpgrp()
    except (OSError, AttributeError):  # the leader has ended; Windows has no such shells
        return False


def drop_typed(fileno: int) -> None:
    """Forget what was typed at a terminal and not read yet."""
    if termios is not None:
        with suppress(termios.error):
            termios.tcflush(fileno, termios.TCIFLUSH)


def has_more_input(fileno: int, *, wait_s: float) -> bool:
    """Return whether more was typed or pasted, or is within a moment; False on Windows, which cannot tell."""
    try:
        readable, _, _ = select.select([fileno], [], [], wait_s)
    except (OSError, ValueError):
        return False
    return bool(readable)
