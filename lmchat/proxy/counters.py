"""The counters of the proxy-client layer."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from lmchat.domain.telemetry import Metrics


class Counters:
    """Holds the metrics and tells each change to whoever keeps them."""

    def __init__(self, metrics: Metrics, on_change: Callable[[Metrics], None] | None = None) -> None:
        self.metrics = metrics
        self._on_change = on_change

    def sent(self) -> None:
        """Count a chat request."""
        self._set(replace(self.metrics, total_requests=self.metrics.total_requests + 1))

    def retried(self) -> None:
        """Count a try beyond the first."""
        self._set(replace(self.metrics, retries=self.metrics.retries + 1))

    def succeeded(self, response_ms: float) -> None:
        """Count a good end."""
        self._set(
            replace(
                self.metrics,
                successful_requests=self.metrics.successful_requests + 1,
                total_response_ms=self.metrics.total_response_ms + response_ms,
            )
        )

    def failed(self) -> None:
        """Count a bad end."""
        self._set(replace(self.metrics, failed_requests=self.metrics.failed_requests + 1))

    def stopped(self) -> None:
        """Count an end by the user's hand."""
        self._set(replace(self.metrics, stopped_requests=self.metrics.stopped_requests + 1))

    def looked_up(self, *, is_hit: bool) -> None:
        """Count a question for a list of models."""
        if is_hit:
            self._set(replace(self.metrics, cache_hits=self.metrics.cache_hits + 1))
        else:
            self._set(replace(self.metrics, cache_misses=self.metrics.cache_misses + 1))

    def reset(self) -> None:
        """Begin again at zero."""
        self._set(Metrics())

    def _set(self, metrics: Metrics) -> None:
        self.metrics = metrics
        if self._on_change is not None:
            self._on_change(metrics)
