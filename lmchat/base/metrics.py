"""Counters of requests: `servers` counts those of a run, `storage` adds up all runs."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict, replace

# by `AnswerState`; any other state has failed
_ENDS = {"complete": "successful_requests", "stopped": "stopped_requests"}
METRICS_RESET = "Metrics reset successfully"  # what screen, command line and HTTP say


class Metrics(Struct, frozen=True, kw_only=True):
    """Counters of requests."""

    total_requests: int = 0  # with those that still run, and without the refused ones
    successful_requests: int = 0
    failed_requests: int = 0
    stopped_requests: int = 0
    retries: int = 0  # attempts after the first one; a request counts once all the same
    total_response_ms: float = 0.0  # of the successful requests
    cache_hits: int = 0  # lists of models that came from the cache
    cache_misses: int = 0
    refused_requests: int = 0  # by lmchat, which did not send them

    def since(self, earlier: Metrics) -> Metrics:
        before = asdict(earlier)
        return Metrics(**{name: count - before[name] for name, count in asdict(self).items()})

    @property
    def average_response_ms(self) -> float:
        """0 without a successful request."""
        if not self.successful_requests:
            return 0.0
        return self.total_response_ms / self.successful_requests


class RequestCounters:
    """Counters of all requests of one client since its start or the last reset."""

    def __init__(self) -> None:
        self.metrics = Metrics()

    def add(self, **counts: float) -> None:
        sums = {name: getattr(self.metrics, name) + count for name, count in counts.items()}
        self.metrics = replace(self.metrics, **sums)

    def add_end(self, state: str, elapsed_ms: float) -> None:
        name = _ENDS.get(state, "failed_requests")
        self.add(**{name: 1, "total_response_ms": elapsed_ms * (state == "complete")})

    def reset(self) -> None:
        self.metrics = Metrics()


class RateLimit(Struct, frozen=True, kw_only=True):
    """How many requests may be sent."""

    left: int  # now
    limit: int  # in a minute; 0: there is no limit, and `left` is 0, too
