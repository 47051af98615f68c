"""What real servers sent, played again."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable
from itertools import accumulate, cycle, pairwise, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.core.servers.events import ModelNamed, StreamFinished
from tests.core.servers.test_answer_end import HERE, client_of
from tests.support.client_calls import (
    ask,
    events_of,
    replay,
    streamed,
    streams,
    text_of,
)
from tests.support.scripted_products import CHAT

MODEL = "smollm2-135m-instruct"


async def play(server, client, name, *, every=None):
    server.on(CHAT, replay(name, every=every))
    return await events_of(client, ask(server, product="llama.cpp", model=MODEL))


async def test_a_recorded_answer_is_read_to_its_end(server, client):
    for name, reason in (
        ("stream", "length"),
        ("stream-usage-timings", "length"),
        ("stream-unicode", "length"),
        ("chat", "length"),
        ("context-filled", "length"),
        ("router-chat-loads", "stop"),
        ("json-schema-stream", "stop"),
    ):
        for every in (None, 7):
            events, error = await play(server, client, name, every=every)
            assert error is None
            assert text_of(events)
            assert MODEL in [event.model for event in events if isinstance(event, ModelNamed)]
            assert events[-1] == StreamFinished(reason=reason)


async def read_in(pieces: Iterable[bytes], content_type: str) -> tuple[object, ...]:
    """Return what an answer is made of: texts, thoughts, calls, counts, and how it ends."""

    client = client_of(pieces, content_type)
    events, error = await events_of(client, ask(HERE))
    await client.aclose()
    end = events[-1] if error is None else (type(error), error.kind, error.message)
    answer_so_far = streamed(events)
    stats = answer_so_far.stats
    return answer_so_far.content.entries, answer_so_far.tokens, stats.usage, stats.build, end


BODIES = streams()
FORMS = {
    "as it came": lambda body: body,
    "with a mark": lambda body: BOM_UTF8 + body,
    "CRLF": lambda body: BOM_UTF8 + body.replace(b"\n", b"\r\n"),
    "CR": lambda body: body.replace(b"\n", b"\r"),
}
WHOLE: dict[str, tuple[object, ...]] = {}  # how each recording reads in one piece


@pytest.mark.slow  # each recording, cut at each size
@pytest.mark.rule("R-39")
@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(BODIES)),
    st.sampled_from(sorted(FORMS)),
    st.lists(st.integers(1, 300), min_size=1, max_size=8) | st.just([1]),
    st.sampled_from(["text/event-stream", "text/plain"]),
)
async def test_a_recorded_stream_reads_the_same_however_it_is_cut(name, form, sizes, content_type):
    whole = WHOLE.get(name) or await read_in([BODIES[name]], "text/event-stream")
    WHOLE[name] = whole
    body = FORMS[form](BODIES[name])
    ends = takewhile(lambda place: place < len(body), accumulate(cycle(sizes)))
    pieces = [body[start:end] for start, end in pairwise((0, *ends, len(body)))]
    assert await read_in(pieces, content_type) == whole
