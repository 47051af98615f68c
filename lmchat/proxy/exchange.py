"""One chat request and its answer: send, try again where that helps, read the stream to its end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from msgspec.structs import replace

from lmchat.config.settings import LimitSettings, TimeoutSettings
from lmchat.domain.event import ModelLoading, RequestAdapted, RequestSent, RetryScheduled, StreamFinished
from lmchat.domain.message import Role
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint
from lmchat.errors import EndpointNotAllowed, LMChatError, ServerRejected, ServerUnavailable
from lmchat.proxy.answer import MAX_WHOLE_BYTES, Answer
from lmchat.proxy.channel import Channel
from lmchat.proxy.connections import (
    POOL_S,
    WRITE_S,
    Connections,
    Freshness,
    connect_timeout_s,
    read_begun,
    request_headers,
)
from lmchat.proxy.error_bodies import without_key
from lmchat.proxy.json_modes import fall_note
from lmchat.proxy.liveness import can_knock, knock, watched
from lmchat.proxy.loading import Loading
from lmchat.proxy.patience import Patience
from lmchat.proxy.refusals import Asked, refusal
from lmchat.proxy.reply import Reply
from lmchat.proxy.retry import Retry, TryAgainError, plan_for
from lmchat.proxy.servers.base import Server
from lmchat.proxy.think import ThinkSplitter
from lmchat.proxy.unreachable import REFUSED, caused_by, reaching
from lmchat.proxy.wire import Dialect, encode_request
from lmchat.text import safe_line

HEALTH_S = 4.0
"""What the health of a server that loads may take at most: within 5 s it is told that it hangs."""
REFUSAL_S = 10.0
"""How long the words of a refusal are waited for; its status has come already."""
_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Exchange:
    """Everything that one request needs; runs in the task that owns the response."""

    request: ChatRequest
    """What to ask."""
    server: Server
    """Whom."""
    key: str | None
    """With which key."""
    connections: Connections
    """Over what."""
    channel: Channel
    """Where events go."""
    limits: LimitSettings
    """How often to try."""
    timeouts: TimeoutSettings
    """How long to wait."""
    dialect: Dialect
    """What the server is known to want; changed by what it refuses."""
    fields: Mapping[str, Any]
    """What goes to this product beyond the common fields."""
    notes: Sequence[str] = ()
    """What to tell before anything is sent."""
    is_model_unloaded: bool = False
    """Whether the request will make the server load its model first."""
    splits_thought: bool = True
    """Whether tags tell thought from answer."""
    gather_s: float = 0.0
    """How long tokens may wait for each other once the first has come."""
    on_retry: Callable[[], None]
    """Counts a try beyond the first."""
    _has_token: bool = False
    _tried: set[Dialect] = field(default_factory=set)
    _freshness: Freshness = field(default_factory=Freshness)

    @property
    def asked(self) -> Asked:
        """For refusals."""
        return Asked(
            product=self.server.product,
            has_key=bool(self.key),
            key=self.key or "",
            model=self.request.model,
            host=self.request.endpoint.host,
        )

    async def run(self) -> StreamFinished:
        """Send and read; every event but the last goes into the channel.

        Raises:
            LMChatError: as it ended, when it did not end well.
        """
        for note in self.notes:
            self.channel.post(RequestAdapted(note=note))
        return await Retry(self.limits, self._announce).run(self._try)

    def _announce(self, event: RetryScheduled) -> None:
        self.on_retry()
        _log.info("chat request: another try")
        self.channel.post(event)

    async def _try(self) -> StreamFinished:
        try:
            return await self._adapt()
        except (ServerUnavailable, ServerRejected) as error:
            plan = None if self._has_token else plan_for(error, self.request.endpoint, self.server.product)
            if plan is None:
                raise
            raise TryAgainError(error, plan) from error

    async def _adapt(self) -> StreamFinished:
        """Send until it is no longer a matter of a field, of a model that loads, or of a stale connection."""
        loading = Loading(self._health if self.server.health_path else None, self.timeouts, self.channel.post)
        is_second = False
        while True:
            try:
                return await self._send(loading)
            except ServerUnavailable as error:
                if error.kind != "dropped" or not self._freshness.is_reused or is_second:
                    raise self.server.with_hint(error) from error
                is_second = True
            except ServerRejected as error:
                if self._has_token or not await self._has_changed(error, loading):
                    raise

    async def _has_changed(self, error: ServerRejected, loading: Loading) -> bool:
        """Whether after this refusal the same question may be put anew: a field fewer, or a model loaded."""
        if error.kind == "loading":
            try:
                await loading.wait()
            except ServerUnavailable as gone:
                raise self.server.with_hint(gone) from gone
            return True
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
        endpoint = self.request.endpoint
        return await self.connections.ask(
            endpoint,
            "GET",
            f"{endpoint.root_url}{self.server.health_path}",
            key=self.key,
            patience=httpx.Timeout(min(self.timeouts.health_s, HEALTH_S)),
        )

    async def _is_there(self) -> bool:
        """Whether the server answers anything at all meanwhile; where it cannot be told, yes."""
        if self._freshness.is_connecting:
            return False
        endpoint = self.request.endpoint
        if not self.server.health_path:
            return endpoint.is_loopback or not can_knock(endpoint) or await knock(endpoint)
        try:
            await self._health()
        except LMChatError as error:
            # also who refuses the connection or closes it is there
            return error.kind not in ("offline", "timeout") or caused_by(error, REFUSED)
        return True

    async def _send(self, loading: Loading) -> StreamFinished:
        endpoint = self.request.endpoint
        client = await self.connections.client(endpoint)
        self.channel.post(RequestSent())
        if self.is_model_unloaded or loading.is_told_by_request:
            self.channel.post(ModelLoading())
        patience = Patience(self.timeouts, self.channel.post, since_s=loading.since_s)
        async with patience, watched(patience, self._is_there, self.channel.post):
            with reaching(endpoint):
                response = await client.send(self._http_request(client), stream=True)
            try:
                return await self._answer(response, patience)
            finally:
                await response.aclose()

    def _http_request(self, client: httpx.AsyncClient) -> httpx.Request:
        endpoint = self.request.endpoint
        self._freshness = Freshness()
        body = encode_request(self.request, self.fields, self.dialect)
        headers = {
            **request_headers(self.key, has_body=True),
            "Accept": "text/event-stream, application/json",
            "Accept-Encoding": "identity",
        }
        timeout = httpx.Timeout(
            connect=connect_timeout_s(endpoint, self.timeouts.connect_s),
            read=None,
            write=WRITE_S,
            pool=POOL_S,
        )
        return client.build_request(
            "POST",
            f"{endpoint.base_url}/chat/completions",
            content=body,
            headers=headers,
            timeout=timeout,
            extensions={"trace": self._freshness.trace},
        )

    async def _answer(self, response: httpx.Response, patience: Patience) -> StreamFinished:
        if 300 <= response.status_code < 400:  # noqa: PLR2004 - HTTP
            location = response.headers.get("location", "")
            raise redirected(self.request.endpoint, without_key(location, self.key or ""))
        if not response.is_success:
            raise await self._refusal(response)
        splitter = self._splitter()
        answer = Answer(
            response, self.asked, self.channel, patience, splitter=splitter, gather_s=self.gather_s
        )
        try:
            return await answer.read()
        finally:
            self._has_token = answer.has_token
            if splitter is not None and not self._goes_on:
                self.dialect = replace(self.dialect, starts_in_thought=splitter.starts_in_thought)

    def _splitter(self) -> ThinkSplitter | None:
        if not self.splits_thought:
            return None
        return ThinkSplitter(starts_in_thought=self.dialect.starts_in_thought and not self._goes_on)

    @property
    def _goes_on(self) -> bool:
        """Whether the server goes on with an answer: then its template opens no thought."""
        return bool(self.request.messages) and self.request.messages[-1].role is Role.ASSISTANT

    async def _refusal(self, response: httpx.Response) -> ServerRejected:
        with reaching(self.request.endpoint):
            body = await read_begun(response, MAX_WHOLE_BYTES, REFUSAL_S)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return refusal(response.status_code, headers, body, self.asked)


def redirected(endpoint: Endpoint, location: str) -> EndpointNotAllowed | ServerRejected:
    """Return the error for a redirect: none is followed, because a key would go with it (R-9)."""
    url = httpx.URL(endpoint.base_url)
    try:
        target = url.join(location)
    except (httpx.InvalidURL, ValueError):
        target = url
    where = safe_line(str(target.copy_with(userinfo=b"", query=None)), limit=200)
    if (target.scheme, target.host, target.port) != (url.scheme, url.host, url.port):
        return EndpointNotAllowed(
            f"Endpoint not allowed: {endpoint.netloc} redirects to another host ({where})",
            hint="If you trust that host, use its address and allow it with --allow-host.",
        )
    return ServerRejected(
        f"The server redirects to {where}.", kind="wrong_path", hint="Use that address instead."
    )
