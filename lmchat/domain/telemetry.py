"""Figures that the sidebar and the command line show; all measured."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import asdict

from lmchat.domain.server import Endpoint, ModelInfo, Product, Verdict


class Health(Struct, frozen=True, kw_only=True):
    """State of the server in use."""

    endpoint: Endpoint | None = None
    product: Product | None = None
    verdict: Verdict | None = None
    since_s: float | None = None
    """Monotonic time of the first of the checks that had this result."""
    detail: str = ""
    next_step: str = ""
    latencies_ms: tuple[float | None, ...] = ()
    """Of the last checks, newest last; None for a failed one."""
    model: ModelInfo | None = None
    seen_s: float | None = None
    """Monotonic time of the last check that found the server."""

    @property
    def latency_ms(self) -> float | None:
        """Of the last check; None where it failed or there was none."""
        return self.latencies_ms[-1] if self.latencies_ms else None

    @property
    def is_down(self) -> bool:
        return self.verdict is not None and not self.verdict.is_usable


class Metrics(Struct, frozen=True, kw_only=True):
    """Counters of the proxy-client layer, kept over runs."""

    total_requests: int = 0
    """Chat requests that were sent."""
    successful_requests: int = 0
    """Those that ended well."""
    failed_requests: int = 0
    """Those that did not."""
    stopped_requests: int = 0
    """Those that the user stopped."""
    retries: int = 0
    """Tries beyond the first."""
    total_response_ms: float = 0.0
    """Sum of the times to the end, of successful requests."""
    cache_hits: int = 0
    """Model lists taken from the cache."""
    cache_misses: int = 0
    """Model lists that had to be fetched."""
    refused_requests: int = 0
    """Chat requests that were refused before anything was sent."""

    def since(self, earlier: Metrics) -> Metrics:
        """Return what was counted since then."""
        before = asdict(earlier)
        return Metrics(**{name: count - before[name] for name, count in asdict(self).items()})

    @property
    def average_response_ms(self) -> float:
        """Mean time to the end of a successful request; 0 before the first."""
        return self.total_response_ms / self.successful_requests if self.successful_requests else 0.0


class Budget(Struct, frozen=True, kw_only=True):
    """Requests that the limiter still allows."""

    left: int
    limit: int
    """Requests a minute."""


class LedgerRow(Struct, frozen=True, kw_only=True):
    """Figures of a turn for the ledger, without content."""

    message_id: str
    endpoint: str
    product: str
    model: str
    quantization: str
    state: str
    ttft_ms: float | None
    prompt_tokens_per_second: float | None
    tokens_per_second: float | None
    prompt_tokens: int | None
    completion_tokens: int | None
    is_estimated: bool
    stalls: int
    retries: int
    elapsed_ms: float
    finish_reason: str
    ended_at: datetime | None = None
    """When it ended; the store fills it in where it is None."""
