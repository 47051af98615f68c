"""Guard that ends the program on signals, even if its main thread hangs."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from lmchat.machine.system import ENDING_SIGNALS

logger = logging.getLogger(__name__)

_FROM_KEYS = tuple(number for number in ENDING_SIGNALS if number.name in ("SIGINT", "SIGQUIT"))
"""Sent by Ctrl+C and Ctrl+\\ to all programs of a terminal, also while an editor has it."""
_HANG_UP = 1  # SIGHUP
_LENT = 254  # in the pipe beside the numbers of signals: another program has the terminal now
_OURS = 255  # in the pipe, too: lmchat has the terminal again


class SignalGuard:
    """Thread that ends the program on a signal, even if the main thread hangs.

    Signals write their number into a pipe, from C. The thread restores the terminal, asks the
    program to end, and exits after `timeout_s`.
    """

    def __init__(
        self, *, give_back: Callable[[], None], ask: Callable[[int], None], timeout_s: float
    ) -> None:
        self.ended_by: int | None = None  # the signal that ends the program
        self._give_back = give_back
        self._ask = ask
        self._timeout_s = timeout_s
        self._pipe: tuple[int, int] | None = None

    def watch(self) -> None:
        """Start, from the main thread; a second call has no effect."""
        if self._pipe is not None:
            return
        self._pipe = os.pipe()
        os.set_blocking(self._pipe[1], False)
        threading.Thread(target=self._wait, name="signal-guard", daemon=True).start()
        for number in ENDING_SIGNALS:
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
                    continue
                is_for_other_program = is_lent and number in _FROM_KEYS
                if number in ENDING_SIGNALS and not is_for_other_program:
                    self._end(number)

    def _end(self, number: int) -> None:
        self.ended_by = number
        logger.info("ending on %s", signal.Signals(number).name)
        try:
            self._give_back()
            self._ask(number)
        except Exception:
            logger.exception("could not end in order")
        # a program that ends in time takes this thread with it
        threading.Event().wait(self._timeout_s)
        os._exit(128 + number)
