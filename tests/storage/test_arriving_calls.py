"""The calls of tools that a model writes outlive a kill like its words: what came of them is kept."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.domain.event import ReasoningDelta, RefusalDelta, Rethought, TextDelta, ToolCallDelta
from lmchat.domain.message import AnswerState, ToolCallPart
from lmchat.domain.turn import GrowingAnswer, parts_of
from lmchat.storage.running_answer import AnswerFile, read_answer
from tests.storage.test_arriving import BEGUN, as_killed, left
from tests.support.chats import answer, header, say, store_at

CALLED = (
    ToolCallDelta(index=0, call_id="call_1", name="weather"),
    ToolCallDelta(index=0, arguments='{"city": '),
    ToolCallDelta(index=1, call_id="call_2", name="clock", arguments="{"),
    ToolCallDelta(index=0, arguments='"Łódź \ud800"'),
    ToolCallDelta(index=1, arguments="}"),
)
CALLS = (
    ToolCallPart(call_id="call_1", name="weather", arguments='{"city": "Łódź \ud800"'),
    ToolCallPart(call_id="call_2", name="clock", arguments="{}"),
)

_WORDS = st.text(min_size=1, max_size=6)
_EVENTS = st.lists(
    st.one_of(
        st.builds(TextDelta, text=_WORDS),
        st.builds(ReasoningDelta, text=_WORDS),
        st.builds(RefusalDelta, text=_WORDS),
        st.builds(Rethought, is_thought=st.booleans()),
        st.builds(
            ToolCallDelta,
            index=st.integers(0, 12),
            call_id=st.text(max_size=4),
            name=st.text(max_size=4),
            arguments=_WORDS,
        ),
    ),
    max_size=12,
)


def in_order(parts):
    """Return all words of each kind, and the calls: on the disk words stand in the order they came in."""
    calls = [part for part in parts if isinstance(part, ToolCallPart)]
    texts = {}
    for part in parts:
        if not isinstance(part, ToolCallPart):
            texts[type(part)] = texts.get(type(part), "") + part.text
    return texts, calls


@given(_EVENTS, st.data())
def test_what_is_kept_of_an_answer_is_what_came_of_it(tmp_path_factory, events, data):
    path = tmp_path_factory.mktemp("calls") / "file"
    growing, file = GrowingAnswer(), AnswerFile(path, BEGUN)
    ends = sorted({*data.draw(st.lists(st.integers(0, len(events)))), 0, len(events)})
    for start, end in pairwise(ends):
        file.add([piece for event in events[start:end] for piece in growing.add(event)])
    file.add(())
    file.close()
    kept = parts_of(read_answer(path)[1])
    assert in_order(kept) == in_order(growing.parts)
    assert in_order(parts_of(growing.pieces)) == in_order(growing.parts)


@pytest.mark.parametrize(
    "kind",
    ["tool_call", "tool_call x id", "tool_call -1 id", "tool_call 1 else", f"tool_call {'1' * 5000} id", ""],
)
def test_a_word_that_names_no_piece_of_a_call_is_told_as_that(kind):
    assert not any(isinstance(part, ToolCallPart) for part in parts_of([(kind, "x")]))


@pytest.mark.rule("R-20")
async def test_calls_of_a_killed_process_are_there_and_the_answer_is_interrupted(tmp_path, store):
    session = header()
    asked = await say(store, session, "How is the weather?")
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.begin_answer(session.session_id, said)
    growing = GrowingAnswer()
    for event in CALLED:
        await store.add_pieces(said.message_id, growing.add(event))
    running = (await store.open_session(session.session_id)).messages[1]
    assert (running.parts, running.state) == (CALLS, AnswerState.STREAMING)
    as_killed(tmp_path, said)
    other = store_at(tmp_path)
    ended = (await other.open_session(session.session_id)).messages[1]
    await other.aclose()
    assert (ended.parts, ended.state) == (CALLS, AnswerState.INTERRUPTED)
    assert left(tmp_path) == []
