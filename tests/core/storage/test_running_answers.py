from __future__ import annotations

import asyncio
import os
import sqlite3
from contextlib import aclosing, closing, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.base.errors import StoreUnavailable
from lmchat.core.answers.streamed_answer import AnswerContent
from lmchat.core.servers.events import ToolCallDelta
from lmchat.core.sessions.journal_entries import RESET
from lmchat.core.sessions.message import AnswerState, ReasoningPart, Role, TextPart, ToolCallPart
from lmchat.core.storage.journal import FileHead, FileJournal, LineFile, answer_path, read_answer
from tests.support.chats import START, answer, prompt, start_session, store_at, tool_message
from tests.support.faults import no_room
from tests.support.modes import is_private
from tests.support.programs import PYTHON, start

STARTED = FileHead(
    session_id="s",
    message_id="m",
    parent_id=None,
    created_at=START,
    model="m",
    endpoint="e",
    role=Role.ASSISTANT,
)


@pytest.fixture
async def running(store):
    """Session, prompt and an answer that has started."""
    session, asked = await start_session(store, "How long?")
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.start_answer(session.session_id, said)
    return session, asked, said


def store_path(folder):
    return folder / "lmchat" / "sessions.db"


def path_of(folder, said):
    """Return the path of the file of an answer."""
    return answer_path(store_path(folder), said.message_id)


def left(folder):
    return sorted(path.name for path in (folder / "lmchat").iterdir() if "-answer-" in path.name)


async def last_on_disk(folder, session):
    """Return what another window reads."""
    other = store_at(folder)
    try:
        message = (await other.open_session(session.session_id)).messages[-1]
    finally:
        await other.aclose()
    return message.state, message.text


async def text_on_disk(folder, session):
    return (await last_on_disk(folder, session))[1]


def as_killed(folder, said):
    """Let the file of an answer look as if its process were gone: nothing locks the copy."""
    path = path_of(folder, said)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


async def test_the_file_is_for_its_owner_only_and_goes_with_the_end(tmp_path, store, running):
    session, asked, said = running
    await store.add_entries(said.message_id, [("text", "so far")])
    path = path_of(tmp_path, said)
    assert is_private(path)
    whole = answer("so far and on", parent=asked)
    await store.end_answer(session.session_id, replace(whole, message_id=said.message_id))
    assert left(tmp_path) == []
    assert (await store.open_session(session.session_id)).messages[1].text == "so far and on"


_PIECES = st.lists(
    st.one_of(
        st.just(RESET),
        st.tuples(
            st.sampled_from(["text", "reasoning", "refusal"]), st.text(min_size=1, max_size=9)
        ),
    ),
    max_size=9,
)


@pytest.mark.slow
@given(st.lists(_PIECES, max_size=5), st.data())
def test_a_file_that_was_cut_anywhere_holds_all_whole_writes(tmp_path_factory, writes, data):
    path = tmp_path_factory.mktemp("cut") / "file"
    file = LineFile(path, STARTED)
    ends = []
    for pieces in ((), *writes):
        file.add(pieces)
        ends.append(path.stat().st_size)
    file.close()
    cut = data.draw(st.integers(ends[0], ends[-1]))
    os.truncate(path, cut)
    kept = []
    for pieces, end in zip(writes, ends[1:], strict=True):
        for piece in pieces if end - 1 <= cut else ():
            kept = [] if piece == RESET else [*kept, piece]
    assert read_answer(path) == (STARTED, kept)


async def test_a_full_disk_leaves_nothing_half_written_and_the_rest_comes_when_there_is_room(
    tmp_path, store, running
):
    session, _, said = running
    await store.add_entries(said.message_id, [("text", "before ")])
    size = path_of(tmp_path, said).stat().st_size
    with no_room(size + 3):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match=r"the disk .*full"):
                await store.add_entries(
                    said.message_id, [("reasoning", "never "), ("text", "never ")]
                )
    assert await text_on_disk(tmp_path, session) == "before "
    await store.add_entries(said.message_id, [("text", "after")])
    assert await text_on_disk(tmp_path, session) == "before after"


async def test_answers_may_end_while_their_files_are_closed(tmp_path):
    journal = FileJournal(tmp_path / "sessions.db")
    asked = prompt("Which?")
    answers = [answer(parent=asked, state=AnswerState.STREAMING) for _ in range(500)]
    for one in answers:
        await journal.start("one", one)
    closing_all = asyncio.create_task(journal.aclose())
    await asyncio.sleep(0)
    for one in answers:
        with suppress(StoreUnavailable):  # its file is left for the next start
            await journal.end(one.message_id)
        await asyncio.sleep(0)  # lets the thread go on
    await closing_all


async def test_another_program_that_holds_the_sessions_holds_up_no_text(tmp_path, store, running):
    _, _, said = running
    with closing(sqlite3.connect(store_path(tmp_path), isolation_level=None)) as other:
        other.execute("begin immediate")
        async with asyncio.timeout(2):  # a write to the sessions would wait for 5 s
            await store.add_entries(said.message_id, [("text", "so far")])
        assert read_answer(path_of(tmp_path, said))[1] == [("text", "so far")]


