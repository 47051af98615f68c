"""`lmchat metrics`: the counters of all runs."""

from __future__ import annotations

from contextlib import aclosing

from lmchat.cli.parts import Parts
from lmchat.cli.wiring import make_store
from lmchat.domain.telemetry import Metrics


async def show(parts: Parts) -> int:
    """Print the counters."""
    async with aclosing(make_store(parts)) as store:
        parts.output.document(metrics_json(await store.metrics.load()))
    return 0


async def reset(parts: Parts) -> int:
    """Set the counters to 0."""
    async with aclosing(make_store(parts)) as store:
        await store.metrics.reset()
    parts.output.document({"message": "Metrics reset successfully"})
    return 0


def metrics_json(metrics: Metrics) -> dict[str, object]:
    """Return what scripts get; times are in milliseconds."""
    return {
        "totalRequests": metrics.total_requests,
        "successfulRequests": metrics.successful_requests,
        "failedRequests": metrics.failed_requests,
        "averageResponseTime": round(metrics.average_response_ms, 1),
        "cacheHits": metrics.cache_hits,
        "cacheMisses": metrics.cache_misses,
        "stoppedRequests": metrics.stopped_requests,
        "retries": metrics.retries,
        "refusedRequests": metrics.refused_requests,
    }
