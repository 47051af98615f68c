"""Retry with backoff: failures that may pass, and how long to wait; never after the first token."""

from __future__ import annotations

import random

from msgspec import Struct

from lmchat.config.settings import LimitSettings
from lmchat.domain.server import Endpoint, Product
from lmchat.errors import LMChatError, ServerRejected, ServerUnavailable
from lmchat.proxy.errors import NothingAnswers

MAX_WAIT_S = 60.0
"""A longer wait that a server asks for is told, not waited for (R-32)."""
REFUSED_WAIT_S = 0.3
JITTER = 0.25
_PASSING = frozenset({"rate_limited", "busy", "upstream"})
_MAY_PASS = _PASSING | {"timeout", "context_overflow", "bad_request", "loading", "server_error"}
_PASSING_STATUSES = frozenset({408, 429, 502, 503, 504, 529})


class Plan(Struct, frozen=True, kw_only=True):
    """Another try that is worth it."""

    tries: int | None = None
    """Tries in all, where fewer than the settings allow."""
    wait_s: float | None = None
    """Seconds to wait; None: the own backoff."""

    def wait_after(self, attempt: int, limits: LimitSettings) -> float:
        if self.wait_s is not None:
            return self.wait_s
        own_s = min(limits.retry_base_s * 2.0 ** (attempt - 1), limits.retry_max_s)
        return own_s * random.uniform(1 - JITTER, 1 + JITTER)


def plan_for(error: LMChatError, endpoint: Endpoint, product: Product) -> Plan | None:
    """Return another try where a failure before the first token may pass, else None."""
    if isinstance(error, ServerUnavailable):
        return _unreachable(error, endpoint)
    if isinstance(error, ServerRejected):
        return _rejected(error, endpoint, product)
    return None


def _unreachable(error: ServerUnavailable, endpoint: Endpoint) -> Plan | None:
    if endpoint.is_near:
        return Plan(tries=2, wait_s=REFUSED_WAIT_S) if error.kind == "offline" else None
    if error.kind == "offline":
        return Plan()
    # A read that timed out is not repeated: the server may be loading, and would do the work twice.
    # Connecting that timed out is, once: the system itself has knocked several times by then.
    return Plan(tries=2) if isinstance(error, NothingAnswers) else None


def _rejected(error: ServerRejected, endpoint: Endpoint, product: Product) -> Plan | None:
    wait_s = error.retry_after_s
    if error.kind not in _MAY_PASS or (wait_s or 0) > MAX_WAIT_S:
        return None
    if error.status is None:  # in the stream: only a gateway, which passes on what others say
        is_gateway = product is Product.LITELLM or not endpoint.is_near
        return Plan(wait_s=wait_s) if is_gateway and error.kind in _PASSING else None
    is_hosted_failure = error.status in (409, 500) and not endpoint.is_near
    return Plan(wait_s=wait_s) if error.status in _PASSING_STATUSES or is_hosted_failure else None