@pytest.mark.posix  # Windows removes no open file
async def test_an_answer_that_the_sessions_do_not_know_is_taken_in_at_the_next_start(
    tmp_path, store
):
    session, asked = await start_session(store, "hello")
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.start_answer(session.session_id, said, has_prompt=False)
    await store.add_entries(said.message_id, [("reasoning", "hm"), ("text", "so far")])
    call = tool_message(None, parent=said, state=AnswerState.STREAMING)
    await store.start_answer(session.session_id, call, has_prompt=False)
    assert len((await store.open_session(session.session_id)).messages) == 1
    as_killed(tmp_path, said)
    as_killed(tmp_path, call)
    async with aclosing(store_at(tmp_path)) as other:
        _, kept, called = (await other.open_session(session.session_id)).messages
        assert called.parts == call.parts
        assert (kept.state, kept.parts) == (
            AnswerState.INTERRUPTED,
            (ReasoningPart(text="hm"), TextPart(text="so far")),
        )
        assert (kept.parent_id, kept.model, kept.created_at) == (
            said.parent_id,
            said.model,
            said.created_at,
        )
        assert [hit.message_id for hit in await other.search("far")] == [said.message_id]
    assert left(tmp_path) == []


WINDOW = """
import asyncio, sys
from pathlib import Path
from lmchat.core.sessions.message import AnswerState
from tests.support.chats import answer, start_session, store_at

async def main():
    store = store_at(Path(sys.argv[1]))
    session, asked = await start_session(store, "How long?")
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.start_answer(session.session_id, said)
    for piece in ("so ", "far"):
        await store.add_entries(said.message_id, [("text", piece)])
    print(session.session_id, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""


async def test_an_answer_of_another_window_streams_until_that_is_killed(tmp_path, store):
    with start([PYTHON, "-c", WINDOW, tmp_path]) as window:
        assert window.stdout is not None
        session_id = (await asyncio.to_thread(window.stdout.readline)).decode().strip()
        streaming = (await store.open_session(session_id)).messages[1]
        assert (streaming.state, streaming.text) == (AnswerState.STREAMING, "so far")
        window.kill()
    [file] = tmp_path.rglob("*-answer-*")
    file.write_bytes(b"x" + file.read_bytes())  # the row tells what is in its head
    ended = (await store.open_session(session_id)).messages[1]
    assert (ended.state, ended.text) == (AnswerState.INTERRUPTED, "so far")
    assert ended.failure.message == "lmchat ended while this answer was streaming."
    assert ended.failure.hint == "Continue it, or ask again."
    assert not [*tmp_path.rglob("*damaged*")], "that would be a copy of all sessions"


@pytest.mark.posix  # Windows removes no open file
async def test_an_answer_killed_before_its_first_word_has_failed(tmp_path, store, running):
    session, _, said = running
    as_killed(tmp_path, said)
    async with aclosing(store_at(tmp_path)) as other:
        ended = (await other.open_session(session.session_id)).messages[1]
    assert (ended.state, ended.parts) == (AnswerState.FAILED, ())
    assert ended.failure.hint == "Ask again."


@pytest.mark.posix  # Windows removes no open file
async def test_an_answer_that_ended_just_before_the_process_was_killed_stays_as_it_ended(
    tmp_path, store, running
):
    session, asked, said = running
    await store.add_entries(said.message_id, [("text", "so ")])
    path = path_of(tmp_path, said)
    as_killed(tmp_path, said)
    content = path.read_bytes()
    whole = replace(answer("so far", parent=asked), message_id=said.message_id)
    await store.end_answer(session.session_id, whole)
    path.write_bytes(content)
    assert await text_on_disk(tmp_path, session) == "so far"
    assert left(tmp_path) == []


CALLED = (
    ToolCallDelta(index=0, call_id="call_1", name="weather"),
    ToolCallDelta(index=0, arguments='{"city": '),
    ToolCallDelta(index=1, call_id="call_2", name="clock", arguments="{"),
    ToolCallDelta(index=0, arguments='"Łódź \ud800"'),
    ToolCallDelta(index=1, arguments="}"),
    ToolCallDelta(index=1, others='{"trace":"t-91"}'),
)
CALLS = (
    ToolCallPart(call_id="call_1", name="weather", arguments='{"city": "Łódź \ud800"'),
    ToolCallPart(call_id="call_2", name="clock", arguments="{}", others='{"trace":"t-91"}\n'),
)


@pytest.mark.posix  # Windows removes no open file
async def test_a_damaged_answer_of_a_killed_process_holds_up_no_start(tmp_path, store, running):
    session, asked, said = running
    as_killed(tmp_path, said)
    with closing(sqlite3.connect(store_path(tmp_path), isolation_level=None)) as raw:
        raw.execute("update messages set role = 'nobody' where state = 'streaming'")
    async with aclosing(store_at(tmp_path)) as other:
        assert (await other.open_session(session.session_id)).messages == (asked,)


@pytest.mark.rule("R-20")
@pytest.mark.posix  # Windows removes no open file
async def test_calls_of_a_killed_process_are_there_and_the_answer_is_interrupted(tmp_path, store):
    session, asked = await start_session(store, "How is the weather?")
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.start_answer(session.session_id, said)
    content = AnswerContent()
    for event in CALLED:
        await store.add_entries(said.message_id, content.add(event))
    await store.add_entries(said.message_id, [("sound", "of a newer lmchat")])
    running = (await store.open_session(session.session_id)).messages[1]
    assert (running.parts, running.state) == (CALLS, AnswerState.STREAMING)
    as_killed(tmp_path, said)
    async with aclosing(store_at(tmp_path)) as other:
        ended = (await other.open_session(session.session_id)).messages[1]
        assert await other.search("t-91") == ()
    assert (ended.parts, ended.state) == (CALLS, AnswerState.INTERRUPTED)
    assert left(tmp_path) == []
