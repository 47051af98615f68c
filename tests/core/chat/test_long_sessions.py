"""Sessions that are read piece by piece."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.base.errors import RequestInvalid, StoreUnavailable
from lmchat.core.chat.events import PathChanged
from lmchat.core.sessions.message import ChatMessage, Role, text_message
from lmchat.core.sessions.session import MESSAGES_PER_READ
from tests.support.chat_turns import ChatTurns
from tests.support.chats import GatedStore, fill_long

COUNT = 300


@pytest.fixture
async def gated(tmp_path):
    store = GatedStore(tmp_path / "long.db")
    yield store
    await store.aclose()


async def session(store) -> tuple[ChatTurns, list[ChatMessage]]:
    """Return a front end that shows the end of a long session, and all its messages."""
    talk = await fill_long(store, COUNT)
    (header,) = await store.list_sessions()
    chat = ChatTurns(store, window=100_000)
    await chat.open(header.session_id)
    return chat, talk


async def test_a_long_session_is_opened_with_its_end_and_a_prompt_waits_for_the_rest(gated):
    chat, talk = await session(gated)
    window = chat.sessions.context_window
    assert not chat.session.has_all_messages
    assert list(chat.path) == talk[-MESSAGES_PER_READ:]
    assert window.select(chat.session, "more") is None
    assert window.context_use(chat.session) is None
    turn = asyncio.create_task(chat.send("and now?"))
    await gated.asked.wait()
    assert not chat.server.requests
    gated.gate.set()
    await turn
    assert chat.sent() == [*(one.text for one in talk), "and now?"]
    assert len(chat.path) == COUNT + 2
    assert window.select(chat.session, "more").left_out == 0
    assert window.context_use(chat.session) is not None


async def test_an_answer_is_regenerated_in_its_place(gated):
    chat, talk = await session(gated)
    gated.gate.set()
    chat.events.clear()
    await chat.regenerate(talk[1])
    kinds = [type(event) for event in chat.events]
    assert kinds.count(PathChanged) == kinds[:2].count(PathChanged) == 1
    assert chat.sent() == [talk[0].text]
    assert list(chat.path[:-1]) == talk[:1]
    assert (chat.path[-1].version, chat.path[-1].versions) == (2, 2)


async def test_another_path_shown_while_older_messages_are_read_is_not_mixed_with_them(gated):
    chat, talk = await session(gated)
    filling = asyncio.create_task(chat.session.load_older())
    await gated.asked.wait()
    chat.sessions.open_sessions.switch_to_path(
        await gated.choose_path_through(chat.session.session_id, talk[-1].message_id)
    )
    gated.gate.set()
    await filling
    assert list(chat.path) == talk
    with pytest.raises(RequestInvalid, match="on another branch"):
        await chat.regenerate(text_message(Role.USER, "elsewhere"))


async def test_a_failing_disk_refuses_a_prompt_and_the_next_try_continues(gated):
    chat, talk = await session(gated)
    gated.gate.set()
    gated.error = StoreUnavailable("The disk is away.")
    with pytest.raises(StoreUnavailable):
        await chat.send("lost?")
    assert list(chat.path) == talk[-MESSAGES_PER_READ:]
    gated.error = None
    message = await chat.session.set_system_prompt("be brief")
    await chat.session.load_older()
    assert list(chat.path) == [*talk, message]
    await chat.send("found")
    assert chat.sent() == ["be brief", *(one.text for one in talk), "found"]
