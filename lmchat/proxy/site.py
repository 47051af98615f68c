"""One server while it is being looked at: a few questions, each asked once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.server import Endpoint
from lmchat.errors import ServerUnavailable
from lmchat.proxy.errors import TRANSPORT_ERRORS
from lmchat.proxy.http import Connections, Freshness, Reply, request_headers
from lmchat.proxy.json_values import NotJsonError, decode, encode, mapping
from lmchat.proxy.refusals import Asked, refusal
from lmchat.proxy.sse import MalformedStreamError, SseReader

SLEEP = "sleep"  # trait: it tells whether its model is asleep
_NOT_IMPLEMENTED = 501


class NoQuestionsLeftError(Exception):
    """The look has used up its questions (R-2)."""


class Site(Struct, kw_only=True):
    """Asks one server; remembers the replies of this look, and over looks which paths it lacks."""

    endpoint: Endpoint
    connections: Connections
    timeout: httpx.Timeout
    asked: Asked
    questions: int = 8
    is_quick: bool = False  # health check: ask only what changes
    is_identified: bool = False  # whether the product is known, and not only expected
    lacks: set[str] = field(
        default_factory=set
    )  # paths that this server does not have; shared between looks
    traits: set[str] = field(default_factory=set)  # what this server was seen to do, as `SLEEP`
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Facts of models that do not change; shared between looks."""
    first: Reply | None = None  # its time is the latency
    refused: Reply | None = None
    withheld: str = ""  # why the key was not sent
    replies: dict[str, Reply] = field(default_factory=dict)

    async def get(self, path: str) -> Reply:
        """Ask once for a path below the root, or below the API's base where it begins with `/v1/`.

        Raises:
            ServerUnavailable: nothing answers.
            NoQuestionsLeftError: the look has used up its questions.
        """
        url = self.url(path)
        if url not in self.replies:
            self.replies[url] = await self._send("GET", url, None)
        return self.replies[url]

    async def post(self, path: str, value: object) -> Reply:
        return await self._send("POST", self.url(path), encode(value))

    def accept(self, reply: Reply) -> Reply:
        """Return a good reply; raise `ServerRejected` for any other."""
        if not reply.is_good:
            self.refused = reply
            raise refusal(reply.status, reply.headers, reply.body, self.asked)
        return reply

    async def optional(self, path: str) -> Reply | None:
        """Ask for what the server may lack; None where it does, or where no question is left."""
        if path in self.lacks or (self.questions < 1 and self.url(path) not in self.replies):
            return None
        return self._unless_lacking(path, await self.get(path))

    async def post_if_known(self, path: str, value: object) -> Reply | None:
        return (
            None if path in self.lacks else self._unless_lacking(path, await self.post(path, value))
        )

    async def get_if_told(self, path: str) -> Reply | None:
        """Ask for something nice to know; raises only where nothing answers."""
        try:
            reply = await self.optional(path)
        except ServerUnavailable as error:
            if error.kind == "offline":
                raise
            return None
        return reply if reply is not None and reply.is_good else None

    async def events(self, path: str) -> AsyncGenerator[dict[str, Any]]:
        """Yield the JSON objects of an event stream. Close it with `aclosing`."""
        client = await self.connections.client(self.endpoint)
        headers = request_headers(self.asked.key) | {"Accept": "text/event-stream"}
        timeout, reader = httpx.Timeout(5.0, read=None), SseReader()
        request = client.build_request("GET", self.url(path), headers=headers, timeout=timeout)
        with suppress(MalformedStreamError, ServerUnavailable, *TRANSPORT_ERRORS):
            response = await self.connections.send(self.endpoint, request, Freshness())
            async with aclosing(response):
                if not response.headers.get("content-type", "").startswith("text/event-stream"):
                    return
                async for piece in response.aiter_bytes():
                    for data in (data for event in reader.feed(piece) for data in event.data):
                        with suppress(NotJsonError):
                            yield mapping(decode(data))

    def url(self, path: str) -> str:
        if path.startswith("/v1/"):
            return self.endpoint.base_url + path.removeprefix("/v1")
        return self.endpoint.root_url + path

    def _unless_lacking(self, path: str, reply: Reply) -> Reply | None:
        if reply.is_unknown_path or reply.status == _NOT_IMPLEMENTED:
            self.lacks.add(path)
            return None
        return reply

    async def _send(self, method: str, url: str, body: bytes | None) -> Reply:
        if self.questions < 1:
            raise NoQuestionsLeftError
        self.questions -= 1
        reply = await self.connections.ask(
            self.endpoint, method, url, key=self.asked.key, patience=self.timeout, body=body
        )
        if reply.withheld:
            self.withheld = reply.withheld
            self.asked = replace(self.asked, key="")
        self.first = self.first or reply
        return reply


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run something while the block runs; its failure is not the block's."""
    task = asyncio.create_task(work, name="beside")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def throttled(tell: Callable[[float], None]) -> Callable[[float], None]:
    """Return a way to tell a share only when its percent has changed."""
    last = -1

    def tell_seldom(fraction: float) -> None:
        nonlocal last
        if int(fraction * 100) != last:
            last = int(fraction * 100)
            tell(fraction)

    return tell_seldom
