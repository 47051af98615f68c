"""Tokens that trickle are read in gulps; the first of them, and a flood, never wait."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from itertools import pairwise

import httpx
import pytest

from lmchat.domain.event import StreamFinished, TextDelta
from lmchat.errors import ServerRejected, StreamInterrupted
from lmchat.proxy.http import MOST_S, TRICKLE_BYTES, Connections, GatheringStream, gather
from tests.support.proxy_calls import ask, endpoint_of, events_of
from tests.support.scripted_server import DONE, Gate, Hold, delta, finish, raw_reply, sse

CHAT = "POST /v1/chat/completions"


class Inner:
    """A connection that has bytes at once, each time it is asked."""

    def __init__(self, *sizes: int) -> None:
        self.sizes = list(sizes)
        self.read_s: list[float] = []

    async def read(self, max_bytes, timeout=None):  # noqa: ASYNC109 - as httpcore calls it
        self.read_s.append(asyncio.get_running_loop().time())
        return b"x" * self.sizes.pop(0)


async def pauses(*sizes: int, gather_s: float) -> list[float]:
    inner = Inner(*sizes)
    stream = GatheringStream(inner)
    stream.gather_s = gather_s
    for _ in sizes:
        await stream.read(65536)
    return [after - before for before, after in pairwise(inner.read_s)]


async def test_a_trickle_is_left_to_come_together():
    assert all(pause >= 0.019 for pause in await pauses(80, 90, 80, gather_s=0.02))


async def test_a_server_that_is_faster_than_we_are_is_read_on_and_on():
    assert all(pause < 5 for pause in await pauses(TRICKLE_BYTES, 65536, 80, gather_s=5))


async def test_the_connections_of_httpx_can_be_told_to_gather(server):
    server.on("GET /v1/models", raw_reply(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"))
    connections = Connections()
    client = await connections.client(endpoint_of(server))
    async with client.stream("GET", f"{server.url}/v1/models") as response:
        stream = response.extensions["network_stream"]
        assert isinstance(stream, GatheringStream)
        gather(response, 60.0)
        assert stream.gather_s == MOST_S
        gather(response, 0.0)
    await connections.aclose()


def test_a_response_without_a_connection_of_ours_is_left_alone():
    gather(httpx.Response(200), 1.0)


async def test_the_first_token_is_handed_on_before_the_second_is_sent(server, make_client):
    gate = Gate()
    server.on(CHAT, sse(delta(role="assistant"), "one", gate, "two", finish(), DONE))
    async with aclosing(make_client(gather_s=MOST_S).stream(ask(server))) as stream:
        async for event in stream:
            if event == TextDelta(text="one"):
                gate.open()
    assert event == StreamFinished(reason="stop")


@pytest.mark.parametrize("gather_s", [0.0, MOST_S])
async def test_what_comes_is_the_same_and_the_connection_can_be_used_again(server, make_client, gather_s):
    words = [f"word{n} " for n in range(200)]
    server.on(CHAT, sse(*words, finish(), DONE))
    client = make_client(gather_s=gather_s)
    for _ in range(2):
        events, error = await events_of(client, ask(server))
        assert error is None
        assert "".join(one.text for one in events if isinstance(one, TextDelta)) == "".join(words)
    assert len({seen.connection for seen in server.seen(CHAT)}) == 1


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def data(event: dict) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def texts(events) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_what_one_read_brings_is_one_event_however_many_chunks_it_came_in(server, client):
    words = [f"word{n} " for n in range(200)]
    parts = chunked(*(data(delta(word)) for word in words), data(finish()), b"data: [DONE]\n\n", b"")
    server.on(CHAT, raw_reply(HEAD + parts))
    events, error = await events_of(client, ask(server))
    assert error is None
    assert texts(events) == "".join(words)
    assert sum(event.pieces for event in events if isinstance(event, TextDelta)) == 200
    assert len([event for event in events if isinstance(event, TextDelta)]) < 50


async def test_behind_an_end_mark_in_two_chunks_nothing_is_waited_for(server, client):
    server.on(CHAT, raw_reply(HEAD + chunked(data(delta("Hi")), b"data: [DO", b"NE]\n\n"), Hold()))
    events, error = await events_of(client, ask(server))
    assert error is None
    assert texts(events) == "Hi"


@pytest.mark.parametrize(
    ("behind", "kind"),
    [
        (b"zz\r\n", StreamInterrupted),
        (chunked(data({"error": {"message": "no memory"}})), ServerRejected),
        (chunked(b"data: {\n\n", b"data: {\n\n", b"data: {\n\n"), StreamInterrupted),
    ],
    ids=["broken chunks of HTTP", "an error in the stream", "no JSON"],
)
async def test_what_came_in_the_same_read_as_an_error_is_kept(server, client, behind, kind):
    server.on(CHAT, raw_reply(HEAD + chunked(data(delta("one ")), data(delta("two"))) + behind, Hold()))
    events, error = await events_of(client, ask(server))
    assert isinstance(error, kind)
    assert texts(events) == "one two"
    server.on(CHAT, sse("Hello", finish(), DONE))
    events, error = await events_of(client, ask(server))
    assert (texts(events), error) == ("Hello", None)


async def test_a_reader_that_leaves_in_the_middle_of_a_read_leaves_nothing_behind(server, client):
    server.on(CHAT, raw_reply(HEAD + chunked(*(data(delta("x" * 50)) for _ in range(2_000))), Hold()))
    async with aclosing(client.stream(ask(server))) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    server.on(CHAT, sse("Hello", finish(), DONE))
    events, error = await events_of(client, ask(server))
    assert (texts(events), error) == ("Hello", None)
