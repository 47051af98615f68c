"""The HTTP API of one server, asked by one probe or one action.

An action is any other request than one for an answer, such as loading a model. A `ServerMemory`
keeps what all probes and actions know of a server.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import suppress

from msgspec import Struct, field

from lmchat.errors import ServerUnavailable
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import PullProgress
from lmchat.servers.http.json_values import JsonObject, encode
from lmchat.servers.http.reply import MAX_REPLY_BYTES, Reply
from lmchat.servers.products.refusals import RefusalContext, refusal

OnProgress = Callable[[float], None]  # takes the fraction that is done, 0 to 1
OnPull = Callable[[PullProgress], None]  # may raise an error, which stops the download


class ServerMemory(Struct, kw_only=True):
    """Facts that earlier requests have found out about the server at one address.

    `Scanner` has one for each address and notes the product; products note the rest.
    """

    product: str | None = None  # the product that has answered, or is expected
    model_facts: dict[str, JsonObject] = field(default_factory=dict)
    """Facts that are asked for once, by a digest or name of the model."""
    is_recognised: bool = False  # whether the product has answered since the server started
    has_clue: bool = False  # whether its last list had a clue at the product
    server_name: str = ""  # header `server` of its list, perhaps that of a proxy
    wants_list: bool = False  # whether even a list that disturbs the server has to be asked for
    refuted: set[str] = field(default_factory=set)  # products that it is not, by their proofs
    has_old_api: bool = False  # whether it is a version with an older list; used for LM Studio


class ServerApi(Struct, kw_only=True):
    """API of one server for one probe or action; remembers the replies to its GET requests.

    A probe sets `facts` and `is_identified` when it has found out which product answers.
    """

    endpoint: Endpoint
    facts: RefusalContext
    memory: ServerMemory
    ask: Callable[[str, str, bytes | None, int], Awaitable[Reply]]
    """Sends a method, a URL and a body with the key of `facts`, and reads some bytes of the reply.

    Raises `ServerUnavailable`.
    """
    ask_for_events: Callable[[str, bytes | None], AsyncGenerator[JsonObject]]
    """Yields the JSON objects of an event stream; see `events`."""
    is_identified: bool = False  # whether the product is known, and not only expected
    first_reply: Reply | None = None  # its time is the latency that is shown for the server
    refused_reply: Reply | None = None  # the last reply that `require_good` refused
    replies: dict[str, Reply] = field(default_factory=dict)  # replies to GET, by URL

    async def get(self, path: str, *, max_bytes: int = MAX_REPLY_BYTES) -> Reply:
        """GET a path (see `url`) and return the reply; a second call returns the same reply.

        A longer reply is cut behind about `max_bytes`. Raises `ServerUnavailable` if nothing
        answers.
        """
        url = self.url(path)
        if url in self.replies:
            return self.replies[url]
        reply = await self._send("GET", url, None, max_bytes)
        if len(reply.body) <= max_bytes:  # it is whole
            self.replies[url] = reply
        return reply

    async def ping(self) -> Reply:
        """Ask for nothing, to see whether the server answers; else raise `ServerUnavailable`."""
        return await self._send("HEAD", self.url("/"), None)

    async def post(self, path: str, value: object) -> Reply:
        """POST a JSON value to a path and return the reply; raises the same errors as `get`."""
        return await self._send("POST", self.url(path), encode(value))

    async def delete(self, path: str, value: object = None) -> Reply:
        """DELETE a path, with a JSON value if one is given; raises the same errors as `get`."""
        return await self._send("DELETE", self.url(path), None if value is None else encode(value))

    def require_good(self, reply: Reply) -> Reply:
        """Return a reply that `is_good`, else raise `ServerRejected`.

        A bad one is kept as `refused_reply`: it may show a probe that this is no model server.
        """
        if not reply.is_good:
            self.refused_reply = reply
            raise refusal(reply.status, reply.headers, reply.body, self.facts)
        return reply

    async def get_extra(self, path: str) -> Reply | None:
        """GET facts that are of use but not needed; return the reply, None after any failure."""
        with suppress(ServerUnavailable):  # `get` raises nothing else
            reply = await self.get(path)
            if reply.is_good:
                return reply
        return None

    def events(self, path: str, posted: object = None) -> AsyncGenerator[JsonObject]:
        """Return the JSON objects of an event stream.

        The stream is the reply to a GET, or to a POST of the JSON value `posted` if one is given;
        it may also have one object on each line. The generator ends with the stream, and after any
        failure. Use it with `aclosing`, which closes the connection.
        """
        body = None if posted is None else encode(posted)
        return self.ask_for_events(self.url(path), body)

    def url(self, path: str) -> str:
        """Return the URL of a path of the server.

        A path in `/v1/` belongs to the OpenAI-like API, whose address may end in something else:
        `/v1/models` becomes `…/v1beta/openai/models` at Gemini. Any other path is put behind the
        address without `/v1`; `/engines`, with which an address of Docker's ends, is not doubled.
        """
        if path.startswith("/v1/"):
            return self.endpoint.base_url + path.removeprefix("/v1")
        base = self.endpoint.url
        return (base.removesuffix("/engines") if path.startswith("/engines/") else base) + path

    async def _send(
        self, method: str, url: str, body: bytes | None, max_bytes: int = MAX_REPLY_BYTES
    ) -> Reply:
        """Send a request and return its reply; keep the first reply of all, for its latency."""
        reply = await self.ask(method, url, body, max_bytes)
        self.first_reply = self.first_reply or reply
        return reply
