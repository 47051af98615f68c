"""Retries of a request that failed before its first token."""

from __future__ import annotations

import random

from msgspec import Struct

from lmchat.config.settings import LimitSettings
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint
from lmchat.errors import LMChatError, ServerRejected
from lmchat.proxy.network_errors import NothingAnswers

MAX_WAIT_S = 60.0  # a longer wait that a server asks for is shown, not waited for
REFUSED_WAIT_S = 0.3
JITTER = 0.25
_TEMPORARY = frozenset({"rate_limited", "busy", "upstream"})
_MAYBE_TEMPORARY = frozenset(
    {"timeout", "context_overflow", "bad_request", "loading", "server_error"}
)
"""Kinds that are tried again only for some statuses."""
_TEMPORARY_STATUSES = frozenset({408, 429, 502, 503, 504, 529})
_HOSTED_FAILURES = frozenset({409, 500})
"""Statuses that are temporary at providers, whose machines share the requests."""


class RetryPlan(Struct, frozen=True, kw_only=True):
    """Another attempt that is worth it."""

    attempts: int | None = None  # attempts in all, where fewer than the settings allow
    wait_s: float | None = None  # seconds to wait; None: the own backoff

    def wait_after(self, attempt: int, limits: LimitSettings) -> float:
        if self.wait_s is not None:
            return self.wait_s
        backoff_s = min(limits.retry_base_s * 2.0 ** (attempt - 1), limits.retry_max_s)
        return backoff_s * random.uniform(1 - JITTER, 1 + JITTER)


def plan_for(error: LMChatError, endpoint: Endpoint, product: Product) -> RetryPlan | None:
    """Return another attempt if the failure before the first token may be temporary."""
    if isinstance(error, ServerRejected):
        return _plan_for_rejection(error, endpoint, product)
    if endpoint.is_near:
        is_refused = error.kind == "offline"
        return RetryPlan(attempts=2, wait_s=REFUSED_WAIT_S) if is_refused else None
    if error.kind == "offline":
        return RetryPlan()
    # A read that timed out is not repeated: the server may be loading, and would work twice.
    # Connecting that timed out is, once: the system itself has tried several times by then.
    return RetryPlan(attempts=2) if isinstance(error, NothingAnswers) else None


def _plan_for_rejection(
    error: ServerRejected, endpoint: Endpoint, product: Product
) -> RetryPlan | None:
    wait_s = error.retry_after_s
    if error.kind not in _TEMPORARY | _MAYBE_TEMPORARY or (wait_s or 0) > MAX_WAIT_S:
        return None
    if error.status is None:  # in the stream: only of a gateway, which passes on others' errors
        is_gateway = product.facts.is_gateway or not endpoint.is_near
        is_temporary = is_gateway and error.kind in _TEMPORARY
    else:
        is_hosted_failure = error.status in _HOSTED_FAILURES and not endpoint.is_near
        is_temporary = error.status in _TEMPORARY_STATUSES or is_hosted_failure
    return RetryPlan(wait_s=wait_s) if is_temporary else None
