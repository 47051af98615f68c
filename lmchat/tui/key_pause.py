"""The pause: a short time without keys before a question takes one.

The question may open while the user types: then the next keys are meant for the prompt. The card of
a tool call in the log and the questions of `dialogs` both use the pause, so no package has it.
"""

from __future__ import annotations

from math import inf
from time import monotonic

KEY_PAUSE_S = 0.5  # time without a key, after which a key is meant for the question


class KeyPause:
    """Tells when a question takes keys: a key soon after another one is meant for the prompt."""

    def __init__(self) -> None:
        self.ready_s = inf  # monotonic time from which keys count; never until `begin`

    def begin(self) -> None:
        """Begin the pause, unless it has begun already: the question is seen now.

        `RunningCalls` calls this with each change of the screen, while its card is seen.
        """
        if self.ready_s == inf:  # not begun
            self.ready_s = monotonic() + KEY_PAUSE_S

    def cancel(self) -> None:
        """Take no keys until `begin`: the question is not seen."""
        self.ready_s = inf

    def prolong(self, time_s: float) -> None:
        """Begin the pause again after a key, or something else that happened at `time_s`."""
        self.ready_s = max(self.ready_s, time_s + KEY_PAUSE_S)

    def takes_key(self, time_s: float) -> bool:
        """Return whether a key counts that was pressed at `time_s`: the pause must be over.

        The key begins the pause again, whether it counts or not.
        """
        is_over = time_s >= self.ready_s
        self.prolong(time_s)
        return is_over
