"""The HTTP API of one server, asked by one probe or one action.

What is known of a server for longer is in its `ServerMemory`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct, field

from lmchat.errors import ServerUnavailable
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.http.json_values import encode
from lmchat.servers.http.reply import Reply
from lmchat.servers.products.refusals import RequestFacts, refusal

OnProgress = Callable[[float], None]  # takes the fraction that is done, 0 to 1

_NOT_IMPLEMENTED = 501


class ServerMemory(Struct, kw_only=True):
    """What is known of the server at one address from earlier requests."""

    product: str | None = None  # that has answered, or is expected
    missing_paths: set[str] = field(default_factory=set)  # paths that it does not have
    model_facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Facts that do not change, by a digest or name of the model; used for Ollama."""
    keeps_answers: bool | None = None  # whether it can keep answers; None: not asked yet


class ServerApi(Struct, kw_only=True):
    """API of one server for one probe or action; remembers the replies to its GET requests."""

    endpoint: Endpoint
    facts: RequestFacts
    memory: ServerMemory
    ask: Callable[[str, str, bytes | None], Awaitable[Reply]]
    """Sends a method, a URL and a body with the key of `facts`; raises `ServerUnavailable`."""
    ask_for_events: Callable[[str, bytes | None], AsyncGenerator[dict[str, Any]]]
    """Yields the JSON objects of an event stream; see `events`."""
    is_identified: bool = False  # whether the product is known, and not only expected
    first_reply: Reply | None = None  # its time is shown as the latency of the server
    refused_reply: Reply | None = None  # the last reply that `require_good` refused
    replies: dict[str, Reply] = field(default_factory=dict)  # to GET, by URL

    async def get(self, path: str) -> Reply:
        """GET a path (see `url`) and return the reply; a second call returns the same reply.

        Raises `ServerUnavailable` if nothing answers.
        """
        url = self.url(path)
        if url not in self.replies:
            self.replies[url] = await self._send("GET", url, None)
        return self.replies[url]

    async def post(self, path: str, value: object) -> Reply:
        """POST a JSON value to a path and return the reply; raises the same errors as `get`."""
        return await self._send("POST", self.url(path), encode(value))

    def require_good(self, reply: Reply) -> Reply:
        """Return a reply that `is_good`; keep any other as refused, and raise `ServerRejected`."""
        if not reply.is_good:
            self.refused_reply = reply
            raise refusal(reply.status, reply.headers, reply.body, self.facts)
        return reply

    async def get_optional(self, path: str) -> Reply | None:
        """GET a path that not all versions of a product have, and return the reply.

        Returns None if this server does not have the path, which is remembered. A reply that
        refuses the request is returned like any other.
        """
        if path in self.memory.missing_paths:
            return None
        return self._unless_missing(path, await self.get(path))

    async def post_optional(self, path: str, value: object) -> Reply | None:
        """POST to a path that not all versions of a product have; see `get_optional`."""
        if path in self.memory.missing_paths:
            return None
        return self._unless_missing(path, await self.post(path, value))

    async def get_extra(self, path: str) -> Reply | None:
        """GET facts that are of use but not needed; return the reply if it `is_good`.

        Returns None after any failure but one: if the connection is refused, the server has ended
        during the probe, and `ServerUnavailable` is raised.
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

    def events(self, path: str, posted: object = None) -> AsyncGenerator[dict[str, Any]]:
        """Return the JSON objects of an event stream.

        It is the reply to a GET, or to a POST of a JSON value if one is given. The generator ends
        with the stream, after any failure, and if the reply is not an event stream. Use it with
        `aclosing`, which closes the connection.
        """
        body = None if posted is None else encode(posted)
        return self.ask_for_events(self.url(path), body)

    def url(self, path: str) -> str:
        """Return the URL of a path of the server.

        A path in `/v1/` belongs to the OpenAI-like API, whose address may end in something else:
        `/v1/models` becomes `…/v1beta/openai/models` at Gemini. Any other path is put behind the
        address without `/v1`.
        """
        if path.startswith("/v1/"):
            return self.endpoint.base_url + path.removeprefix("/v1")
        return self.endpoint.url + path

    def _unless_missing(self, path: str, reply: Reply) -> Reply | None:
        """Return a reply; None if it says that the server does not have the path (remembered)."""
        if reply.is_unknown_path or reply.status == _NOT_IMPLEMENTED:
            self.memory.missing_paths.add(path)
            return None
        return reply

    async def _send(self, method: str, url: str, body: bytes | None) -> Reply:
        """Send a request and return the reply; the first one is kept."""
        reply = await self.ask(method, url, body)
        self.first_reply = self.first_reply or reply
        return reply


@asynccontextmanager
async def background_task(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run a coroutine while the block runs, then cancel it and wait for its end.

    Errors of the coroutine are ignored.
    """
    task = asyncio.create_task(work, name="background")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def throttled(report: OnProgress) -> OnProgress:
    """Return a function that calls `report`, but only if the fraction in whole percent changed."""
    last_percent = -1

    def report_if_changed(fraction: float) -> None:
        nonlocal last_percent
        percent = int(fraction * 100)
        if percent != last_percent:
            last_percent = percent
            report(fraction)

    return report_if_changed
