"""Rules for the retries of a request that failed before its first token.

`plan_for` returns a `RetryPlan`, or None if the request should not be repeated.
"""

from __future__ import annotations

import random

from msgspec import Struct

from lmchat.config.settings import LimitSettings
from lmchat.errors import LMChatError, NothingAnswers, ServerRejected
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.products import product_named

MAX_WAIT_S = 60.0  # if a server asks for a longer wait, this is shown and not retried
REFUSED_WAIT_S = 0.3  # wait before a near server that refused the connection is tried again
JITTER = 0.25  # largest random part of a wait, in both directions
_TEMPORARY = frozenset({"rate_limited", "busy", "upstream"})
_MAYBE_TEMPORARY = frozenset(
    {"timeout", "context_overflow", "bad_request", "loading", "server_error"}
)
"""Kinds that are tried again only with a temporary status, so not inside a stream."""
_TEMPORARY_STATUSES = frozenset({408, 429, 502, 503, 504, 529})
_HOSTED_FAILURES = frozenset({409, 500})
"""Statuses that are temporary at providers, whose machines share the requests."""


class RetryPlan(Struct, frozen=True, kw_only=True):
    """How to repeat a request whose failure may be temporary."""

    attempts: int | None = None  # most attempts in all; None: as the settings say
    wait_s: float | None = None  # wait before each further attempt; None: a growing one

    def max_attempts(self, limits: LimitSettings) -> int:
        """Return how many attempts may be made in all, at most as many as the settings allow."""
        if self.attempts is None:
            return limits.retries  # it counts the first attempt, too
        return min(self.attempts, limits.retries)

    def wait_after(self, attempt: int, limits: LimitSettings) -> float:
        """Return the seconds to wait after an attempt; the first attempt is number 1.

        Without a fixed wait, it doubles with each attempt up to a limit, and varies at random.
        """
        if self.wait_s is not None:
            return self.wait_s
        backoff_s = min(limits.retry_base_s * 2.0 ** (attempt - 1), limits.retry_max_s)
        return backoff_s * random.uniform(1 - JITTER, 1 + JITTER)


def plan_for(error: LMChatError, endpoint: Endpoint, product: str) -> RetryPlan | None:
    """Return how to repeat a request that failed before its first token.

    None if the failure is not temporary, or if the server may still work on the first request.
    """
    if isinstance(error, ServerRejected):
        is_too_long = (error.retry_after_s or 0) > MAX_WAIT_S
        is_temporary = _is_temporary(error, endpoint, product) and not is_too_long
        return RetryPlan(wait_s=error.retry_after_s) if is_temporary else None
    is_offline = error.kind == "offline"  # no connection could be made, and that showed at once
    if endpoint.is_near:  # its server may be restarting: try once more, soon
        return RetryPlan(attempts=2, wait_s=REFUSED_WAIT_S) if is_offline else None
    if is_offline:
        return RetryPlan()
    # What is left of `NothingAnswers` is a timeout of connecting: try once more only, because the
    # system has already tried several times. All else, such as a timeout of the reply, is not
    # repeated: the server may have begun to work on the request.
    return RetryPlan(attempts=2) if isinstance(error, NothingAnswers) else None


def _is_temporary(error: ServerRejected, endpoint: Endpoint, product: str) -> bool:
    """Return whether a refused request may pass later: both its kind and its status must say so.

    Servers give the temporary statuses to permanent refusals, too, such as 429 to an account
    without credit: those have another kind.
    """
    if error.status is None:
        # It came inside a stream. A model server that has begun to answer does not refuse any more,
        # but a gateway passes on the refusals of others; one may stand before each far server.
        may_be_gateway = product_named(product).is_gateway or not endpoint.is_near
        return may_be_gateway and error.kind in _TEMPORARY
    is_hosted_failure = error.status in _HOSTED_FAILURES and not endpoint.is_near
    is_temporary = error.status in _TEMPORARY_STATUSES or is_hosted_failure
    return is_temporary and error.kind in _TEMPORARY | _MAYBE_TEMPORARY
