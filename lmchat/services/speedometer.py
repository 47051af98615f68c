"""Tokens per second over the last seconds, for the spark of the sidebar."""

from __future__ import annotations

from collections import deque

KEPT_S = 32
"""Seconds kept: as many as the sidebar has room for."""


class Speedometer:
    """Counts tokens by the second they came in."""

    def __init__(self) -> None:
        self._counts: deque[int] = deque(maxlen=KEPT_S)
        self._second = -1

    def restart(self) -> None:
        """Begin a new turn."""
        self._counts.clear()
        self._second = -1

    def count(self, now_s: float, tokens: int = 1) -> None:
        """Take tokens that came at a monotonic time."""
        self._advance(now_s)
        self._counts[-1] += tokens

    def values(self, now_s: float) -> tuple[float, ...]:
        """Return tokens per second of each whole second so far, newest last."""
        if self._second >= 0:
            self._advance(now_s)
        return tuple(float(count) for count in list(self._counts)[:-1])

    def _advance(self, now_s: float) -> None:
        second = int(now_s)
        missing = second - self._second if self._second >= 0 else 1
        self._counts.extend([0] * min(missing, KEPT_S))
        self._second = max(second, self._second)
