"""What a real server once sent, cut at place after place: by a broken connection, or by a quiet end."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx
import pytest

from lmchat.config.settings import LimitSettings, Settings
from lmchat.domain.event import ReasoningDelta, StreamFinished, TextDelta, ToolCallDelta
from lmchat.domain.server import Endpoint, Product
from lmchat.proxy.client import ProxyClient
from tests.support.proxy_calls import ask, events_of, reads

STREAMS = (
    "json-schema-stream",
    "queued",
    "reasoning-stream",
    "router-chat-loads",
    "stream",
    "stream-ping",
    "stream-progress",
    "stream-unicode",
    "tools-stream",
)
ENDED = b"data: [DONE]\n\n"
STEP, FINE_STEP = 97, 5
REQUEST = ask(Endpoint.parse("localhost:1234"), product=Product.LLAMA_CPP, model="smollm2-135m-instruct")


def body_of(name: str) -> bytes:
    """Return what stood in the chunks of a recorded reply."""
    rest, body = b"".join(reads(name)).partition(b"\r\n\r\n")[2], b""
    while size := int(re.match(rb"[0-9a-f]+", rest)[0], 16):
        start = rest.index(b"\r\n") + 2
        body, rest = body + rest[start : start + size], rest[start + size + 2 :]
    return body


@dataclass
class Cut(httpx.AsyncByteStream):
    """A body that ends too early."""

    data: bytes
    is_broken: bool

    async def __aiter__(self):
        yield self.data
        if self.is_broken:
            raise httpx.ReadError("connection reset")


@pytest.fixture
async def play():
    """Have the layer read a cut body; return what it made of it."""
    settings = Settings(limits=LimitSettings(requests_per_minute=1_000_000))
    body: list[Cut] = []

    def reply(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, stream=body.pop())

    client = ProxyClient(settings, key_for=lambda _: None, transport=httpx.MockTransport(reply))

    async def run(data: bytes, *, is_broken: bool):
        body.append(Cut(data, is_broken))
        return await events_of(client, REQUEST)

    yield run
    await client.aclose()


def said(events) -> tuple[str, str, str]:
    """Return text, thought and arguments of calls."""
    text = "".join(one.text for one in events if isinstance(one, TextDelta))
    thought = "".join(one.text for one in events if isinstance(one, ReasoningDelta))
    return text, thought, "".join(one.arguments for one in events if isinstance(one, ToolCallDelta))


async def cut_at_each(play, name: str, is_broken: bool, step: int) -> None:
    body = body_of(name)
    reference, error = await play(body, is_broken=False)
    assert (error, any(said(reference))) == (None, True)
    for place in range(0, len(body), step):
        events, error = await play(body[:place], is_broken=is_broken)
        for now, whole in zip(said(events), said(reference), strict=True):
            assert whole.startswith(now), f"cut at {place}"
        is_over = ENDED in body[:place] if is_broken else b'"finish_reason":"' in body[:place]
        if error is None:
            assert is_over, f"cut at {place}"
            assert said(events) == said(reference)
            assert isinstance(events[-1], StreamFinished)
        else:
            assert ENDED not in body[:place], f"cut at {place}"
            assert error.kind in ("interrupted", "empty_answer"), f"cut at {place}: {error.details}"
            assert error.kind == "interrupted" or not any(said(events))


@pytest.mark.rule("R-27", "R-38")
@pytest.mark.parametrize("is_broken", [True, False])
@pytest.mark.parametrize("name", STREAMS)
async def test_of_a_recorded_answer_that_is_cut_the_beginning_is_kept(play, name, is_broken):
    await cut_at_each(play, name, is_broken, STEP)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("is_broken", [True, False])
@pytest.mark.parametrize("name", STREAMS)
async def test_so_it_is_wherever_the_cut_is(play, name, is_broken):
    await cut_at_each(play, name, is_broken, FINE_STEP)
