"""One message as it is now: what another process has written of it, and how it ended."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.message import AnswerState
from tests.support.chats import answer, header, reply, say, store_at

GONE = "4194305@1-x"
"""A process that is not there."""


@pytest.fixture
async def other(tmp_path, store):
    """A second store on the same file."""
    opened = store_at(tmp_path)
    yield opened
    await opened.aclose()


@pytest.fixture
async def running(store):
    """Session and an answer that has begun."""
    session = header()
    first = await reply(store, session, "First.", await say(store, session, "One?"))
    said = answer(parent=await say(store, session, "Two?", first), state=AnswerState.STREAMING)
    await store.begin_answer(session.session_id, said)
    return session, said


async def test_it_has_what_has_come_by_now_and_then_its_end(store, other, running):
    session, said = running
    key = (session.session_id, said.message_id)
    assert await other.answer_now(*key) == said
    await store.add_pieces(said.message_id, [("text", "it begins")])
    assert (await other.answer_now(*key)).text == "it begins"
    await store.add_pieces(said.message_id, [("text", " and goes on")])
    now = await other.answer_now(*key)
    assert (now.text, now.state) == ("it begins and goes on", AnswerState.STREAMING)
    final = replace(answer("it ends", parent=said, state=AnswerState.STOPPED), message_id=said.message_id)
    await store.finish(session.session_id, replace(final, parent_id=said.parent_id))
    assert await other.answer_now(*key) == replace(final, parent_id=said.parent_id)


async def test_of_a_process_that_is_gone_it_is_ended(store, other, running):
    session, said = running
    await store.add_pieces(said.message_id, [("text", "it begins")])
    await other.open()  # which puts the file in order: after that each look has to
    await store._database.write(
        lambda c: c.execute("update messages set owner = ? where owner <> ''", (GONE,))
    )
    now = await other.answer_now(session.session_id, said.message_id)
    assert (now.text, now.state) == ("it begins", AnswerState.INTERRUPTED)
    assert now.failure.kind == "interrupted"


async def test_of_several_versions_it_says_which_it_is(store, other, running):
    session, said = running
    twin = replace(said, message_id="twin")
    await store.begin_answer(session.session_id, twin)
    assert (await other.answer_now(session.session_id, "twin")).version == 2
    assert (await other.answer_now(session.session_id, said.message_id)).versions == 2


async def test_deleted_removed_or_never_there_it_is_nothing(store, other, running):
    session, said = running
    assert await other.answer_now(session.session_id, "no such") is None
    await store.delete_message(session.session_id, said.message_id)
    assert await other.answer_now(session.session_id, said.message_id) is None
    await store.purge(session.session_id)
    assert await other.answer_now(session.session_id, said.message_id) is None
