"""Figures that the sidebar and the command line show; all measured."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct
from msgspec.structs import asdict

from lmchat.domain.server import Endpoint, ModelInfo, Product, Verdict


class Health(Struct, frozen=True, kw_only=True):
    """What is known of the server in use."""

    endpoint: Endpoint | None = None
    """Where; None before anything was found."""
    product: Product | None = None
    """What."""
    verdict: Verdict | None = None
    """Result of the last check; None before the first."""
    since_s: float | None = None
    """Monotonic time of the first of the checks that had this result."""
    detail: str = ""
    """Why, in the server's or the system's words."""
    next_step: str = ""
    """What helps, where something is wrong."""
    latencies_ms: tuple[float | None, ...] = ()
    """Of the last checks, newest last; None for a failed one."""
    model: ModelInfo | None = None
    """What is known of the model in use."""
    seen_s: float | None = None
    """Monotonic time of the last check that found the server."""

    @property
    def latency_ms(self) -> float | None:
        """Of the last check; None where it failed or there was none."""
        return self.latencies_ms[-1] if self.latencies_ms else None

    @property
    def is_down(self) -> bool:
        """Whether the last check found no usable server."""
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
    """What the limiter has left."""

    left: int
    """Requests that may be sent now."""
    limit: int
    """Requests a minute."""


class LedgerRow(Struct, frozen=True, kw_only=True):
    """One turn as the ledger keeps it: figures, no content."""

    message_id: str
    """The answer."""
    endpoint: str
    """URL of the server."""
    product: str
    """Its kind."""
    model: str
    """The model that answered."""
    quantization: str
    """As the server told, else empty."""
    state: str
    """How it ended."""
    ttft_ms: float | None
    """Time to the first token."""
    prompt_tokens_per_second: float | None
    """Speed of reading."""
    tokens_per_second: float | None
    """Speed of the answer."""
    prompt_tokens: int | None
    """Tokens of the prompt."""
    completion_tokens: int | None
    """Tokens of the answer."""
    is_estimated: bool
    """Whether the tokens are our estimate."""
    stalls: int
    """How often it stood still."""
    retries: int
    """Tries beyond the first."""
    elapsed_ms: float
    """From sending to the end."""
    finish_reason: str
    """The server's word."""
    ended_at: datetime | None = None
    """When it ended; the store fills it in where it is None."""
