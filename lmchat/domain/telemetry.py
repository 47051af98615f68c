"""Figures that the telemetry panel and the command line show."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import asdict

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, ModelInfo, Verdict


class Health(Struct, frozen=True, kw_only=True):
    """State of the server in use."""

    endpoint: Endpoint | None = None
    product: Product | None = None
    verdict: Verdict | None = None
    since_s: float | None = None  # monotonic time of the first check with this verdict
    detail: str = ""
    next_step: str = ""
    latencies_ms: tuple[float | None, ...] = ()
    """Of the last checks, newest last; None for a failed one."""
    model: ModelInfo | None = None
    seen_s: float | None = None  # monotonic time of the last check that found the server

    @property
    def latency_ms(self) -> float | None:
        """Milliseconds of the last check; None if it failed, or before there is one."""
        return self.latencies_ms[-1] if self.latencies_ms else None

    @property
    def is_down(self) -> bool:
        """Whether the last check found that the server cannot be used."""
        return self.verdict is not None and not self.verdict.is_usable


class Metrics(Struct, frozen=True, kw_only=True):
    """Counters of requests."""

    total_requests: int = 0
    successful_requests: int = 0
    failed_requests: int = 0
    stopped_requests: int = 0
    retries: int = 0
    total_response_ms: float = 0.0  # of the successful requests
    cache_hits: int = 0
    """Lists of models that came from the cache."""
    cache_misses: int = 0
    refused_requests: int = 0
    """Requests that lmchat rejected and did not send."""

    def since(self, earlier: Metrics) -> Metrics:
        """Return, for each counter, by how much it has grown since an earlier state."""
        before = asdict(earlier)
        return Metrics(**{name: count - before[name] for name, count in asdict(self).items()})

    @property
    def average_response_ms(self) -> float:
        """Mean time of a successful request; 0 without one."""
        if not self.successful_requests:
            return 0.0
        return self.total_response_ms / self.successful_requests


class Budget(Struct, frozen=True, kw_only=True):
    """Requests that the limiter still allows."""

    left: int  # requests that may be sent now
    limit: int  # requests per minute


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
    ended_at: datetime | None = None  # the store sets it where it is None
    wait_ms: float | None = None  # from the start of the turn to the first word of the answer
