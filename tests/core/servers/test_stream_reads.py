"""What arrives in one read of the network, and what is cut between two."""

from __future__ import annotations

import pytest

from lmchat.base.errors import StreamInterrupted
from lmchat.core.config.settings import TimeoutSettings
from lmchat.core.servers.events import UsageReported
from tests.core.servers.event_streams import data_line
from tests.support.client_calls import answered, ask, events_of, text_of
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    Cut,
    Hold,
    delta,
    finish,
    raw_reply,
    sse,
    usage,
)

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


async def test_behind_an_end_mark_in_two_chunks_nothing_is_waited_for(server, client):
    server.on(CHAT, sse("Hi", b"data: [DO", b"NE]\n\n", Hold()))
    events = await answered(client, ask(server))
    assert text_of(events) == "Hi"


async def test_what_came_in_the_same_read_as_an_error_is_kept(server, make_client):
    text = HEAD + chunked(data_line(delta("one ")), data_line(delta("two")))
    refusal = chunked(data_line({"error": {"message": "no memory"}}))
    for reply, words in (
        (
            raw_reply(text + b"five\r\n", Hold()),
            "Streaming failed: the reply breaks HTTP: illegal chunk header.",
        ),
        (
            raw_reply(text + b"5\r\nhi"),
            "Streaming failed: the connection broke before the answer was complete.",
        ),
        (raw_reply(text + refusal, Hold()), "The server says: no memory"),
    ):
        server.on(CHAT, reply)
        client = make_client(timeouts=TimeoutSettings(stalled_after_s=0.1))
        events, error = await events_of(client, ask(server))
        assert error is not None
        assert (text_of(events), error.message) == ("one two", words)


async def test_a_broken_stream_does_not_say_that_its_text_is_kept(server, make_client):
    for piece in ("Half", delta()):  # only the front end knows
        server.on(CHAT, sse(piece, Cut()))
        _, error = await events_of(make_client(), ask(server))
        assert isinstance(error, StreamInterrupted)
        assert error.next_step == "Check the server's log, or ask again."


@pytest.mark.rule("R-19")
async def test_the_last_counts_above_0_win(server, make_client):
    zeros = usage(0, 0)
    real = usage(23, 4)
    begun = {"input_tokens": 20, "cache_read_input_tokens": 3}
    for chunks, counts in (
        ((real, real, zeros), (23, 4)),
        ((usage(23, 3), real, usage(23, 0)), (23, 4)),
        ((real, {**zeros, "usage": {"prompt_tokens": None, "completion_tokens": None}}), (23, 4)),
        ((real, {**zeros, "usage": {"prompt_tokens": -1, "completion_tokens": -1}}), (23, 4)),
        ((zeros, zeros), None),
        ((zeros, real), (23, 4)),
        (({**finish(), "x_groq": {"usage": real["usage"]}},), (23, 4)),
        # earendil-works/pi#2017: Moonshot has it in the choice
        (({"choices": [{"index": 0, "delta": {}, "usage": real["usage"]}]},), (23, 4)),
        # `/messages` of Anthropic, and `Usage` of New API, which has the counts of both APIs
        (({"message": {"usage": begun}}, {"usage": {"output_tokens": 4}}), (23, 4)),
        (({"usage": {"input_tokens": 0, "output_tokens": 0} | real["usage"]},), (23, 4)),
        (({**zeros, "timings": {"cache_n": 0, "prompt_n": 0, "predicted_n": 4}},), (None, 4)),
    ):
        server.on(CHAT, sse("Hi", finish(), *chunks, DONE))
        events = await answered(make_client(), ask(server))
        reports = [one for one in events if isinstance(one, UsageReported)]
        last = (reports[-1].prompt_tokens, reports[-1].completion_tokens) if reports else None
        assert last == counts, chunks
