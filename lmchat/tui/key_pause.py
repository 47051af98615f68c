"""The pause: a short time without keys before a question takes one.

The question may open while the user types the prompt.
"""

from __future__ import annotations

from math import inf
from time import monotonic

KEY_PAUSE_S = 0.5  # without a key


class KeyPause:
    """Tells when a question takes keys."""

    def __init__(self) -> None:
        self.ready_s = inf  # monotonic time from which keys count

    def start(self) -> None:
        """Start the pause once: the question is seen now."""
        if self.ready_s == inf:
            self.ready_s = monotonic() + KEY_PAUSE_S

    def cancel(self) -> None:
        """Take no keys until `start`: the question is not seen."""
        self.ready_s = inf

    def prolong(self, time_s: float) -> None:
        """Start again after a key, or something else at `time_s`."""
        self.ready_s = max(self.ready_s, time_s + KEY_PAUSE_S)

    def takes_key(self, time_s: float) -> bool:
        """Whether the pause is over. The key starts it again in any case."""
        is_over = time_s >= self.ready_s
        self.prolong(time_s)
        return is_over
