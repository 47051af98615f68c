"""One chat request and its answer: send, try again where that helps, read the stream to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from msgspec.structs import replace

from lmchat.config.settings import LimitSettings, TimeoutSettings
from lmchat.domain.event import (
    LifeSign,
    ModelLoading,
    RequestAdapted,
    RequestSent,
    RetryScheduled,
    StreamEvent,
    StreamFinished,
)
from lmchat.domain.message import Role
from lmchat.domain.request import ChatRequest
from lmchat.errors import LMChatError, ServerRejected, ServerUnavailable, StreamInterrupted
from lmchat.proxy.chunks import ChunkReader
from lmchat.proxy.errors import TRANSPORT_ERRORS, plan_for, reaching
from lmchat.proxy.http import (
    POOL_S,
    WRITE_S,
    Connections,
    Freshness,
    Reply,
    connect_timeout_s,
    read_up_to,
    request_headers,
)
from lmchat.proxy.json_values import NotJsonError, decode, encode, mapping
from lmchat.proxy.refusals import Asked, is_error, refusal, refusal_in_stream, shown_address, without_key
from lmchat.proxy.servers.base import Server
from lmchat.proxy.sse import MalformedStreamError, SseEvent, SseReader, SseRun
from lmchat.proxy.think import ThinkSplitter
from lmchat.proxy.timeouts import Loading, Patience, can_knock, knock
from lmchat.proxy.wire import Dialect, body_of, fall_note

MAX_WAITING = 256
"""Pieces that may wait before the reader of the network waits too (backpressure)."""


class Channel:
    """One sender, one receiver, events in batches; ends with an error or without."""

    def __init__(self) -> None:
        self._events: list[StreamEvent] = []
        self._waiting = 0
        self._error: BaseException | None = None
        self._is_closed = False
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()

    def post(self, *events: StreamEvent) -> None:
        self._events.extend(events)
        self._waiting += sum(getattr(event, "pieces", 1) for event in events)
        self._has_news.set()

    @property
    def is_full(self) -> bool:
        return self._waiting > MAX_WAITING

    async def wait_for_room(self) -> None:
        while self.is_full:
            self._has_room.clear()
            await self._has_room.wait()

    def close(self, error: BaseException | None = None) -> None:
        """End it; the error is raised behind the last event."""
        self._error, self._is_closed = error, True
        self._has_news.set()

    async def take(self) -> list[StreamEvent]:
        """Wait for events and return them all; an empty list is the end."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._is_closed:
                return []
            self._has_news.clear()
            await self._has_news.wait()
        events, self._events, self._waiting = self._events, [], 0
        self._has_room.set()
        return events


MAX_WHOLE_BYTES = 1 << 20
DRAIN_S = 0.05
"""Wait for the end of a body behind `[DONE]`, so that the connection can be used again."""
_STREAM_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")
_LEAD = b"\xef\xbb\xbf\r\n "


