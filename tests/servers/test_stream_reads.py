"""What arrives in one read of the network, and what is cut between two."""

from __future__ import annotations

import json

from lmchat.errors import ServerRejected, StreamInterrupted
from tests.support.client_calls import answered, ask, events_of, text_of
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import Cut, Hold, delta, raw_reply, sse

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def sse_event(event: dict) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


async def test_behind_an_end_mark_in_two_chunks_nothing_is_waited_for(server, client):
    server.on(CHAT, sse("Hi", b"data: [DO", b"NE]\n\n", Hold()))
    events = await answered(client, ask(server))
    assert text_of(events) == "Hi"


async def test_what_came_in_the_same_read_as_an_error_is_kept(server, make_client):
    text = chunked(sse_event(delta("one ")), sse_event(delta("two")))
    for behind, kind in (
        (b"zz\r\n", StreamInterrupted),
        (chunked(sse_event({"error": {"message": "no memory"}})), ServerRejected),
    ):
        server.on(CHAT, raw_reply(HEAD + text + behind, Hold()))
        events, error = await events_of(make_client(), ask(server))
        assert isinstance(error, kind)
        assert text_of(events) == "one two"


async def test_the_hint_of_a_broken_stream_speaks_of_a_text_only_if_one_has_arrived(
    server, make_client
):
    for piece, hint in (("Half", "The text so far is kept"), (delta(), "No text has arrived")):
        server.on(CHAT, sse(piece, Cut()))
        _, error = await events_of(make_client(), ask(server))
        assert isinstance(error, StreamInterrupted)
        assert error.hint.startswith(hint)
