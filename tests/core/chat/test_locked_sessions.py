"""Sessions in the memory of a window, beside another lmchat that deletes permanently."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from lmchat.core.servers.events import TextDelta
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.storage.purge import Purged
from lmchat.core.storage.store import Store
from tests.support.chat_turns import ChatTurns
from tests.support.rare_letters import left, secret
from tests.support.scripted_backend import answer_steps, half


@pytest.fixture
async def other(tmp_path):
    """Another lmchat, whose store is the same file."""
    async with aclosing(Store(tmp_path / "sessions.db")) as store:
        yield store


async def say(chat: ChatTurns, text: str) -> str:
    """Return the id of the session."""
    chat.sessions.send(chat.session, PendingPrompt(draft=text))
    await chat.wait()
    return chat.session.session_id


async def shown(chat: ChatTurns, session_id: str) -> None:
    open_sessions = chat.sessions.open_sessions
    open_sessions.switch_to(await open_sessions.find_or_load(session_id))
    await chat.store.open()  # behind what the switch has left to the disk


async def saved(store: Store, session_id: str) -> list[str]:
    return [message.text for message in (await store.open_session(session_id)).messages]


async def test_a_session_stays_whole_while_a_window_has_it_and_goes_when_another_is_shown(
    store, other, tmp_path
):
    chat = ChatTurns(store, answer_steps(secret(1)), answer_steps(secret(2)), answer_steps("Kale."))
    session_id = await say(chat, secret(3))
    assert (await other.purge(session_id)).open_ids == {session_id}
    await say(chat, secret(4))
    assert await saved(other, session_id) == chat.texts
    chat.sessions.open_sessions.switch_to_new()
    new_id = await say(chat, "And then?")
    assert await other.purge(session_id) == Purged()
    assert left(tmp_path) == []

    await shown(chat, session_id=new_id)
    assert (await other.purge(new_id)).open_ids == {new_id}
    assert await saved(other, new_id) == ["And then?", "Kale."]


async def test_deleted_messages_stay_until_their_session_leaves_the_memory(store, other, tmp_path):
    chat = ChatTurns(
        store, answer_steps("Turnips."), answer_steps(secret(1)), answer_steps("Kale.")
    )
    session_id = await say(chat, "What grows?")
    await say(chat, secret(2))
    open_sessions = chat.sessions.open_sessions
    prompt_id = chat.path[2].message_id
    open_sessions.switch_to_path(await open_sessions.delete(chat.session, prompt_id))
    assert (await other.purge(is_with_messages=True)).open_messages == 2
    restored = await open_sessions.undo_delete(session_id)
    assert restored is not None
    assert len(restored.messages) == 4
    open_sessions.switch_to_path(await open_sessions.delete(chat.session, prompt_id))
    await say(chat, "And then?")
    open_sessions.switch_to_new()
    await store.open()
    assert await other.purge(is_with_messages=True) == Purged()
    assert left(tmp_path) == []
    assert await saved(other, session_id) == ["What grows?", "Turnips.", "And then?", "Kale."]


async def test_a_session_that_is_answered_unseen_stays_until_its_end(store, other):
    gate = asyncio.Event()
    chat = ChatTurns(store, half("Turnips", gate, " and kale."))
    session = chat.session
    chat.sessions.send(session, PendingPrompt(draft="What grows?"))
    await chat.until(TextDelta)
    for _ in range(2):
        chat.sessions.open_sessions.switch_to_new()
        await store.open()
        await other.purge(session.session_id)
        assert await saved(other, session.session_id)
    gate.set()
    await chat.sessions.wait(session)
    assert await saved(other, session.session_id) == ["What grows?", "Turnips and kale."]
    chat.sessions.open_sessions.switch_to_new()
    await store.open()
    assert await other.purge(session.session_id) == Purged()


async def test_a_message_that_was_found_keeps_its_session(store, other):
    chat = ChatTurns(store, answer_steps("Turnips."))
    session_id = await say(chat, "What grows?")
    answer_id = chat.path[-1].message_id
    open_sessions = chat.sessions.open_sessions
    open_sessions.switch_to_new()
    open_sessions.switch_to_path(await open_sessions.choose_path(session_id, answer_id))
    await store.open()
    assert (await other.purge(session_id)).open_ids == {session_id}
