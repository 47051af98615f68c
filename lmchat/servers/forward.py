"""Passing on a request of another program: its body as it came, and the reply byte for byte.

`Forwarding.reply` sends the request, again after failures that pass, until a reply begins. Nothing
is sent again after that. Only the server's API key is cut out of a reply that repeats it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
from msgspec import Struct, field

from lmchat.config.settings import LimitSettings, TimeoutSettings
from lmchat.errors import LMChatError, ServerRejected, ServerUnavailable
from lmchat.safe_text import without_secret
from lmchat.servers.http.api_keys import KeySource
from lmchat.servers.http.connections import (
    POOL_S,
    WRITE_S,
    Connections,
    Reply,
    RequestTrace,
    connect_timeout_s,
    read_up_to,
    request_headers,
)
from lmchat.servers.http.network_errors import errors_as_unavailable
from lmchat.servers.products.base import Server
from lmchat.servers.products.refusals import RequestFacts, refusal
from lmchat.servers.reply_figures import ReplyFigures
from lmchat.servers.request import ForwardedReply, ForwardedRequest
from lmchat.servers.retries import plan_for
from lmchat.servers.stream.life_signs import ask_health, is_alive
from lmchat.servers.stream.timeouts import IdleTimeout, Loading
from lmchat.sessions.message import AnswerState, new_id
from lmchat.sessions.stats import TurnRecord

REFUSAL_BYTES = 1024 * 1024  # most bytes of a refusal that are passed on
REFUSAL_S = 10.0  # timeout for the body of a refusal, whose status has already arrived
# Kinds of errors with which servers refuse a model that they list, but have not loaded.
_UNLOADED_KINDS = ("model_not_loaded", "model_missing")
_log = logging.getLogger(__name__)


class _Failure(Struct, frozen=True, kw_only=True):
    """A failed attempt."""

    error: ServerUnavailable | ServerRejected
    reply: ForwardedReply | None = None  # the refusal of the server as it came


class Forwarding(Struct, kw_only=True):
    """One request of another program, from the first attempt to the end of its reply."""

    request: ForwardedRequest
    server: Server
    connections: Connections
    limits: LimitSettings
    timeouts: TimeoutSettings
    keys: KeySource
    load_model: Callable[[], Awaitable[None]]  # raises `LMChatError` if the server cannot
    count: Callable[..., None]  # adds to counters, as `Admission.count`
    on_end: Callable[[TurnRecord], None]
    _begun_s: float = field(default_factory=time.perf_counter)
    _sent_s: float = 0.0  # `perf_counter` at the last attempt
    _key: str = ""  # the API key that is sent; empty: none
    _has_tried_load: bool = False  # whether loading the model was tried for this request
    _retries: int = 0
    _status: int = 0  # of the reply; 0 before it has begun
    _trace: RequestTrace = field(default_factory=RequestTrace)
    _figures: ReplyFigures = field(default_factory=ReplyFigures)

    @asynccontextmanager
    async def reply(self) -> AsyncIterator[ForwardedReply]:
        """Send the request, and yield the reply, whose connection is closed after the block.

        A refusal of the server is a reply, too. At the end, the result is counted, and `on_end`
        gets its figures.

        Raises:
            ServerUnavailable: the server does not answer, or the reply has broken off.
            StreamInterrupted: the reply has stopped for too long.
        """
        self.count(total_requests=1)
        state = AnswerState.FAILED  # also after an unexpected error, which is raised
        try:
            async with AsyncExitStack() as stack:
                yield await self._first_reply(stack)
            state = AnswerState.COMPLETE if self._is_success else AnswerState.FAILED
        except (asyncio.CancelledError, GeneratorExit):
            state = AnswerState.STOPPED
            raise
        except LMChatError as error:
            state = AnswerState.INTERRUPTED if self._status else AnswerState.FAILED
            _log.info("forwarded request: %s", error.kind)
            raise
        finally:
            self._count_end(state)

    @property
    def _is_success(self) -> bool:
        return httpx.codes.is_success(self._status)

    async def _first_reply(self, stack: AsyncExitStack) -> ForwardedReply:
        """Return the reply that is passed on; `stack` keeps its connection open.

        A refusal that `_remedy` can remedy is followed by another attempt at once. After any other
        failure that may pass, wait and try again, as often as the plan for it allows. Then the last
        refusal is returned as the reply, or, without one, the last error is raised.
        """
        endpoint = self.request.model.endpoint
        self._key = self.keys.key_for(endpoint) or ""
        loading = Loading(
            self._ask_health if self.server.health_path else None, self.timeouts, _ignore
        )
        while True:
            result = await self._send(stack)
            if isinstance(result, ForwardedReply):
                return result
            if await self._remedy(result.error, loading):
                continue
            wait_s = self._retry_wait_s(result.error)
            if wait_s is None:
                return self._final_refusal(result)
            self._retries += 1
            self.count(retries=1)
            _log.info("forwarded request: another attempt")
            await asyncio.sleep(wait_s)

    def _final_refusal(self, failure: _Failure) -> ForwardedReply:
        """Return the reply of a server that refuses; without one, raise the error."""
        if failure.reply is not None:
            self._status = failure.reply.status
            return failure.reply
        if isinstance(failure.error, ServerUnavailable):
            self.server.add_hint(failure.error)
        raise failure.error

    def _retry_wait_s(self, error: LMChatError) -> float | None:
        """Return the seconds until the next attempt after a failure; None: there is no further."""
        plan = plan_for(error, self.request.model.endpoint, self.server.product)
        if plan is None:
            return None
        attempt = self._retries + 1
        if attempt >= plan.max_attempts(self.limits):
            return None
        return plan.wait_after(attempt, self.limits)

    async def _send(self, stack: AsyncExitStack) -> ForwardedReply | _Failure:
        """Send the request once; return the reply if it is a success, otherwise the failure.

        What a reply needs open (connection, watch of silence, generator of its body) is closed with
        `stack`. After a failure, it is closed before this returns.
        """
        endpoint = self.request.model.endpoint
        idle_timeout = IdleTimeout(self.timeouts, _ignore, is_alive=self._is_alive)
        self._trace = RequestTrace()
        self._sent_s = time.perf_counter()
        try:
            async with AsyncExitStack() as attempt:
                await attempt.enter_async_context(idle_timeout.watching())
                http_request = await self._new_http_request()
                response = await self.connections.send(endpoint, http_request, self._trace)
                attempt.push_async_callback(response.aclose)
                if response.is_success:
                    self._status = response.status_code
                    content_type = response.headers.get("content-type", "")
                    self._figures.is_stream = content_type.startswith("text/event-stream")
                    chunks = self._chunks(response, idle_timeout)
                    attempt.push_async_callback(chunks.aclose)
                    stack.push_async_exit(attempt.pop_all())  # `attempt` closes nothing now
                    return self._reply(response, chunks)
                with errors_as_unavailable(endpoint):
                    body = await read_up_to(response, REFUSAL_BYTES, REFUSAL_S)
        except ServerUnavailable as error:
            return _Failure(error=error)
        return _Failure(
            reply=self._reply(response, _without_key(_only(body), self._key)),
            error=refusal(response.status_code, response.headers, body, self._facts),
        )

    async def _new_http_request(self) -> httpx.Request:
        """Return the request with the server's key; its reply has no time limit for a read."""
        endpoint = self.request.model.endpoint
        client = await self.connections.client(endpoint)
        headers = request_headers(self._key, has_body=True)
        headers["Accept"] = "text/event-stream, application/json"
        headers["Accept-Encoding"] = "identity"  # so that the bytes can be passed on as they are
        connect_s = connect_timeout_s(endpoint, self.timeouts.connect_s)
        return client.build_request(
            "POST",
            f"{endpoint.base_url}{self.request.path}",
            content=self.request.body,
            headers=headers,
            timeout=httpx.Timeout(connect=connect_s, read=None, write=WRITE_S, pool=POOL_S),
        )

    def _reply(self, response: httpx.Response, chunks: AsyncIterator[bytes]) -> ForwardedReply:
        headers = {
            name.lower(): without_secret(value, self._key)
            for name, value in response.headers.items()
        }
        return ForwardedReply(status=response.status_code, headers=headers, chunks=chunks)

    async def _chunks(
        self, response: httpx.Response, idle_timeout: IdleTimeout
    ) -> AsyncGenerator[bytes, None]:
        """Yield the body as it arrives; note each chunk for the timeout and for the figures."""
        with errors_as_unavailable(self.request.model.endpoint):
            async for chunk in _without_key(response.aiter_bytes(), self._key):
                # The body is not decoded here, so any byte counts as the first token.
                idle_timeout.note_data(has_token=True)
                self._figures.note(chunk)
                yield chunk

    async def _remedy(self, error: LMChatError, loading: Loading) -> bool:
        """Remedy a refusal; return whether the request should be sent again.

        A model that is loading is awaited. One that is not loaded is loaded if the server can do
        that (tried once for a request).
        """
        if not isinstance(error, ServerRejected):
            return False
        if error.kind == "loading":
            await loading.wait()
            return True
        if error.kind in _UNLOADED_KINDS and not self._has_tried_load:
            self._has_tried_load = True
            return await self._try_to_load()
        return False

    async def _try_to_load(self) -> bool:
        """Load the model; return whether that has succeeded."""
        try:
            await self.load_model()
        except LMChatError as error:
            _log.info("loading for a forwarded request: %s", error.kind)
            return False
        return True

    @property
    def _facts(self) -> RequestFacts:
        model = self.request.model
        return RequestFacts(
            product=model.product, key=self._key, model=model.model_id, host=model.endpoint.host
        )

    async def _ask_health(self) -> Reply:
        return await ask_health(
            self.connections,
            self.server,
            self.request.model.endpoint,
            key=self._key,
            health_s=self.timeouts.health_s,
        )

    async def _is_alive(self) -> bool:
        return await is_alive(
            self.connections,
            self.server,
            self.request.model.endpoint,
            self._trace,
            key=self._key,
            health_s=self.timeouts.health_s,
        )

    def _count_end(self, state: AnswerState) -> None:
        """Count the result, and pass its figures to `on_end`.

        `ttft_ms` is the time from the last attempt to the first byte, `wait_ms` that from the
        beginning, with the waits between attempts.
        """
        now_s = time.perf_counter()
        elapsed_ms = (now_s - self._begun_s) * 1e3
        if state is AnswerState.COMPLETE:
            self.count(successful_requests=1, total_response_ms=elapsed_ms)
        elif state is AnswerState.STOPPED:
            self.count(stopped_requests=1)
        else:
            self.count(failed_requests=1)

        model = self.request.model
        first_s = self._figures.first_byte_s
        counts = self._figures.counts()
        row = TurnRecord(
            message_id=new_id(),
            endpoint=model.server_id,
            product=model.product,
            model=model.model_id,
            quantization=model.quantization,
            state=state,
            ttft_ms=None if first_s is None else (first_s - self._sent_s) * 1e3,
            prompt_tokens_per_second=counts.prompt_tokens_per_second,
            tokens_per_second=counts.tokens_per_second,
            prompt_tokens=counts.prompt_tokens,
            completion_tokens=counts.completion_tokens,
            is_estimated=False,
            stalls=0,
            retries=self._retries,
            elapsed_ms=elapsed_ms,
            finish_reason=counts.finish_reason,
            wait_ms=None if first_s is None else (first_s - self._begun_s) * 1e3,
        )
        self.on_end(row)


async def _without_key(chunks: AsyncIterator[bytes], key: str) -> AsyncIterator[bytes]:
    """Yield the chunks of a body with `…` in place of an API key, also of one that is cut in two.

    An end of a chunk that may be the beginning of the key is held back until the next chunk. That
    delays no event of a stream: they end with a line break, which no key has.
    """
    beginnings = [key[:length] for length in range(len(key) - 1, 0, -1)]  # the longest first
    held = ""
    async for chunk in chunks:
        text = without_secret(held + chunk.decode("utf-8", "surrogateescape"), key)
        held = next(filter(text.endswith, beginnings), "")
        yield text.removesuffix(held).encode("utf-8", "surrogateescape")
    if held:
        yield held.encode()


async def _only(body: bytes) -> AsyncIterator[bytes]:
    """Yield a body that has been read already."""
    yield body


def _ignore(_: object) -> None:
    """Take an event that another program does not get: a stall, or that the model is loading."""
