"""Signals that ask the program to end; imported first at the start, so it imports little."""

from __future__ import annotations

import signal
from types import FrameType

HANG_UP = 1  # SIGHUP, which Windows does not have
ENDING_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
    if hasattr(signal, name)
)


def interrupt_on_ending_signals() -> list[int]:
    """Return a list that gets the numbers of the signals that come, but not SIGINT.

    A signal that is ignored stays so: with `nohup`, a program survives its terminal.
    """
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        received.append(number)
        # a script starts its background programs with SIGINT ignored: raising it would do nothing
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.raise_signal(signal.SIGINT)

    for number in ENDING_SIGNALS:
        is_ignored = signal.getsignal(number) is signal.SIG_IGN
        if number != signal.SIGINT and not is_ignored:
            signal.signal(number, interrupt)
    return received


def end_at_once_on_interrupt() -> None:
    """Let SIGINT end the process without a word, while there is nothing to end in order.

    `KeyboardInterrupt` would be lost in an import, or be printed with its traceback at the exit.
    """
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def raise_interrupts() -> None:
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