class AnswerReader:
    """Reads one response; events go into the channel."""

    def __init__(
        self,
        response: httpx.Response,
        asked: Asked,
        channel: Channel,
        patience: Patience,
        chunks: ChunkReader,
    ) -> None:
        self._response = response
        self._body = response.aiter_bytes()
        self._asked = asked
        self._channel = channel
        self._patience = patience
        self._sse = SseReader()
        self._chunks = chunks

    async def read(self) -> StreamFinished:
        """Read to the end; raises `LMChatError` where the answer is not complete."""
        kind = self._response.headers.get("content-type", "").lower()
        try:
            if kind.startswith("text/event-stream"):
                cut = await self._stream()
            else:
                cut = await self._whole()
        except MalformedStreamError as error:
            raise StreamInterrupted(
                f"Streaming failed: malformed stream, {error}.",
                hint="What had arrived is kept; look at the server's log.",
            ) from error
        finally:
            out: list[StreamEvent] = []
            self._chunks.close(out)
            self._channel.post(*out)
        return self._chunks.conclude(cut)

    async def _stream(self) -> str:
        """Read a stream; return how the transport broke, if it did."""
        try:
            async for chunk in self._body:
                self._take(self._sse.take(chunk))
                self._patience.heard(has_token=self._chunks.has_token)
                if self._channel.is_full:
                    await self._channel.wait_for_room()
                    self._patience.heard(has_token=self._chunks.has_token)
                if self._chunks.has_done:
                    await self._drain()
                    return ""
            self._take(self._sse.close())
        except TRANSPORT_ERRORS as error:
            return f"{type(error).__name__}: {error}"
        return ""

    def _take(self, events: Sequence[SseEvent | SseRun]) -> None:
        out: list[StreamEvent] = []
        try:
            for event in events:
                if isinstance(event, SseRun):
                    self._chunks.read_run(event.data, out)
                elif event.is_comment:
                    out.append(LifeSign())
                else:
                    self._chunks.read(event, out)
        finally:
            # also where an event is an error: what came before it is kept
            self._channel.post(*out)

    async def _drain(self) -> None:
        with suppress(TimeoutError, *TRANSPORT_ERRORS):
            async with asyncio.timeout(DRAIN_S):
                async for _ in self._body:
                    pass

    async def _whole(self) -> str:
        """Take a reply that is declared as no stream (R-23); every official reader is silent here."""
        try:
            body = await read_up_to(self._response, MAX_WHOLE_BYTES)
        except TRANSPORT_ERRORS as cut:
            return f"{type(cut).__name__}: {cut}"
        if body.lstrip(_LEAD).startswith(_STREAM_BEGINNINGS):
            self._take(self._sse.take(body))
            self._take(self._sse.close())
            return ""
        try:
            value = decode(body)
        except NotJsonError:
            value = None
        if is_error(value) or not mapping(value).get("choices"):
            error = refusal(self._response.status_code, self._response.headers, body, self._asked)
            if is_error(value) or error.kind == "not_an_llm":
                raise error
            raise ServerRejected(
                "This is not an LLM API: the reply is no answer of a model.",
                kind="not_an_llm",
                hint="Check the port and the path of the address.",
                details=error.details,
            )
        out: list[StreamEvent] = []
        self._chunks.read_object(value, out)
        self._chunks.has_done = True
        self._channel.post(*out)
        return ""


