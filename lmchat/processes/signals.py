"""Signals that ask the program to end, and how they interrupt it.

The start imports this module first, so it imports little itself.
"""

from __future__ import annotations

import signal
from types import FrameType

HANG_UP = 1  # SIGHUP, which Windows does not have
# Signals that ask a program to end, as far as this system has them.
ENDING_SIGNALS = tuple(
    signal.Signals[name]
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGBREAK")
    if hasattr(signal, name)
)


def interrupt_on_ending_signals() -> list[int]:
    """Make all `ENDING_SIGNALS` interrupt the program as Ctrl+C does, from now on.

    A signal that is already ignored stays ignored: with `nohup`, a program survives its terminal.
    SIGINT, which Ctrl+C sends, keeps its handler.

    Return an empty list. When a signal other than SIGINT comes, its number is added to the list, so
    the caller can tell it from Ctrl+C.
    """
    received: list[int] = []

    def interrupt(number: int, _: FrameType | None) -> None:
        """Handle a signal: note its number for the caller, then do what Ctrl+C does."""
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
    """Let SIGINT raise `KeyboardInterrupt`, unless it is ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
