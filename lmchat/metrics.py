"""Counters of requests: `servers` counts those of a run, `storage` adds up those of all runs."""

from __future__ import annotations

from msgspec import Struct
from msgspec.structs import asdict

METRICS_RESET = "Metrics reset successfully"  # what screen, command line and HTTP say after it


class Metrics(Struct, frozen=True, kw_only=True):
    """Counters of requests: all that were sent, and in which of three ways they ended."""

    total_requests: int = 0  # with those that still run, and without the refused ones
    successful_requests: int = 0
    failed_requests: int = 0
    stopped_requests: int = 0
    retries: int = 0  # attempts after the first one; a request counts once all the same
    total_response_ms: float = 0.0  # of the successful requests
    cache_hits: int = 0
    """Lists of models that came from the cache."""
    cache_misses: int = 0
    refused_requests: int = 0
    """Requests that lmchat rejected and did not send."""

    def since(self, earlier: Metrics) -> Metrics:
        """Return by how much each counter has grown since it had the value in `earlier`."""
        before = asdict(earlier)
        return Metrics(**{name: count - before[name] for name, count in asdict(self).items()})

    @property
    def average_response_ms(self) -> float:
        """Mean time of a successful request; 0 without one."""
        if not self.successful_requests:
            return 0.0
        return self.total_response_ms / self.successful_requests
