"""Requests with a streamed reply, and when one is sent once more.

`answer` and `Forwarding` know what is sent, what the reply means, and what to do after a refusal.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import TypeVar

import httpx
from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import (
    LMChatError,
    NothingAnswers,
    ServerRejected,
    ServerUnavailable,
    StreamInterrupted,
)
from lmchat.core.config.settings import LimitSettings, TimeoutSettings
from lmchat.core.servers.access import Access
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import ModelLoading, RequestAdapted, RetryScheduled, StreamEvent
from lmchat.core.servers.http.connections import (
    POOL_S,
    WRITE_S,
    connect_timeout_s,
    errors_as_unavailable,
    read_up_to,
    request_headers,
)
from lmchat.core.servers.http.reply import Reply
from lmchat.core.servers.products import product_named
from lmchat.core.servers.products.product import Product
from lmchat.core.servers.request import STREAM_HEADERS
from lmchat.core.servers.stream.timeouts import IdleTimeout
from lmchat.core.servers.target import Target
from lmchat.core.servers.wire.refusals import RefusalContext, refusal

REFUSAL_BYTES = 1024 * 1024
REFUSAL_S = 10.0  # after the status has arrived
LOADING_PAUSE_S = 1.0  # while the server loads the model
LOADING_S = 600.0  # in all
LIST_S = 5.0  # for the question whether it still loads
MAX_WAIT_S = 60.0  # not repeated after longer ones
REFUSED_WAIT_S = 0.3  # after a near server has refused the connection
BUSY_FACTOR = 3.0  # for a near server, which answers one request at a time
JITTER = 0.25  # largest random part of a wait, in both directions
_TEMPORARY = frozenset({"rate_limited", "busy", "upstream", "loading"})
_Accepted = TypeVar("_Accepted")  # made of the reply to an accepted request
_logger = logging.getLogger(__name__)


class Exchange(Struct, kw_only=True):
    """One request on its way: its attempts, and the connection of the accepted one."""

    target: Target
    access: Access
    post: Callable[[StreamEvent], None]  # takes the events of the request
    require_chosen: Callable[[], Awaitable[None]]  # raises `LMChatError` if it must not be sent
    lists_as_loading: Callable[[], Awaitable[bool]]  # whether the server's list says so
    key: str = ""  # empty: none
    retries: int = 0  # without those while a model loads or after a remedy
    is_loading: bool = False  # an attempt was refused for that
    has_token: bool = False  # a repeated request would bring the text a second time

    async def attempts(
        self,
        send: Callable[[IdleTimeout], Awaitable[_Accepted]],
        remedy: Callable[[ServerRejected], Awaitable[bool]],
    ) -> _Accepted:
        """Call `send` until it succeeds; raise `ServerUnavailable` or `ServerRejected`.

        After the first text (`has_token`), any failure is raised at once. While the server shows
        that it loads the model, or names a time, it is waited for up to `LOADING_S`, within the
        limit for the first token. After another refusal, `remedy`, which raises nothing, says
        whether to send again at once. Other failures follow `retry_plan`.
        """
        ask_health = self._ask_health if self.product.lists.health_path else None
        idle_timeout = IdleTimeout(self.timeouts, self.post, ask_health)
        loop = asyncio.get_running_loop()
        loading_s = 0.0
        while True:
            await self.require_chosen()
            self.key = await self.access.keys.key_for(self.target.endpoint)
            if fault := self.access.keys.take_fault(self.target.endpoint):
                self.post(RequestAdapted(note=fault))
            started_s = loop.time()
            try:
                return await send(idle_timeout)
            except StreamInterrupted as error:
                if error.details:  # the connection broke
                    self.access.new_start(self.target.endpoint)
                raise
            except (ServerUnavailable, ServerRejected) as error:
                if error.kind in ("offline", "dropped"):
                    self.access.new_start(self.target.endpoint)
                self._add_next_step(error)
                if self.has_token:
                    raise
                if isinstance(error, ServerRejected):
                    asked_s = error.retry_after_s
                    if error.kind == "loading" and (
                        asked_s is not None or await self._shows_loading()
                    ):
                        self.is_loading = True
                        wait_s = min(max(LOADING_PAUSE_S, asked_s or 0.0), MAX_WAIT_S)
                        loading_s += loop.time() - started_s + wait_s
                        if loading_s > LOADING_S:
                            raise
                        self.post(ModelLoading(wait_s=wait_s if asked_s else None))
                        await asyncio.sleep(wait_s)
                        idle_timeout.check_first_token()  # raises if the limit has passed
                        continue
                    if await remedy(error):
                        continue
                plan = retry_plan(
                    error,
                    self.target.endpoint,
                    self.product,
                    attempt=self.retries + 1,
                    limits=self.access.settings.limits,
                )
                if plan is None:
                    raise
                self.retries += 1
                self.access.counters.add(retries=1)
                _logger.info("another attempt: %s", error.kind)
                self.post(
                    RetryScheduled(
                        attempt=self.retries + 1,
                        attempts=plan.attempts,
                        wait_s=plan.wait_s,
                        reason=error.message,
                    )
                )
                await asyncio.sleep(plan.wait_s)

    @asynccontextmanager
    async def response(
        self,
        path: str,
        body: bytes,
        idle_timeout: IdleTimeout,
    ) -> AsyncIterator[httpx.Response]:
        """Yield the unread response; raise `ServerUnavailable`.

        `path` is behind the address of the API. `idle_timeout` watches the block: reading has no
        other limit.
        """
        connect_s = connect_timeout_s(self.target.endpoint, self.timeouts.connect_s)
        sent_headers = {**request_headers(self.key, has_body=True), **STREAM_HEADERS}
        if self.target.endpoint.is_near:
            # llama.cpp's router closes a connection after a stream without saying so, and the next
            # request on it would fail. To connect again within a network takes under a millisecond.
            sent_headers["Connection"] = "close"
        async with idle_timeout.watching():
            response = await self.access.connections.send(
                self.target.endpoint,
                "POST",
                f"{self.target.endpoint.base_url}{path}",
                headers=sent_headers,
                timeout=httpx.Timeout(connect=connect_s, read=None, write=WRITE_S, pool=POOL_S),
                body=body,
            )
            try:
                yield response
            finally:
                await response.aclose()

    async def read_refusal(
        self, response: httpx.Response, refusal_context: RefusalContext
    ) -> tuple[bytes, ServerRejected]:
        with errors_as_unavailable(self.target.endpoint):
            body = await read_up_to(response, REFUSAL_BYTES, REFUSAL_S)
        return body, refusal(response.status_code, response.headers, body, refusal_context)

    @property
    def timeouts(self) -> TimeoutSettings:
        return self.access.timeouts(self.target.endpoint)

    @property
    def product(self) -> Product:
        return product_named(self.target.product)

    def refusal_context(self, sent: bytes) -> RefusalContext:
        """With the key, which is cut out of errors."""
        return replace(self.access.refusal_context(self.target, self.key), sent=sent)

    def _add_next_step(self, error: ServerUnavailable | ServerRejected) -> None:
        """Say how to start a server that is off, or why a key was withheld."""
        if isinstance(error, ServerUnavailable):
            self.product.add_start_step(error)
        elif error.kind == "auth" and not self.key:
            error.next_step = self.access.keys.why_withheld(self.target.endpoint) or error.next_step

    async def _shows_loading(self) -> bool:
        """Return whether health or list, not the words of a refusal, say that it loads."""
        with suppress(LMChatError, TimeoutError):
            async with asyncio.timeout(LIST_S):
                if self.product.lists.health_path:
                    health = await self._ask_health()
                    if health.status == httpx.codes.SERVICE_UNAVAILABLE:
                        return True
                return await self.lists_as_loading()
        return False

    async def _ask_health(self) -> Reply:
        """Ask over another connection, while the server is silent."""
        url = f"{self.target.endpoint.url}{self.product.lists.health_path}"
        no_limit = httpx.Timeout(None)  # `IdleTimeout` has one
        return await self.access.connections.ask(
            self.target.endpoint, "GET", url, key=self.key, timeout=no_limit
        )


class RetryPlan(Struct, frozen=True, kw_only=True):
    """How to repeat a request whose failure may be temporary."""

    attempts: int  # most in all, with those that have failed
    wait_s: float


def retry_plan(
    error: LMChatError, endpoint: Endpoint, product: Product, *, attempt: int, limits: LimitSettings
) -> RetryPlan | None:
    """Return how to repeat a request that failed before its first token; None: not at all.

    `attempt` is the failed one, from 1. A request is not repeated if the server may still work on
    it.
    """
    backoff_s = min(limits.retry_base_s * 2.0 ** (attempt - 1), limits.retry_max_s)
    wait_s = backoff_s * random.uniform(1 - JITTER, 1 + JITTER)
    attempts = limits.retries  # it counts the first attempt, too
    is_near = endpoint.is_near
    if isinstance(error, ServerRejected):
        # another machine of a provider may do better
        is_hosted_failure = error.status == 500 and error.kind == "server_error" and not is_near  # noqa: PLR2004
        is_temporary = error.kind in _TEMPORARY - product.chat.final_kinds or is_hosted_failure
        # an error without a status came inside a stream. A model server that has started to answer
        # does not refuse any more. But a gateway passes on refusals of the servers behind it, and
        # any server that is not near may be one.
        may_be_gateway = product.is_gateway or not is_near
        is_mid_answer = error.status is None and not may_be_gateway
        if is_mid_answer or not is_temporary:
            return None
        if error.kind in ("busy", "loading") and is_near:
            wait_s *= BUSY_FACTOR
        if error.retry_after_s is not None:
            wait_s = error.retry_after_s
            if wait_s > MAX_WAIT_S:
                return None
    elif error.kind == "offline":  # that showed at once
        if is_near:  # the server may be restarting: try once more, soon
            attempts = min(attempts, 2)
            wait_s = REFUSED_WAIT_S
    elif isinstance(error, NothingAnswers):  # connecting took too long
        if is_near:  # near servers are tried again only after failures that pass soon
            return None
        attempts = min(attempts, 2)  # once more only: the system has already tried several times
    else:  # the server may have started to work on the request
        return None
    return RetryPlan(attempts=attempts, wait_s=wait_s) if attempt < attempts else None
