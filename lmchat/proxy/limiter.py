"""How many requests may be sent a minute; over it a request is refused, with the seconds to wait."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from lmchat.domain.telemetry import Budget
from lmchat.errors import TooManyRequests

TOO_MANY = "Too many requests to LMStudio, please try again later"
CHAT = "chat"
LOOK = "look"
COUNT = "count"
LOOKS_PER_MINUTE = 240
"""Health checks and model lists; a check every 5 s takes 12 of them."""

COUNTS_PER_MINUTE = 60
"""Questions how many tokens a prompt has: at most one for each pause in typing."""
WINDOW_S = 60.0


class Limiter:
    """Moving windows for chat, for health and models, and for counting: none starves another."""

    def __init__(self, requests_per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._amounts = {CHAT: requests_per_minute, LOOK: LOOKS_PER_MINUTE, COUNT: COUNTS_PER_MINUTE}
        self._taken_s: dict[str, deque[float]] = {purpose: deque() for purpose in self._amounts}

    def take(self, purpose: str) -> None:
        """Use one request of a budget.

        Raises:
            TooManyRequests: there is none left.
        """
        taken_s, amount = self._within_window(purpose), self._amounts[purpose]
        if len(taken_s) < amount:
            taken_s.append(self._clock())
            return
        free_s = taken_s[0] + WINDOW_S - self._clock() if taken_s else WINDOW_S
        wait_s = min(max(math.ceil(free_s), 1), 60)
        raise TooManyRequests(
            f"{TOO_MANY}: {amount} a minute are used up, there is room again in {wait_s} s",
            wait_s=wait_s,
            hint="Wait, or raise requests_per_minute under [limits].",
        )

    def budget(self) -> Budget:
        """Return what is left for chat."""
        amount = self._amounts[CHAT]
        return Budget(left=amount - len(self._within_window(CHAT)), limit=amount)

    def _within_window(self, purpose: str) -> deque[float]:
        """Return when requests were sent in the last minute."""
        taken_s, since_s = self._taken_s[purpose], self._clock() - WINDOW_S
        while taken_s and taken_s[0] <= since_s:
            taken_s.popleft()
        return taken_s
