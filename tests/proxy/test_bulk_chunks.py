"""Chunks that are read by their frame, many or one at a time, mean what they mean decoded."""

from __future__ import annotations

import json
from contextlib import aclosing

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lmchat.domain.event import LifeSign, PromptProgress, ReasoningDelta, TextDelta, UsageReported
from lmchat.errors import ServerRejected, StreamInterrupted
from lmchat.proxy.chunks import ChunkReader
from lmchat.proxy.frames import Frame
from lmchat.proxy.sse import MalformedStreamError, SseReader
from lmchat.proxy.think import ThinkSplitter
from tests.support.proxy_calls import ask, events_of, text_of
from tests.support.scripted_server import DONE, Hold, delta, finish, raw_reply, sse, usage

VALUES = (
    *(None, "", 0, 1, False, True, "x", {}, [], {"a": 1}, [1], ["x"], -1, 1.5, "error", "stop"),
    {"content": [{"token": "t", "logprob": -1}]},
    *({"text": "t"}, [{"text": "t"}], {"name": "f"}, [{"function": {"name": "f"}}]),
)
WORDS = "abcdefghijklmnopqrst"
OTHERS = ("usage", "error", "error_message", "prompt_progress", "stats", "model", "x")


def sse_event(event: dict) -> bytes:
    return b"data: " + json.dumps(event).encode() + b"\n\n"


def changed(chunk: dict, place: str, name: str, value: object) -> dict:
    """Return a plain chunk with one field that may be odd."""
    choice = chunk["choices"][0]
    {"chunk": chunk, "choice": choice, "delta": choice["delta"]}[place][name] = value
    return chunk


FIELDS = [
    *(("chunk", name) for name in (*OTHERS, "choices")),
    *(("choice", name) for name in ("index", "finish_reason", "message", "delta", "logprobs")),
    *(
        ("delta", name)
        for name in ("content", "reasoning", "reasoning_content", "reasoning_details")
    ),
    *(("delta", name) for name in ("tool_calls", "function_call", "refusal", "role")),
]
PIECE = st.sampled_from(
    [
        *(
            b": x\n\n",
            b"event: error\n",
            b"event: x\ndata: {}\n\n",
            b"data: [DONE]\n\n",
            b"data: {\n\n",
        ),
        *(
            b"data: {} {}\n\n",
            b'data:{"error": "no"}\r\n\r\n',
            b"\n",
            b"\r",
            b"data: ",
            b"{}\n",
            b"\xff",
        ),
    ]
)
CHANGE = st.lists(
    st.sampled_from(
        [
            *(b"a", b",", b'","', b"\\", b'"', b'\\"', b"\\n", b"\t", b"\xc3", b"\xa9"),
            *(b"\\ud83d", b"\\ude00", b"<", b"<think>", b"</think>"),
        ]
    ),
    max_size=3,
).map(b"".join)
HOW = st.fixed_dictionaries({"splits_thought": st.booleans(), "starts_in_thought": st.booleans()})
FRAME = st.sampled_from(
    [
        b'{"id": "a", "choices": [{"index": 0, "delta": {"content": "%b"}, "finish_reason": null}]}',
        b'{"choices":[{"delta":{"reasoning_content":"%b"}}],"model":""}',
        b'{"choices":[{"delta":{"content":"%b"}}],"timings":{"predicted_n":1}}',
        b'{"z":"%b","choices":[{"delta":{"content":"a"}}]}',
        b'{"choices":[{"delta":{"content":"a","x":"%b"}}],"timings":{"predicted_n":1}}',
        b'{"choices":[{"delta":{"content":"a","role":"%b","content":"%b"}}]}',
    ]
)


def refused(value: object) -> ServerRejected:
    return ServerRejected("refused", kind="refused", details=repr(value))


def read(
    parts: list[bytes],
    *,
    is_bulk: bool,
    splits_thought: bool = True,
    starts_in_thought: bool = False,
):
    """Return the events without figures, neighbours of one kind joined, and how it ended."""
    splitter = ThinkSplitter(starts_in_thought=starts_in_thought) if splits_thought else None
    sse, out = SseReader(), []
    reader = ChunkReader(refused, out.append, splitter=splitter)
    error = None
    try:
        for part in parts:
            for event in sse.feed(part):
                if is_bulk and event.data and not event.name:
                    reader.read_run(event.data)
                else:
                    for payload in event.data:
                        reader.read(payload, event.name)
    except (ServerRejected, MalformedStreamError) as problem:
        error = (type(problem), str(problem), getattr(problem, "details", ""))
    reader.close()
    ending = (reader.has_done, reader.has_token, reader.finish_reason)
    return with_joined_texts(out), error, ending


def with_joined_texts(events):
    found = []
    for event in events:
        last = found[-1] if found else None
        if isinstance(event, TextDelta | ReasoningDelta) and type(last) is type(event):
            found[-1] = type(event)(text=last.text + event.text)
        elif isinstance(event, TextDelta | ReasoningDelta):
            found.append(type(event)(text=event.text))
        elif not isinstance(event, LifeSign | PromptProgress | UsageReported):
            found.append(event)
    return found


