"""A session that another lmchat deletes permanently, while a window has it open."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import timedelta

import pytest

from lmchat.chat.events import AnswerBegun, PathChanged
from lmchat.errors import LMChatError, SessionPurged, StoreUnavailable
from lmchat.servers.events import TextDelta
from lmchat.sessions.attached_files import Prompt
from lmchat.storage.store import Store
from tests.support.chat_turns import ChatTurns
from tests.support.chats import Clock, store_at
from tests.support.desktop import half
from tests.support.programs import until
from tests.support.scripted_backend import answer_steps

NEW = "your prompt has begun a new one"
OLD = "Your next prompt begins a new session"


@pytest.fixture
async def other(tmp_path):
    """Another lmchat, whose store is the same file."""
    async with aclosing(Store(tmp_path / "sessions.db")) as store:
        yield store


async def begun(store, *answers, **settings) -> ChatTurns:
    """Return a window with a session of one whole turn."""
    chat = ChatTurns(store, answer_steps("Turnips."), *answers, **settings)
    await say(chat, "What grows in secret?")
    return chat


async def say(chat: ChatTurns, text: str) -> None:
    chat.sessions.send(chat.session, Prompt(text))
    await chat.wait()


def all_text(folder) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


async def test_the_next_prompt_in_a_purged_session_begins_a_new_one_without_the_old_turns(
    store, other, tmp_path
):
    chat = await begun(store, answer_steps("Kale."), system_prompt="Be brief.")
    old_id = chat.session.session_id
    chat.sessions.drafts.change(old_id, "next words")
    await chat.sessions.drafts.write()
    await other.purge(old_id)
    await say(chat, "And then?")
    new_id = chat.session.session_id
    assert new_id != old_id
    assert chat.texts == ["Be brief.", "And then?", "Kale."]
    assert chat.sent() == ["Be brief.", "And then?"]
    assert any(NEW in note for note in chat.notes)
    assert any(isinstance(event, PathChanged) for event in chat.events)
    (header,) = await other.list_sessions()
    assert (header.session_id, header.title) == (new_id, "And then?")
    saved = (await other.open_session(new_id)).messages
    assert [message.text for message in saved] == chat.texts
    await say(chat, "More?")
    assert len(await other.list_sessions()) == 1
    await chat.sessions.drafts.write()
    assert await other.draft(new_id) == "next words"
    assert b"secret" not in all_text(tmp_path)


async def test_nothing_that_a_window_does_brings_a_purged_session_back(store, other, tmp_path):
    chat = await begun(store, *[answer_steps("Kale.")] * 4)
    session, open_sessions = chat.session, chat.sessions.open_sessions
    old_id, answer = session.session_id, session.messages[-1]
    chat.sessions.drafts.change(old_id, "typed secret")
    await chat.sessions.drafts.write()
    await other.purge(old_id)

    await session.rewrite(answer.message_id, "Rewritten secret")
    await session.wait_until_saved()
    await store.save_bookmark(old_id, "secret place")
    await session.set_sampling({"stop": ["secret"]})
    for act in (
        session.toggle_excluded(session.messages[0].message_id),
        open_sessions.choose_path(old_id, answer.message_id),
        open_sessions.delete(session, answer.message_id),
        store.fork(old_id, answer.message_id),
        store.update_session(old_id, {"title": "secret", "tags": ("secret",)}),
    ):
        with pytest.raises(LMChatError):
            await act
    chat.sessions.regenerate(session, session.messages[0])
    await chat.wait()
    failure = session.messages[-1].failure
    assert failure is not None
    assert failure.message == SessionPurged().message
    chat.sessions.compact(session)
    with pytest.raises(LMChatError):
        await chat.sessions.wait(session)
    await chat.sessions.close()
    await chat.sessions.drafts.write()
    assert chat.sessions.save_queue.warning is None
    assert any(OLD in note for note in chat.notes)
    assert await other.list_sessions() == ()
    assert b"secret" not in all_text(tmp_path)


async def test_what_follows_purged_messages_is_saved_behind_those_that_are_left(store, other):
    chat = await begun(store, *[answer_steps("Kale.")] * 4)
    await say(chat, "And then?")
    session, (*_, purged_prompt, purged_answer) = chat.session, chat.session.messages
    await other.delete_message(session.session_id, purged_prompt.message_id)
    await other.purge(is_with_messages=True)

    async def saved() -> list[str]:
        stored = await other.open_session(session.session_id)
        return [message.text for message in stored.messages]

    first_turn = ["What grows in secret?", "Turnips."]
    assert await saved() == first_turn
    await say(chat, "More?")
    assert await saved() == [*first_turn, "More?", "Kale."]
    await session.rewrite(purged_answer.message_id, "Chard.")
    await session.wait_until_saved()
    assert await saved() == [*first_turn, "More?", "Kale.", "Chard."]
    chat.sessions.regenerate(session, purged_prompt)
    await chat.wait()
    assert (await saved())[:2] == first_turn


async def test_an_answer_that_streams_while_its_session_is_purged_is_in_no_file(
    store, other, tmp_path
):
    gate = asyncio.Event()
    chat = ChatTurns(
        store, half("Turnips in secret", gate, " and secret kale."), answer_steps("Kale.")
    )
    chat.sessions.send(chat.session, Prompt("What grows in secret?"))
    await chat.until(TextDelta)
    await other.purge(chat.session.session_id)
    gate.set()
    await chat.wait()
    assert await other.list_sessions() == ()
    assert any(OLD in note for note in chat.notes)
    assert b"secret" not in all_text(tmp_path)
    await say(chat, "And then?")
    assert chat.texts == ["And then?", "Kale."]
    assert len(await other.list_sessions()) == 1


@pytest.mark.posix  # Windows removes no open file
async def test_an_answer_that_streams_while_it_is_deleted_and_purged_is_in_no_file(
    store, other, tmp_path
):
    gate = asyncio.Event()
    chat = await begun(store, half("Sacred turnips", gate, " and sacred kale."))
    chat.sessions.send(chat.session, Prompt("What grows as sacred?"))
    await chat.until(AnswerBegun)
    await until(lambda: b"acred turnips" in all_text(tmp_path), "the file of the answer")
    await other.delete_message(chat.session.session_id, chat.path[-2].message_id)
    await other.purge(is_with_messages=True)
    assert b"acred" not in all_text(tmp_path)
    gate.set()
    await chat.wait()
    assert len(await other.tree(chat.session.session_id)) == 2
    assert b"acred" not in all_text(tmp_path)


async def test_a_prompt_that_waited_for_the_disk_during_the_purge_is_not_lost(store, other):
    chat = await begun(store, answer_steps("Kale."), answer_steps("Leek."))
    append, chat.sessions.save_queue._retry_s = store.append, 0.01

    async def busy(*_):
        raise StoreUnavailable("Another program uses the file.")

    store.append = busy
    await say(chat, "And then?")
    await other.purge(chat.session.session_id)
    store.append = append
    await until(lambda: chat.sessions.save_queue.warning is None, "the end of the warning")
    (header,) = await other.list_sessions()
    saved = (await other.open_session(header.session_id)).messages
    assert [message.text for message in saved] == chat.texts == ["And then?", "Kale."]
    await say(chat, "More?")
    saved = (await other.open_session(header.session_id)).messages
    assert [message.text for message in saved] == chat.texts
    assert len(await other.list_sessions()) == 1


async def test_a_queued_and_a_typed_text_of_a_purged_session_stay(store, other):
    chat = await begun(store, answer_steps("Kale."))
    old_id = chat.session.session_id
    await other.purge(old_id)
    chat.sessions.turn_options.use_target(None)
    chat.sessions.send(chat.session, Prompt("queued"))
    chat.sessions.drafts.change(old_id, "typed since")
    await chat.sessions.drafts.write()
    assert await other.draft(old_id) == ""
    assert "queued\n\ntyped since" in await drafts_of(other)
    chat.use("llama.cpp")
    chat.sessions.send_waiting()
    await chat.wait()
    await chat.sessions.drafts.write()
    assert chat.texts == ["queued", "Kale."]
    assert await drafts_of(other) == ["typed since"]
    assert await other.draft(chat.session.session_id) == "typed since"


async def drafts_of(store: Store) -> list[str]:
    return await store.database.run(
        lambda connection: [str(text) for (text,) in connection.execute("select text from drafts")]
    )


async def test_a_session_that_expires_in_the_trash_while_a_window_shows_it_stays_away(
    tmp_path,
):
    clock = Clock()
    async with aclosing(store_at(tmp_path, clock)) as store:
        chat = await begun(store, answer_steps("Kale."), answer_steps("Leek."))
        old_id = chat.session.session_id
        await store.update_session(old_id, {"deleted_at": clock()})
        await say(chat, "Still here?")
        assert (await store.list_sessions())[0].session_id == old_id  # a message restores it
        await store.update_session(old_id, {"deleted_at": clock()})
        await store.daily_check()  # notes when it is
        clock.moment += timedelta(days=31)
        async with aclosing(store_at(tmp_path, clock)) as later:
            assert await later.list_sessions(is_trash=True) == ()
            await say(chat, "And now?")
            (header,) = await later.list_sessions()
            assert (header.session_id == old_id, header.title) == (False, "And now?")
        assert chat.texts == ["And now?", "Leek."]


async def test_a_purged_session_that_is_imported_again_goes_on(store, other):
    chat = await begun(store, answer_steps("Kale."))
    session = await store.open_session(chat.session.session_id)
    await other.purge(chat.session.session_id)
    assert await other.import_session(session) is None
    await say(chat, "And then?")
    (header,) = await other.list_sessions()
    assert header.session_id == chat.session.session_id == session.header.session_id
    assert len((await other.open_session(header.session_id)).messages) == 4
