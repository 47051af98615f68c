"""Short ways to call the client of servers in tests."""

from __future__ import annotations

import base64
import json
import ssl
from contextlib import aclosing
from pathlib import Path

import httpx
from msgspec.structs import replace

from lmchat.base.errors import LMChatError
from lmchat.core.answers.streamed_answer import StreamedAnswer
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import TextDelta
from lmchat.core.servers.http.connections import OneKey
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.request import ChatRequest, Sampling, Tool
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import ChatMessage, Role, text_message
from tests.support.scripted_server import Reply, ScriptedServer

READ_TOOL = Tool(server="files", name="read", wire_name="files__read", schema={"type": "object"})


class FixedKey(OneKey):
    """A source with one key for all servers, which may be set later."""

    def known_key(self, endpoint: Endpoint) -> str:
        return self.key


def endpoint_of(server: ScriptedServer) -> Endpoint:
    return Endpoint.parse(server.url)


def ask(
    server: ScriptedServer | Endpoint,
    text: str = "Hi",
    *,
    product="OpenAI-compatible",
    model="tiny",
    **more,
):
    endpoint = server if isinstance(server, Endpoint) else endpoint_of(server)
    messages = (text_message(Role.USER, text),)
    return ChatRequest(
        target=Target.of(ModelInfo(endpoint=endpoint, product=product, model_id=model)),
        messages=messages,
        sampling=Sampling(**more),
    )


def message_of(role: Role, *parts) -> ChatMessage:
    return replace(text_message(role, ""), parts=parts)


async def events_of(client: HttpServerClient, request: ChatRequest):
    events = []
    try:
        async with aclosing(client.stream(request)) as stream:
            async for event in stream:
                events.append(event)  # noqa: PERF401 - those before an error count, too
    except LMChatError as error:
        return events, error
    return events, None


async def answered(client: HttpServerClient, request: ChatRequest):
    """Return the events of an answer that ends well."""
    events, error = await events_of(client, request)
    assert error is None, error
    return events


async def failure_of(client: HttpServerClient, request: ChatRequest) -> LMChatError:
    _, error = await events_of(client, request)
    assert error is not None, "it should not have ended well"
    return error


def text_of(events) -> str:
    return "".join(one.text for one in events if isinstance(one, TextDelta))


def streamed(events) -> StreamedAnswer:
    """Return the answer of some events, which have all come at the moment 0."""
    target = Target(endpoint=Endpoint.parse("http://localhost:1/v1"), product="")
    answer = StreamedAnswer(target, clock=lambda: 0.0)
    for event in events:
        answer.add(event)
    return answer


NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""For http, where there is nothing to verify: those of the system take 30 ms to load."""


class PortMap(httpx.AsyncBaseTransport):
    """Sends what is meant for a (host, port) to a scripted server; refuses everything else."""

    def __init__(self, places: dict[tuple[str, int], ScriptedServer | Exception]) -> None:
        self.places = places
        self.nobody: Exception = httpx.ConnectError("All connection attempts failed")
        """What a place says where nobody stands."""
        self.asked: list[tuple[str, int, str]] = []
        self._inner = httpx.AsyncHTTPTransport(verify=NO_CERTIFICATES)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        host = request.url.host
        port = request.url.port or 80
        self.asked.append((host, port, request.url.path))
        target = self.places.get((host, port), self.nobody)
        if isinstance(target, Exception):
            raise target
        url = request.url.copy_with(host=target.host, port=target.port)
        return await self._inner.handle_async_request(
            httpx.Request(
                request.method,
                url,
                headers=request.headers,
                stream=request.stream,
                extensions=request.extensions,
            )
        )

    def paths(self, port: int, host: str = "localhost") -> list[str]:
        return [path for at, number, path in self.asked if (at, number) == (host, port)]

    async def aclose(self) -> None:
        await self._inner.aclose()


FOLDER = Path(__file__).parent / "captures"


def reads(name: str) -> list[bytes]:
    """Return the bytes of a recording as they were read from the socket."""
    _, *lines = map(json.loads, (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines())
    return [
        line["data"].encode() if "data" in line else base64.b64decode(line["b64"]) for line in lines
    ]


def body_of(name: str) -> bytes:
    """Return the body of a recorded reply, which is in chunks unless the connection ends it."""
    head, _, rest = b"".join(reads(name)).partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return rest
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        body += rest[: int(size, 16)]
        rest = rest[int(size, 16) + 2 :]
    return body


def streams() -> dict[str, bytes]:
    """Return the bodies of all recorded streams that are not empty."""
    paths = (path.relative_to(FOLDER).with_suffix("") for path in FOLDER.rglob("*.jsonl"))
    names = sorted(path.as_posix() for path in paths)
    bodies = {name: body_of(name) for name in names if b"text/event-stream" in reads(name)[0]}
    return {name: body for name, body in bodies.items() if body}


def replay(name: str, *, every: int | None = None) -> Reply:
    """Play a recording, in the pieces of then or in pieces of a size."""
    pieces = reads(name)
    if every is not None:
        whole = b"".join(pieces)
        pieces = [whole[start : start + every] for start in range(0, len(whole), every)]
    # a whole reply may say that the connection stays; the next request would meet its end
    stays = all(name in pieces[0] for name in (b"\r\nKeep-Alive:", b"\r\nContent-Length:"))
    return Reply(steps=tuple(pieces), is_last=every is not None or not stays)
