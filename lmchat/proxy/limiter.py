"""How many requests may be sent a minute; over it a request is refused, with the seconds to wait."""

from __future__ import annotations

import math
import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

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


class Limiter:
    """Moving windows for chat, for health and models, and for counting: none starves another."""

    def __init__(self, requests_per_minute: int) -> None:
        self._limits = {
            CHAT: RateLimitItemPerMinute(requests_per_minute),
            LOOK: RateLimitItemPerMinute(LOOKS_PER_MINUTE),
            COUNT: RateLimitItemPerMinute(COUNTS_PER_MINUTE),
        }
        self._window = MovingWindowRateLimiter(MemoryStorage())

    def take(self, purpose: str) -> None:
        """Use one request of a budget.

        Raises:
            TooManyRequests: there is none left.
        """
        limit = self._limits[purpose]
        if self._window.hit(limit, purpose):
            return
        free_s = self._window.get_window_stats(limit, purpose).reset_time - time.time()
        wait_s = min(max(math.ceil(free_s), 1), 60)
        raise TooManyRequests(
            f"{TOO_MANY}: {limit.amount} a minute are used up, there is room again in {wait_s} s",
            wait_s=wait_s,
            hint="Wait, or raise requests_per_minute under [limits].",
        )

    def budget(self) -> Budget:
        """Return what is left for chat."""
        limit = self._limits[CHAT]
        return Budget(left=self._window.get_window_stats(limit, CHAT).remaining, limit=limit.amount)
