"""The counters of the proxy-client layer."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.domain.server import Endpoint
from lmchat.domain.telemetry import Metrics


class Counters:
    """Counts what this run has sent."""

    def __init__(self) -> None:
        self.metrics = Metrics()
        """What was counted so far."""
        self._fresh_from: dict[Endpoint, bool] = {}

    def reset(self) -> None:
        """Begin again at nothing."""
        self.metrics = Metrics()

    def refused(self) -> None:
        """Count a chat request that was refused before anything was sent."""
        self._add("refused_requests")

    def sent(self) -> None:
        """Count a chat request."""
        self._add("total_requests")

    def retried(self) -> None:
        """Count a try beyond the first."""
        self._add("retries")

    def succeeded(self, response_ms: float) -> None:
        """Count a good end."""
        self._add("successful_requests")
        self._add("total_response_ms", response_ms)

    def failed(self) -> None:
        """Count a bad end."""
        self._add("failed_requests")

    def stopped(self) -> None:
        """Count an end by the user's hand."""
        self._add("stopped_requests")

    def fetched(self, endpoint: Endpoint) -> None:
        """Note that a look brought a list along: the first question for it in this run was no hit."""
        self._fresh_from.setdefault(endpoint, True)

    def looked_up(self, endpoint: Endpoint, *, is_hit: bool) -> None:
        """Count a question for a list of models."""
        is_fetched, self._fresh_from[endpoint] = self._fresh_from.get(endpoint, False), False
        self._add("cache_hits" if is_hit and not is_fetched else "cache_misses")

    def _add(self, name: str, count: float = 1) -> None:
        self.metrics = replace(self.metrics, **{name: getattr(self.metrics, name) + count})
