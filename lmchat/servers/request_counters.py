"""Counters of requests, and how many more the limit allows.

The screen shows both, so this module is imported before its first paint, and loads no HTTP.
"""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import replace

from lmchat.metrics import Metrics
from lmchat.sessions.message import AnswerState


class Budget(Struct, frozen=True, kw_only=True):
    """Requests that the limit of requests per minute still allows."""

    left: int  # requests that may be sent now
    limit: int  # requests per minute; 0: there is no limit, and `left` is 0, too


class RequestCounters:
    """Counters of all requests of one client since its start or the last reset."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    def add(self, **counts: float) -> None:
        """Add to counters of `metrics`: a keyword names a counter, its value is added to it."""
        sums = {name: getattr(self.metrics, name) + count for name, count in counts.items()}
        self.metrics = replace(self.metrics, **sums)

    def add_end(self, state: str, elapsed_ms: float) -> None:
        """Count a sent request by the `AnswerState` in which it has ended.

        Only the times of complete requests are added up, for their mean.
        """
        if state == AnswerState.COMPLETE:
            self.add(successful_requests=1, total_response_ms=elapsed_ms)
        elif state == AnswerState.STOPPED:
            self.add(stopped_requests=1)
        else:
            self.add(failed_requests=1)

    def reset(self) -> None:
        self.metrics = Metrics()
