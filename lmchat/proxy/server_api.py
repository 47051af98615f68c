"""The HTTP API of one server, asked with a limited number of requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.server import Endpoint
from lmchat.errors import ServerUnavailable
from lmchat.proxy.connections import Connections, Reply, RequestTrace, request_headers
from lmchat.proxy.json_values import NotJsonError, decode, dict_or_empty, encode
from lmchat.proxy.network_errors import TRANSPORT_ERRORS
from lmchat.proxy.refusals import RequestFacts, refusal
from lmchat.proxy.sse import MalformedStreamError, SseEvent, SseReader

OnProgress = Callable[[float], None]  # takes the fraction that is done, 0 to 1

_NOT_IMPLEMENTED = 501
_CONNECT_S = 5.0  # to an event stream


class NoRequestsLeftError(Exception):
    """The probe has used up its requests (R-2)."""


class ServerMemory(Struct, kw_only=True):
    """What is known of one server from earlier requests."""

    missing_paths: set[str] = field(default_factory=set)  # paths that it does not have
    model_facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Facts that do not change, by a digest or name of the model; used for Ollama."""
    tells_sleep: bool = False  # whether it says if its model is asleep


class ServerApi(Struct, kw_only=True):
    """API of one server for one probe or action; remembers its replies to GET."""

    endpoint: Endpoint
    connections: Connections
    timeout: httpx.Timeout
    facts: RequestFacts
    memory: ServerMemory
    requests_left: int
    is_quick: bool = False  # whether to ask only for what changes, as in a health check
    is_identified: bool = False  # whether the product is known, and not only expected
    first_reply: Reply | None = None  # its time is the latency
    refused_reply: Reply | None = None  # the last reply that `require_good` refused
    key_withheld: str = ""  # why the key was not sent
    replies: dict[str, Reply] = field(default_factory=dict)  # to GET, by URL

    async def get(self, path: str) -> Reply:
        """GET a path (see `url`); a second call for it returns the same reply.

        Raises:
            ServerUnavailable: nothing answers.
            NoRequestsLeftError: the probe has used up its requests.
        """
        url = self.url(path)
        if url not in self.replies:
            self.replies[url] = await self._send("GET", url, None)
        return self.replies[url]

    async def post(self, path: str, value: object) -> Reply:
        """POST a JSON value to a path; raises the same errors as `get`."""
        return await self._send("POST", self.url(path), encode(value))

    def require_good(self, reply: Reply) -> Reply:
        """Return the reply, or raise `ServerRejected` if its status or body is an error."""
        if not reply.is_good:
            self.refused_reply = reply
            raise refusal(reply.status, reply.headers, reply.body, self.facts)
        return reply

    async def get_optional(self, path: str) -> Reply | None:
        """GET a path that not all versions have.

        Returns None if this server does not have it (which is remembered), or if no request is
        left. A refusal is returned as it is.
        """
        if path in self.memory.missing_paths:
            return None
        is_cached = self.url(path) in self.replies
        if not is_cached and self.requests_left < 1:
            return None
        reply = await self.get(path)
        return None if self._note_if_missing(path, reply) else reply

    async def post_optional(self, path: str, value: object) -> Reply | None:
        """POST to a path that not all versions have; None if this server does not have it."""
        if path in self.memory.missing_paths:
            return None
        reply = await self.post(path, value)
        return None if self._note_if_missing(path, reply) else reply

    async def get_extra(self, path: str) -> Reply | None:
        """GET facts that are of use but not needed; None for any failure.

        Raises `ServerUnavailable` only if the connection is refused.
        """
        try:
            reply = await self.get_optional(path)
        except ServerUnavailable as error:
            if error.kind == "offline":
                raise
            return None
        if reply is None or not reply.is_good:
            return None
        return reply

    async def events(self, path: str) -> AsyncGenerator[dict[str, Any]]:
        """Yield the JSON objects of an event stream; it ends after any failure.

        Close it with `aclosing`.
        """
        client = await self.connections.client(self.endpoint)
        headers = request_headers(self.facts.key) | {"Accept": "text/event-stream"}
        timeout = httpx.Timeout(_CONNECT_S, read=None)
        request = client.build_request("GET", self.url(path), headers=headers, timeout=timeout)
        reader = SseReader()
        with suppress(MalformedStreamError, ServerUnavailable, *TRANSPORT_ERRORS):
            response = await self.connections.send(self.endpoint, request, RequestTrace())
            async with aclosing(response):
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    return
                async for chunk in response.aiter_bytes():
                    for value in _json_objects(reader.feed(chunk)):
                        yield value

    def url(self, path: str) -> str:
        """Return the URL of a path: `/v1/…` is below the base of the API, others below the root."""
        if path.startswith("/v1/"):
            return self.endpoint.base_url + path.removeprefix("/v1")
        return self.endpoint.root_url + path

    def _note_if_missing(self, path: str, reply: Reply) -> bool:
        """Remember a path that the server does not have; return whether the reply says so."""
        is_missing = reply.is_unknown_path or reply.status == _NOT_IMPLEMENTED
        if is_missing:
            self.memory.missing_paths.add(path)
        return is_missing

    async def _send(self, method: str, url: str, body: bytes | None) -> Reply:
        """Send one of the requests that are left, or raise `NoRequestsLeftError`."""
        if self.requests_left < 1:
            raise NoRequestsLeftError
        self.requests_left -= 1
        reply = await self.connections.ask(
            self.endpoint, method, url, key=self.facts.key, timeout=self.timeout, body=body
        )
        if reply.key_withheld:  # further requests are sent without the key, too
            self.key_withheld = reply.key_withheld
            self.facts = replace(self.facts, key="")
        self.first_reply = self.first_reply or reply
        return reply


def _json_objects(events: Sequence[SseEvent]) -> list[dict[str, Any]]:
    """Return the JSON objects that events hold; data that is no JSON is left out."""
    values: list[dict[str, Any]] = []
    for event in events:
        for data in event.data:
            with suppress(NotJsonError):
                values.append(dict_or_empty(decode(data)))
    return values


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine while the block runs, then cancel it; its errors are dropped."""
    task = asyncio.create_task(work, name="background")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def throttled(report: OnProgress) -> OnProgress:
    """Return a function that calls `report` only if the whole percentage has changed."""
    last_percent = -1

    def report_if_changed(fraction: float) -> None:
        nonlocal last_percent
        percent = int(fraction * 100)
        if percent != last_percent:
            last_percent = percent
            report(fraction)

    return report_if_changed
