"""The text of a running answer: how little is written for it, and what becomes of it in every trouble."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import stat
from contextlib import closing

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ReasoningPart, TextPart
from lmchat.domain.turn import ANEW
from lmchat.errors import StoreUnavailable
from lmchat.storage.running_answer import AnswerFile, Begun, answer_path, read_answer
from tests.storage.test_store_disk import no_room
from tests.support.chats import START, answer, header, say, store_at

BEGUN = Begun(session_id="s", message_id="m", parent_id=None, created_at=START, model="m", endpoint="e")


@pytest.fixture
async def running(store):
    """Session, prompt and an answer that has begun."""
    session = header()
    asked = await say(store, session, "How long?")
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.begin_answer(session.session_id, said)
    return session, asked, said


def store_path(folder):
    return folder / "lmchat" / "sessions.db"


def left(folder):
    return sorted(path.name for path in (folder / "lmchat").iterdir() if "-answer-" in path.name)


async def text_on_disk(folder, session, said):
    """Return what another window reads."""
    other = store_at(folder)
    try:
        messages = (await other.open_session(session.session_id)).messages
    finally:
        await other.aclose()
    return next(message.text for message in messages if message.message_id == said.message_id)


def as_killed(folder, said):
    """Let the file of an answer look as if its process were gone: nothing locks the copy."""
    path = answer_path(store_path(folder), said.message_id)
    content = path.read_bytes()
    path.unlink()
    path.write_bytes(content)


async def test_the_file_is_for_its_owner_only_and_goes_with_the_end(tmp_path, store, running):
    session, asked, said = running
    await store.add_pieces(said.message_id, [("text", "so far")])
    path = answer_path(store_path(tmp_path), said.message_id)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    whole = answer("so far and on", parent=asked)
    await store.finish(session.session_id, replace(whole, message_id=said.message_id))
    assert left(tmp_path) == []
    assert (await store.open_session(session.session_id)).messages[1].text == "so far and on"


_PIECES = st.lists(
    st.one_of(
        st.just(ANEW),
        st.tuples(st.sampled_from(["text", "reasoning", "refusal"]), st.text(min_size=1, max_size=9)),
    ),
    max_size=9,
)


@pytest.mark.slow
@given(st.lists(_PIECES, max_size=5), st.data())
def test_a_file_that_was_cut_anywhere_holds_all_whole_writes(tmp_path_factory, writes, data):
    path = tmp_path_factory.mktemp("cut") / "file"
    file, ends = AnswerFile(path, BEGUN), []
    for pieces in ((), *writes):
        file.add(pieces)
        ends.append(path.stat().st_size)
    file.close()
    cut = data.draw(st.integers(ends[0], ends[-1]))
    os.truncate(path, cut)
    kept = []
    for pieces, end in zip(writes, ends[1:], strict=True):
        for piece in pieces if end - 1 <= cut else ():
            kept = [] if piece == ANEW else [*kept, piece]
    assert read_answer(path) == (BEGUN, kept)


async def test_a_full_disk_leaves_nothing_half_written_and_the_rest_comes_when_there_is_room(
    tmp_path, store, running
):
    session, _, said = running
    await store.add_pieces(said.message_id, [("text", "before ")])
    size = answer_path(store_path(tmp_path), said.message_id).stat().st_size
    with no_room(size + 3):
        for _ in range(2):
            with pytest.raises(StoreUnavailable, match="room"):
                await store.add_pieces(said.message_id, [("reasoning", "never "), ("text", "never ")])
    assert await text_on_disk(tmp_path, session, said) == "before "
    await store.add_pieces(said.message_id, [("text", "after")])
    assert await text_on_disk(tmp_path, session, said) == "before after"


async def test_another_program_that_holds_the_sessions_holds_up_no_text(tmp_path, store, running):
    _, _, said = running
    with closing(sqlite3.connect(store_path(tmp_path), isolation_level=None)) as other:
        other.execute("begin immediate")
        async with asyncio.timeout(2):  # a write to the sessions would wait for 5 s
            await store.add_pieces(said.message_id, [("text", "so far")])
        assert read_answer(answer_path(store_path(tmp_path), said.message_id))[1] == [("text", "so far")]


async def test_an_answer_that_the_sessions_do_not_know_is_taken_in_at_the_next_start(tmp_path, store):
    session = header()
    asked = await say(store, session, "hello")
    said = answer(parent=asked, state=AnswerState.STREAMING)
    await store.begin_answer(session.session_id, said, has_prompt=False)
    await store.add_pieces(said.message_id, [("reasoning", "hm"), ("text", "so far")])
    assert len((await store.open_session(session.session_id)).messages) == 1
    as_killed(tmp_path, said)
    other = store_at(tmp_path)
    kept = (await other.open_session(session.session_id)).messages[1]
    assert (kept.state, kept.parts) == (
        AnswerState.INTERRUPTED,
        (ReasoningPart(text="hm"), TextPart(text="so far")),
    )
    assert (kept.parent_id, kept.model, kept.created_at) == (said.parent_id, said.model, said.created_at)
    assert [hit.message_id for hit in await other.search("far")] == [said.message_id]
    await other.aclose()
    assert left(tmp_path) == []


async def test_an_answer_outlives_the_sessions_that_were_removed_while_it_came(tmp_path, store, running):
    session, asked, said = running
    await store.add_pieces(said.message_id, [("text", "so ")])
    shutil.rmtree(tmp_path / "lmchat")
    await store.add_pieces(said.message_id, [("text", "far")])
    await store.finish(
        session.session_id, replace(answer("so far", parent=asked), message_id=said.message_id)
    )
    assert await text_on_disk(tmp_path, session, said) == "so far"


async def test_the_answer_of_a_living_process_is_left_to_it(tmp_path, store, running):
    session, _, said = running
    await store.add_pieces(said.message_id, [("text", "so ")])
    for _ in range(2):
        assert await text_on_disk(tmp_path, session, said) == "so "
    await store.add_pieces(said.message_id, [("text", "far")])
    assert await text_on_disk(tmp_path, session, said) == "so far"
    assert len(left(tmp_path)) == 1


async def test_an_answer_that_ended_just_before_the_process_was_killed_stays_as_it_ended(
    tmp_path, store, running
):
    session, asked, said = running
    await store.add_pieces(said.message_id, [("text", "so ")])
    path = answer_path(store_path(tmp_path), said.message_id)
    as_killed(tmp_path, said)
    content = path.read_bytes()
    whole = replace(answer("so far", parent=asked), message_id=said.message_id)
    await store.finish(session.session_id, whole)
    path.write_bytes(content)
    assert await text_on_disk(tmp_path, session, said) == "so far"
    assert left(tmp_path) == []
