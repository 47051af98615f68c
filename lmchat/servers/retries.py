"""Rules for the retries of a request that failed before its first token."""

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
_TEMPORARY = frozenset({"rate_limited", "busy", "upstream", "timeout"})


class RetryPlan(Struct, frozen=True, kw_only=True):
    """How to repeat a request whose failure may be temporary."""

    attempts: int  # most attempts in all
    wait_s: float  # before the next one


def plan_for(
    error: LMChatError, endpoint: Endpoint, product: str, *, attempt: int, limits: LimitSettings
) -> RetryPlan | None:
    """Return how to repeat a request whose attempt failed before its first token, counted from 1.

    None if all attempts of the settings are used up, if the failure is not temporary, or if the
    server may still work on the first request. The wait doubles with each attempt up to a limit,
    and varies at random, unless the server names one.
    """
    backoff_s = min(limits.retry_base_s * 2.0 ** (attempt - 1), limits.retry_max_s)
    wait_s = backoff_s * random.uniform(1 - JITTER, 1 + JITTER)
    attempts = limits.retries  # it counts the first attempt, too
    is_near = endpoint.is_near
    if isinstance(error, ServerRejected):
        # a provider's machines share the requests, so another one may do better
        is_hosted_failure = error.status == 500 and error.kind == "server_error" and not is_near  # noqa: PLR2004
        is_temporary = error.kind in _TEMPORARY or is_hosted_failure
        if error.status is None:
            # It came inside a stream. A model server that has begun to answer does not refuse any
            # more, but a gateway, which may stand before each far server, passes on refusals.
            is_temporary = is_temporary and (product_named(product).is_gateway or not is_near)
        if error.retry_after_s is not None:
            wait_s = error.retry_after_s
            is_temporary = is_temporary and wait_s <= MAX_WAIT_S
    elif error.kind == "offline":  # no connection could be made, and that showed at once
        is_temporary = True
        if is_near:  # its server may be restarting: try once more, soon
            attempts, wait_s = min(attempts, 2), REFUSED_WAIT_S
    else:
        # What is left of `NothingAnswers` is a timeout of connecting: try once more only, because
        # the system has already tried several times. All else, such as a timeout of the reply, is
        # not repeated: the server may have begun to work on the request.
        is_temporary = isinstance(error, NothingAnswers) and not is_near
        attempts = min(attempts, 2)
    if not is_temporary or attempt >= attempts:
        return None
    return RetryPlan(attempts=attempts, wait_s=wait_s)
