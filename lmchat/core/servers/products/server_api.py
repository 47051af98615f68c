"""The HTTP API of one server, asked by one probe or one action, such as loading a model."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.errors import ServerUnavailable
from lmchat.base.json_values import JsonObject, encode
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import PullProgress
from lmchat.core.servers.http.reply import MAX_REPLY_BYTES, Reply
from lmchat.core.servers.model import OPENAI_COMPATIBLE
from lmchat.core.servers.wire.refusals import RefusalContext, refusal
from lmchat.core.servers.wire.request_format import RequestFormat

OnProgress = Callable[[float], None]  # takes the fraction that is done, 0 to 1
OnPull = Callable[[PullProgress], None]  # may raise an error, which stops the download


class ModelMemory(Struct, kw_only=True):
    """What requests to a model have shown; sizes are estimates of whole requests, without factor.

    `PreparedRequest` notes the format, turns the rest.
    """

    request_format: RequestFormat | None = None  # that it took last
    noted: set[str] = field(default_factory=set)  # options that the user knows are not sent
    window: int | None = None  # as a refusal has named it
    taken: float = 0.0  # size of the largest request that it has answered
    room: float = math.inf  # the middle of one that was refused and a lesser one
    has_refused_images: bool = False  # of messages before the newest prompt


class ServerMemory(Struct, kw_only=True):
    """What is known of one start of the server at an address; nothing of it is saved.

    `Access` has one for each address. `Scanner` notes product and windows, products their facts.
    """

    product: str | None = None  # the product that has answered, or is expected
    model_facts: dict[str, JsonObject] = field(default_factory=dict)
    """Facts by a digest or the name of the model."""
    facts: dict[tuple[object, ...], Reply | None] = field(default_factory=dict)
    """Facts of all models, by their path, the names, and whether a key was sent."""
    is_recognised: bool = False  # since the server started
    has_clue: bool = False
    server_name: str = ""  # of its list, perhaps of a proxy
    wants_list: bool = False  # even if that disturbs it
    refuted: set[str] = field(default_factory=set)  # by their proofs
    has_old_api: bool = False  # used for LM Studio
    windows: dict[str, int] = field(default_factory=dict)  # that lists have told, by model
    models: defaultdict[str, ModelMemory] = field(default_factory=lambda: defaultdict(ModelMemory))


class ServerApi(Struct, kw_only=True):
    """API that remembers the replies to its GET requests.

    A probe sets `refusal_context` when it has found out which product answers.
    """

    endpoint: Endpoint
    refusal_context: RefusalContext
    memory: ServerMemory
    ask: Callable[[str, str, bytes | None, int], Awaitable[Reply]]
    """Takes method, URL, body and most bytes of the reply. Raises `ServerUnavailable`."""
    ask_for_events: Callable[[str, bytes | None], AsyncGenerator[JsonObject]]
    first_reply: Reply | None = None  # its time is the latency that is shown
    refused_reply: Reply | None = None
    replies: dict[str, Reply] = field(default_factory=dict)  # to GET, by URL

    @property
    def is_identified(self) -> bool:
        return self.refusal_context.product != OPENAI_COMPATIBLE

    async def get(self, path: str, *, max_bytes: int = MAX_REPLY_BYTES) -> Reply:
        """Return the same reply to a second call; cut a longer one behind about `max_bytes`."""
        url = self.url(path)
        if url in self.replies:
            return self.replies[url]
        reply = await self._send("GET", url, None, max_bytes)
        if len(reply.body) <= max_bytes:  # it is whole
            self.replies[url] = reply
        return reply

    async def ping(self) -> Reply:
        """Ask for nothing, to see whether the server answers."""
        return await self._send("HEAD", self.url("/"), None)

    async def post(self, path: str, value: object) -> Reply:
        return await self._send("POST", self.url(path), encode(value))

    async def delete(self, path: str, value: object = None) -> Reply:
        return await self._send("DELETE", self.url(path), None if value is None else encode(value))

    def take_words(self, context: RefusalContext) -> None:
        """Use the words of another product."""
        old = self.refusal_context
        self.refusal_context = replace(
            context, key=old.key, header_values=old.header_values, host=old.host
        )

    def require_good(self, reply: Reply) -> Reply:
        """Raise `ServerRejected`; `refused_reply` may show a probe that it is no model server."""
        if not reply.is_good:
            self.refused_reply = reply
            raise refusal(reply.status, reply.headers, reply.body, self.refusal_context)
        return reply

    async def get_extra(self, path: str) -> Reply | None:
        """Return None after any failure."""
        with suppress(ServerUnavailable):  # `get` raises nothing else
            reply = await self.get(path)
            if reply.is_good:
                return reply
        return None

    def events(self, path: str, posted: object = None) -> AsyncGenerator[JsonObject]:
        """Return the objects of a GET, or a POST of `posted`, up to the end or any failure.

        Use it with `aclosing`, which closes the connection.
        """
        body = None if posted is None else encode(posted)
        return self.ask_for_events(self.url(path), body)

    def url(self, path: str) -> str:
        """Put a path in `/v1/` behind the address with its version, another one without `/v1`.

        So `/v1/models` becomes `…/v1beta/openai/models` at Gemini. `/engines`, with which an
        address of Docker's ends, is not doubled.
        """
        if path.startswith("/v1/"):
            return self.endpoint.base_url + path.removeprefix("/v1")
        base = self.endpoint.url
        return (base.removesuffix("/engines") if path.startswith("/engines/") else base) + path

    async def _send(
        self, method: str, url: str, body: bytes | None, max_bytes: int = MAX_REPLY_BYTES
    ) -> Reply:
        reply = await self.ask(method, url, body, max_bytes)
        self.refusal_context = replace(self.refusal_context, sent=body or b"")
        self.first_reply = self.first_reply or reply
        return reply
