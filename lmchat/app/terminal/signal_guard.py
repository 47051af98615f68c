"""Guard that ends the program on signals, even if its main thread hangs."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

from msgspec import Struct

from lmchat.base.processes.signals import ENDING_SIGNALS, HANG_UP

_logger = logging.getLogger(__name__)

# of Ctrl+C and Ctrl+\: lmchat gets them too while an editor has the terminal
_FROM_KEYS = tuple(number for number in ENDING_SIGNALS if number.name in ("SIGINT", "SIGQUIT"))
# bytes in the pipe beside the numbers of signals
_LENT = 254  # another program has the terminal
_RETURNED = 255  # lmchat has it again


class SignalGuard(Struct, eq=False):
    """Thread that ends the program on a signal.

    Python writes the number of each signal into a pipe, in C code that does not wait for the main
    thread. This thread reads it.
    """

    restore_terminal: Callable[[], None]
    ask_to_end: Callable[[int], None]  # gets the number of the signal
    timeout_s: float
    ended_by: int | None = None  # then the screen may not take the terminal back
    _pipe: tuple[int, int] | None = None

    def watch(self) -> None:
        """Call this in the main thread; only the first call has an effect."""
        if self._pipe is not None:
            return
        read_end, write_end = self._pipe = os.pipe()
        os.set_blocking(write_end, False)  # as `set_wakeup_fd` requires
        threading.Thread(
            target=self._wait, args=(read_end,), name="signal-guard", daemon=True
        ).start()
        # A second way into the pipe, as asyncio may replace the wake-up file. Unlike that, these
        # handlers wait for the main thread.
        for number in ENDING_SIGNALS:
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)

    def lend(self, *, is_lent: bool) -> None:
        """Note that another program, such as an editor, has the terminal, or lmchat again.

        The note goes through the pipe, in order with the signals.
        """
        self._write(_LENT if is_lent else _RETURNED)

    def hang_up(self) -> None:
        """End the program as if its terminal had been closed; no effect on Windows."""
        self._write(HANG_UP)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._write(number)

    def _write(self, number: int) -> None:
        if self._pipe is not None:
            os.write(self._pipe[1], bytes([number]))

    def _wait(self, read_end: int) -> None:
        """Signals that end nothing, as of a new size, are in the pipe, too."""
        is_lent = False
        while True:
            for number in os.read(read_end, 64):
                if number in (_LENT, _RETURNED):
                    is_lent = number == _LENT
                    continue
                is_for_other_program = is_lent and number in _FROM_KEYS
                if number in ENDING_SIGNALS and not is_for_other_program:
                    self._end(number)

    def _end(self, number: int) -> None:
        self.ended_by = number
        _logger.info("ending on %s", signal.Signals(number).name)
        try:
            self.restore_terminal()
            self.ask_to_end(number)
        except Exception:
            _logger.exception("could not end in order")
        # if the program ends in time, this thread does
        threading.Event().wait(self.timeout_s)
        os._exit(128 + number)  # as shells report it
