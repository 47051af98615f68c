from __future__ import annotations

import asyncio

import pytest

from lmchat.config.settings import ChatSettings
from lmchat.errors import StoreUnavailable
from lmchat.services.open_sessions import FIRST_READ, OpenSessions
from tests.support.chats import GatedStore, fill_long
from tests.support.scripted_backend import ScriptedBackend, answer_steps, read, target

COUNT = 300


@pytest.fixture
async def store(tmp_path):
    store = GatedStore(tmp_path / "sessions.db")
    yield store
    await store.aclose()


async def opened(store, *, context: int = 100_000, **chat):
    """Return a sessions on which a long session lies whose beginning was not read, and all its messages."""
    talk = await fill_long(store, COUNT)
    (header,) = await store.list_sessions()
    sessions = OpenSessions(
        chat=ChatSettings(**chat),
        backend=ScriptedBackend(*[answer_steps() for _ in range(5)]),
        store=store,
    )
    sessions.next_turn.target = target(context_loaded=context)
    sessions.show(await sessions.load(header.session_id))
    return sessions, talk


def sent(sessions):
    return [message.text for message in sessions._backend.requests[-1].messages]


async def test_a_session_is_opened_with_its_end_alone(store):
    sessions, talk = await opened(store)
    conversation = sessions.shown.conversation
    assert not conversation.has_all_messages
    assert list(conversation.messages) == talk[-FIRST_READ:]
    assert not store.asked.is_set()
    assert sessions.next_turn.plan(sessions.shown.conversation, "more") is None
    assert sessions.next_turn.context_use(sessions.shown.conversation) is None
    store.gate.set()
    await conversation.fill()
    assert conversation.has_all_messages
    assert list(conversation.messages) == talk
    assert sessions.next_turn.plan(sessions.shown.conversation, "more").left_out == 0
    assert sessions.next_turn.context_use(sessions.shown.conversation).tokens > 1_000


async def test_what_is_said_waits_for_the_rest_and_all_of_it_is_sent(store):
    sessions, talk = await opened(store)
    turn = asyncio.create_task(
        read(sessions.shown.conversation.send("and now?", sessions.next_turn.settings()))
    )
    await store.asked.wait()
    assert not sessions._backend.requests
    store.gate.set()
    await turn
    assert sent(sessions) == [*(one.text for one in talk), "and now?"]
    assert len(sessions.shown.conversation.messages) == COUNT + 2


async def test_an_answer_is_regenerated_and_a_prompt_edited_in_its_place(store):
    sessions, talk = await opened(store)
    store.gate.set()
    conversation, settings = sessions.shown.conversation, sessions.next_turn.settings()
    for place in (COUNT - 1, 1):
        await read(conversation.regenerate(talk[place].message_id, settings))
        assert sent(sessions) == [one.text for one in talk[:place]]
        assert list(conversation.messages[:-1]) == talk[:place]
        assert (conversation.messages[-1].version, conversation.messages[-1].versions) == (2, 2)
    sessions.show(await sessions.load(conversation.header.session_id))
    await read(sessions.shown.conversation.edit(talk[0].message_id, "in other words", settings))
    assert sent(sessions) == ["in other words"]


async def test_a_failing_disk_refuses_and_the_next_try_continues(store):
    sessions, talk = await opened(store)
    store.gate.set()
    store.error = StoreUnavailable("The disk is away.")
    conversation = sessions.shown.conversation
    with pytest.raises(StoreUnavailable):
        await read(conversation.send("lost?", sessions.next_turn.settings()))
    assert list(conversation.messages) == talk[-FIRST_READ:]
    store.error = None
    message = await conversation.set_system_prompt("be brief")
    await conversation.fill()
    assert list(conversation.messages) == [*talk, message]
    await read(conversation.send("found", sessions.next_turn.settings()))
    assert sent(sessions) == ["be brief", *(one.text for one in talk), "found"]