def cut_at(whole: bytes, places: set[int]) -> list[bytes]:
    cuts = sorted(place % (len(whole) + 1) for place in places)
    return [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


@pytest.mark.rule("R-16")
@settings(deadline=None, max_examples=100)
@given(
    FRAME, st.lists(CHANGE, min_size=20, max_size=30), st.lists(PIECE, max_size=2), HOW, st.data()
)
def test_chunks_that_differ_in_one_place_are_told_from_those_that_only_look_so(
    frame, changes, pieces, how, data
):
    same = [b"data: " + frame.replace(b"%b", change) + b"\n\n" for change in [b"a", *changes]]
    place = data.draw(st.integers(0, len(same)))
    whole = b"".join([*same[:place], *pieces, *same])
    parts = cut_at(whole, data.draw(st.sets(st.integers(0, 4000), max_size=2)))
    decoded = read(parts, is_bulk=False, **how)
    assert read(parts, is_bulk=True, **how) == decoded
    assert read(whole.splitlines(keepends=True), is_bulk=True, **how) == decoded


@pytest.mark.rule("R-16")
@pytest.mark.parametrize(("place", "name"), FIELDS)
def test_chunks_with_one_odd_field_are_read_as_the_tolerant_reader_reads_them(place, name):
    for value in VALUES:
        single = [sse_event(changed(delta(word), place, name, value)) for word in WORDS]
        whole = b"".join(single)
        decoded = read([whole], is_bulk=False)
        assert read([whole], is_bulk=True) == decoded, value
        assert read(single, is_bulk=True) == decoded, value


def test_another_field_that_begins_as_the_text_does_is_not_the_text():
    whole = b"".join(sse_event({"x": word} | delta("a")) for word in WORDS)
    assert read([whole], is_bulk=True) == read([whole], is_bulk=False)


@given(st.lists(CHANGE | st.sampled_from([b"a\\", b",", b"\n", b'a\\\\"']), min_size=1, max_size=6))
@example([b"a\\", b',"b'])
def test_what_stands_in_a_frame_is_read_as_each_text_alone_or_not_at_all(changes):
    texts = Frame(b'"', b'"', is_thought=False).texts([b'"' + change + b'"' for change in changes])
    if texts is not None:
        assert texts == [json.loads(b'"' + change + b'"') for change in changes]


def test_what_comes_together_is_handed_on_as_one_event_that_counts_its_pieces():
    whole = b"".join(sse_event(delta(f"{n} ")) for n in range(100))
    out = []
    reader = ChunkReader(refused, out.append)
    for event in SseReader().feed(whole):
        reader.read_run(event.data)
    texts = [event for event in out if isinstance(event, TextDelta)]
    assert len(texts) < 4
    assert sum(event.pieces for event in texts) == 100
    assert "".join(event.text for event in texts) == "".join(f"{n} " for n in range(100))


@pytest.mark.parametrize(("more", "tokens"), [((), 4), ((finish(), usage(9, 8)), 8)])
def test_the_newest_timings_of_many_are_those_that_count(more, tokens):
    some = [delta("x") | {"timings": {"predicted_n": number}} for number in range(5)]
    out = []
    reader = ChunkReader(refused, out.append)
    reader.read_run([json.dumps(one).encode() for one in [*some, *more]])
    reader.close()
    assert out[-1].completion_tokens == tokens


CHAT = "POST /v1/chat/completions"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunked(*parts: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


async def test_behind_an_end_mark_in_two_chunks_nothing_is_waited_for(server, client):
    server.on(
        CHAT, raw_reply(HEAD + chunked(sse_event(delta("Hi")), b"data: [DO", b"NE]\n\n"), Hold())
    )
    events, error = await events_of(client, ask(server))
    assert error is None
    assert text_of(events) == "Hi"


@pytest.mark.parametrize(
    ("behind", "kind"),
    [
        (b"zz\r\n", StreamInterrupted),
        (chunked(sse_event({"error": {"message": "no memory"}})), ServerRejected),
        (chunked(b"data: {\n\n", b"data: {\n\n", b"data: {\n\n"), StreamInterrupted),
    ],
    ids=["broken chunks of HTTP", "an error in the stream", "no JSON"],
)
async def test_what_came_in_the_same_read_as_an_error_is_kept(server, client, behind, kind):
    server.on(
        CHAT,
        raw_reply(
            HEAD + chunked(sse_event(delta("one ")), sse_event(delta("two"))) + behind, Hold()
        ),
    )
    events, error = await events_of(client, ask(server))
    assert isinstance(error, kind)
    assert text_of(events) == "one two"
    server.on(CHAT, sse("Hello", finish(), DONE))
    events, error = await events_of(client, ask(server))
    assert (text_of(events), error) == ("Hello", None)


async def test_a_reader_that_leaves_in_the_middle_of_a_read_leaves_nothing_behind(server, client):
    server.on(
        CHAT, raw_reply(HEAD + chunked(*(sse_event(delta("x" * 50)) for _ in range(2_000))), Hold())
    )
    async with aclosing(client.stream(ask(server))) as stream:
        async for event in stream:
            if isinstance(event, TextDelta):
                break
    server.on(CHAT, sse("Hello", finish(), DONE))
    events, error = await events_of(client, ask(server))
    assert (text_of(events), error) == ("Hello", None)
