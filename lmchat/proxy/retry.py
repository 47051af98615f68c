"""Which failures may pass, how long to wait, and the loop that tries again; never after the first token."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception_type

from lmchat.config.settings import LimitSettings
from lmchat.domain.error_kinds import KINDS
from lmchat.domain.event import RetryScheduled
from lmchat.domain.server import Endpoint, Product
from lmchat.errors import LMChatError, ServerRejected, ServerUnavailable
from lmchat.proxy.errors import is_near

_T = TypeVar("_T")

MAX_WAIT_S = 60.0
"""A longer wait that a server asks for is not waited for, but told (R-32)."""
REFUSED_WAIT_S = 0.3
JITTER = 0.25
_PASSING = frozenset({"rate_limited", "busy", "upstream"})
_PASSING_STATUSES = frozenset({408, 429, 502, 503, 504, 529})


class Plan(Struct, frozen=True, kw_only=True):
    """That another try is worth it."""

    tries: int | None = None
    """Tries in all, where fewer than the settings allow."""
    wait_s: float | None = None
    """Seconds to wait; None: the own back-off."""


class TryAgainError(Exception):
    """Carries a failure and its plan through the retry loop."""

    def __init__(self, error: LMChatError, plan: Plan) -> None:
        super().__init__(str(error))
        self.error = error
        self.plan = plan


def plan_for(error: LMChatError, endpoint: Endpoint, product: Product) -> Plan | None:
    """Decide whether a failure before the first token may pass; None: never."""
    if isinstance(error, ServerUnavailable):
        return _unreachable(error, endpoint)
    if isinstance(error, ServerRejected):
        return _rejected(error, endpoint, product)
    return None


def _unreachable(error: ServerUnavailable, endpoint: Endpoint) -> Plan | None:
    if is_near(endpoint):
        return Plan(tries=2, wait_s=REFUSED_WAIT_S) if error.kind == "offline" else None
    if error.kind == "offline":
        return Plan()
    # A read that timed out is not repeated: the server may be loading, and would do the work twice.
    # Connecting that timed out is, once: the system itself has knocked several times by then.
    return Plan(tries=2) if "ConnectTimeout" in error.details else None


def _rejected(error: ServerRejected, endpoint: Endpoint, product: Product) -> Plan | None:
    wait_s, kind = error.retry_after_s, KINDS.get(error.kind)
    if kind is None or not kind.again or (wait_s or 0) > MAX_WAIT_S:
        return None
    if error.status is None:  # in the stream: only who passes on what others say
        is_gateway = product is Product.LITELLM or not is_near(endpoint)
        return Plan(wait_s=wait_s) if is_gateway and error.kind in _PASSING else None
    is_hosted_failure = error.status in (409, 500) and not is_near(endpoint)
    return Plan(wait_s=wait_s) if error.status in _PASSING_STATUSES or is_hosted_failure else None


class Retry:
    """Runs a call until it succeeds, or its failure will not pass."""

    def __init__(self, limits: LimitSettings, tell: Callable[[RetryScheduled], None]) -> None:
        self._limits = limits
        self._tell = tell

    async def run(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Call, and call again where the call raises `TryAgainError`.

        Raises:
            LMChatError: the last failure.
        """
        retrying = AsyncRetrying(
            stop=self._is_over,
            wait=self._wait_s,
            retry=retry_if_exception_type(TryAgainError),
            before_sleep=self._announce,
            reraise=True,
        )
        try:
            return await retrying(call)
        except TryAgainError as again:
            raise again.error from None

    def _tries(self, state: RetryCallState) -> int:
        plan = _failure(state).plan
        return self._limits.retries if plan.tries is None else min(plan.tries, self._limits.retries)

    def _is_over(self, state: RetryCallState) -> bool:
        return state.attempt_number >= self._tries(state)

    def _wait_s(self, state: RetryCallState) -> float:
        named_s = _failure(state).plan.wait_s
        if named_s is not None:
            return named_s
        own_s = min(self._limits.retry_base_s * 2.0 ** (state.attempt_number - 1), self._limits.retry_max_s)
        return own_s * random.uniform(1 - JITTER, 1 + JITTER)

    def _announce(self, state: RetryCallState) -> None:
        self._tell(
            RetryScheduled(
                attempt=state.attempt_number + 1,
                attempts=self._tries(state),
                wait_s=state.upcoming_sleep,
                reason=_failure(state).error.message,
            )
        )


def _failure(state: RetryCallState) -> TryAgainError:
    error = state.outcome.exception() if state.outcome is not None else None
    if not isinstance(error, TryAgainError):
        raise TypeError("only a failed try is planned for") from error
    return error
