"""The catalogue of what streams look like on the wire, through the whole layer and a real socket.

Line ends and fields of events are in `test_sse.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from lmchat.servers.events import LifeSign, RequestAdapted, StreamFinished, TextDelta
from tests.support.client_calls import ask, events_of, growing
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    Cut,
    Reply,
    delta,
    finish,
    html_reply,
    json_reply,
    sse,
    usage,
)

R, H, W, F = delta("", role="assistant"), delta("Hé"), delta("llo"), finish()
TEXT = "Héllo"
BAD = b"data: {oops\n\n"


def data_line(value: object, end: bytes = b"\n\n") -> bytes:
    return b"data: " + json.dumps(value, ensure_ascii=False).encode() + end


GOOD = (R, H, W, F, usage(), DONE)
COMPLETION = {
    "model": "tiny",
    "choices": [{"index": 0, "message": {"content": TEXT}, "finish_reason": "stop"}],
}


@dataclass(frozen=True)
class Case:
    reply: Reply
    text: str = TEXT
    kind: str = ""  # kind of the error that ends it; empty: it ends well
    words: str = ""  # what the error says
    reason: str = "stop"
    thought: str = ""


CASES = {
    "a character split between chunks": Case(sse(*GOOD, every=1)),
    "no end mark": Case(sse(R, H, W, F)),
    "no end mark and no reason": Case(sse(R, H, W), kind="interrupted"),
    "end mark without a reason": Case(sse(R, H, W, DONE), reason=""),
    "nothing at all": Case(sse(), text="", kind="empty_answer"),
    "last event without a blank line": Case(sse(R, H, W, data_line(F, b"\n"))),
    "error in the stream": Case(
        sse(R, H, W, {"error": {"message": "boom", "code": 500}}), kind="server_error", words="boom"
    ),
    "error by the name of the event": Case(
        sse(R, H, W, b'event: error\ndata: {"message": "boom"}\n\n'),
        kind="server_error",
        words="boom",
    ),
    "flat error": Case(
        sse(R, H, W, {"object": "error", "message": "boom", "code": 400}, DONE),
        kind="bad_request",
        words="boom",
    ),
    "error as a reason alone": Case(sse(R, H, W, finish("error"), DONE), kind="server_error"),
    "error by name, not JSON": Case(
        sse(R, H, b"event: error\ndata: boom\n\n"), text="Hé", kind="server_error", words="boom"
    ),
    "error of a gateway": Case(
        sse(R, H, {"error_type": "x", "error_message": "boom"}), text="Hé", kind="server_error"
    ),
    "end mark and nothing else": Case(sse(R, DONE), text="", kind="empty_answer"),
    "events that are no JSON": Case(
        sse(R, BAD, H, BAD * 3, W, BAD, F, DONE),
    ),
    "null, numbers, strings, lists": Case(
        sse(R, b'data: null\n\ndata: 7\n\ndata: "x"\n\ndata: [1]\n\n', H, W, F, DONE)
    ),
    "another choice": Case(
        sse(
            R, H, {**delta("no"), "choices": [{"index": 1, "delta": {"content": "no"}}]}, W, F, DONE
        )
    ),
    "content as one part": Case(
        sse(
            delta(None, content={"type": "text", "text": "Hé"}),
            delta(None, content={"text": "llo"}),
            F,
            DONE,
        )
    ),
    "lone surrogate": Case(
        sse(R, b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n', F, DONE),
        text="a\ufffd",
    ),
    "bytes that are no UTF-8": Case(
        sse(R, data_line(H).replace("é".encode(), b"\xff"), W, F, DONE), text="H\ufffdllo"
    ),
    "data behind the end mark": Case(sse(R, H, W, F, DONE, delta("no"), {"error": "no"})),
    "end mark with more behind it in its line": Case(
        sse(R, H, W, b"data: [DONE] bye\n\n"), reason=""
    ),
    "cut inside a chunk": Case(sse(R, H, W, Cut(is_reset=True)), kind="interrupted"),
    "cut before any token": Case(sse(R, Cut()), text="", kind="interrupted"),
    "closed by its length": Case(sse(*GOOD, framing="close")),
    "JSON error instead of a stream": Case(
        json_reply({"error": {"message": "boom"}}), text="", kind="server_error", words="boom"
    ),
    "whole completion instead of a stream": Case(json_reply(COMPLETION)),
    "other JSON instead of a stream": Case(
        json_reply({"hello": "world"}), text="", kind="not_an_llm"
    ),
    "HTML instead of a stream": Case(
        html_reply(), text="", kind="not_an_llm", words="not a model server"
    ),
    "unknown reason": Case(sse(R, H, W, finish("load"), DONE), reason="load"),
    "both names at once": Case(
        sse(R, delta(reasoning="hm", reasoning_content="hm"), H, W, F, DONE), thought="hm"
    ),
    "an answer about the tag behind a thought": Case(
        sse(R, delta(reasoning_content="plan"), "<think> is a tag", " used by models.", F, DONE),
        text="<think> is a tag used by models.",
        thought="plan",
    ),
    "200 JSON of something else that is too long": Case(
        json_reply({"x": "x" * (3 << 20)}), text="", kind="not_an_llm"
    ),
    "one event of two megabytes": Case(
        sse(R, delta("x" * 2_000_000), F, DONE), text="x" * 2_000_000
    ),
    "deep nesting": Case(sse(R, H, b"data: " + b"[" * 100_000 + b"\n\n", W, F, DONE)),
}


async def test_skipped_events_are_counted_for_the_user(server, client):
    server.on(CHAT, CASES["events that are no JSON"].reply)
    events, _ = await events_of(client, ask(server))
    notes = [one.note for one in events if isinstance(one, RequestAdapted)]
    assert notes == ["Skipped 5 malformed events of the server."]


@pytest.mark.rule("R-1", "R-16", "R-17", "R-21", "R-22", "R-23", "R-26", "R-38")
async def test_every_case_of_the_catalogue(server, make_client):
    for name, case in CASES.items():
        server.requests.clear()
        server.on(CHAT, case.reply)
        events, error = await events_of(make_client(), ask(server))
        answer = growing(events)
        assert answer.text("text", "refusal") == case.text, name
        assert answer.text("reasoning") == case.thought, name
        if case.kind:
            assert error is not None, f"{name}: it should not have ended well"
            assert (error.kind, case.words.lower() in error.message.lower()) == (case.kind, True)
            assert not isinstance(events[-1], StreamFinished)
        else:
            assert error is None, (name, error, error and error.details)
            assert events[-1] == StreamFinished(reason=case.reason)
        assert len(server.seen(CHAT)) == 1, "nothing of this may be sent twice"


async def test_comments_and_empty_frames_are_signs_of_life(server, client):
    server.on(CHAT, sse(b": ping\n\n", R, b"data:\n\n", H, F, DONE))
    events, _ = await events_of(client, ask(server))
    first = next(place for place, one in enumerate(events) if isinstance(one, TextDelta))
    assert [one for one in events[:first] if isinstance(one, LifeSign)] == [LifeSign()] * 2