HEALTH_S = 4.0
"""Timeout for the health of a server that loads: a hang is told within 5 s."""
REFUSAL_S = 10.0
"""Timeout for the words of a refusal; its status has come already."""
_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Exchange:
    """One request with all that it needs; runs in the task that owns the response."""

    request: ChatRequest
    server: Server
    key: str | None
    connections: Connections
    channel: Channel
    limits: LimitSettings
    timeouts: TimeoutSettings
    dialect: Dialect
    fields: Mapping[str, Any]
    notes: Sequence[str] = ()
    is_model_unloaded: bool = False
    """Whether the request will make the server load its model first."""
    splits_thought: bool = True
    """Whether tags tell thought from answer."""
    on_retry: Callable[[], None]
    _has_token: bool = False
    _tried: set[Dialect] = field(default_factory=set)
    _freshness: Freshness = field(default_factory=Freshness)

    @property
    def asked(self) -> Asked:
        return Asked(
            product=self.server.product,
            key=self.key or "",
            model=self.request.model,
            host=self.request.endpoint.host,
        )

    async def run(self) -> StreamFinished:
        for note in self.notes:
            self.channel.post(RequestAdapted(note=note))
        attempt = 1
        while True:
            try:
                return await self._adapt()
            except (ServerUnavailable, ServerRejected) as error:
                product, endpoint = self.server.product, self.request.endpoint
                plan = None if self._has_token else plan_for(error, endpoint, product)
                tries = min((plan and plan.tries) or self.limits.retries, self.limits.retries)
                if plan is None or attempt >= tries:
                    raise
                wait_s, reason = plan.wait_after(attempt, self.limits), error.message
            attempt += 1
            self.on_retry()
            _log.info("chat request: another try")
            self.channel.post(RetryScheduled(attempt=attempt, attempts=tries, wait_s=wait_s, reason=reason))
            await asyncio.sleep(wait_s)

    async def _adapt(self) -> StreamFinished:
        """Send again after a refused field, a model that loads, or a stale connection."""
        loading = Loading(self._health if self.server.health_path else None, self.timeouts, self.channel.post)
        is_second = False
        while True:
            try:
                try:
                    return await self._send(loading)
                except ServerRejected as error:
                    if error.kind == "loading" and not self._has_token:
                        await loading.wait()
                    elif self._has_token or not self._has_changed(error):
                        raise
            except ServerUnavailable as error:
                if error.kind != "dropped" or not self._freshness.is_reused or is_second:
                    self.server.add_hint(error)
                    raise
                is_second = True

    def _has_changed(self, error: ServerRejected) -> bool:
        self._tried.add(self.dialect)
        if asked_anew := self.dialect.after_json(error, self.request.output):
            mode = asked_anew.json_mode(self.request.output)
            self.channel.post(RequestAdapted(note=fall_note(error, self.request.output, mode)))
            self.dialect = asked_anew
            return True
        has_limit = self.request.sampling.max_tokens is not None
        dialect = self.dialect.after(error, has_limit=has_limit, fields=self.fields)
        if dialect is None or dialect in self._tried:
            return False
        for name, _ in sorted(dialect.dropped - self.dialect.dropped):
            said = error.message.rstrip(".")
            self.channel.post(RequestAdapted(note=f"{said}. The request goes out once more, without {name}."))
        self.dialect = dialect
        return True

    async def _health(self) -> Reply:
        endpoint, patience = self.request.endpoint, httpx.Timeout(min(self.timeouts.health_s, HEALTH_S))
        url = f"{endpoint.root_url}{self.server.health_path}"
        return await self.connections.ask(endpoint, "GET", url, key=self.key, patience=patience)

    async def _is_there(self) -> bool:
        """Whether the server answers other requests; True where that cannot be checked."""
        if self._freshness.is_connecting:
            return False
        endpoint = self.request.endpoint
        if not self.server.health_path:
            return endpoint.is_loopback or not can_knock(endpoint) or await knock(endpoint)
        try:
            await self._health()
        except LMChatError as error:
            return error.kind not in ("offline", "timeout")
        return True

    async def _send(self, loading: Loading) -> StreamFinished:
        endpoint = self.request.endpoint
        client = await self.connections.client(endpoint)
        self.channel.post(RequestSent())
        if self.is_model_unloaded or loading.is_told_by_request:
            self.channel.post(ModelLoading())
        async with Patience(
            self.timeouts, self.channel.post, is_there=self._is_there, since_s=loading.since_s
        ) as patience:
            with reaching(endpoint):
                response = await client.send(self._http_request(client), stream=True)
            try:
                return await self._answer(response, patience)
            finally:
                await response.aclose()

    def _http_request(self, client: httpx.AsyncClient) -> httpx.Request:
        endpoint = self.request.endpoint
        self._freshness = Freshness()
        headers = request_headers(self.key, has_body=True)
        headers |= {"Accept": "text/event-stream, application/json", "Accept-Encoding": "identity"}
        connect_s = connect_timeout_s(endpoint, self.timeouts.connect_s)
        return client.build_request(
            "POST",
            f"{endpoint.base_url}/chat/completions",
            content=encode(body_of(self.request, self.fields, self.dialect)),
            headers=headers,
            timeout=httpx.Timeout(connect=connect_s, read=None, write=WRITE_S, pool=POOL_S),
            extensions={"trace": self._freshness.trace},
        )

    async def _answer(self, response: httpx.Response, patience: Patience) -> StreamFinished:
        if not response.is_success:
            raise await self._refusal(response)
        starts_in_thought = self.dialect.starts_in_thought and not self._goes_on
        splitter = ThinkSplitter(starts_in_thought=starts_in_thought) if self.splits_thought else None
        chunks = ChunkReader(lambda value: refusal_in_stream(value, self.asked), splitter=splitter)
        try:
            return await AnswerReader(response, self.asked, self.channel, patience, chunks).read()
        finally:
            self._has_token = chunks.has_token
            if splitter is not None and not self._goes_on:
                self.dialect = replace(self.dialect, starts_in_thought=splitter.starts_in_thought)

    @property
    def _goes_on(self) -> bool:
        """Whether the server continues an answer; its template then opens no thought."""
        return bool(self.request.messages) and self.request.messages[-1].role is Role.ASSISTANT

    async def _refusal(self, response: httpx.Response) -> ServerRejected:
        endpoint = self.request.endpoint
        with reaching(endpoint):
            body = await read_up_to(response, MAX_WHOLE_BYTES, REFUSAL_S)
        url, target = httpx.URL(endpoint.base_url), None
        if response.has_redirect_location:
            with suppress(httpx.InvalidURL, ValueError):
                target = url.join(response.headers["location"])
        if target and (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
            where = shown_address(without_key(str(target), self.key or ""))
            return ServerRejected(  # a key would go with it
                f"Endpoint not allowed: {endpoint.netloc} redirects to another host ({where})",
                kind="not_allowed",
                hint="If you trust that host, use its address and allow it with --allow-host.",
            )
        return refusal(response.status_code, response.headers, body, self.asked)
