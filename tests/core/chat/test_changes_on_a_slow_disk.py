"""Changes of a session that wait for a disk which another program holds."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager

import pytest

from lmchat.base.errors import RequestInvalid
from lmchat.core.sessions.prompts import PendingPrompt
from tests.support.chat_turns import ChatTurns


@asynccontextmanager
async def held_disk(store):
    """Hold up all reads and writes of the store while the block runs."""
    is_held = threading.Event()
    is_free = threading.Event()

    def hold(_):
        is_held.set()
        is_free.wait(10)

    holding = asyncio.create_task(store.database.run(hold))
    await asyncio.to_thread(is_held.wait, 5)
    try:
        yield
    finally:
        is_free.set()
        await holding


@pytest.mark.parametrize("act", ["delete", "undo", "another version", "take out", "fork"])
async def test_no_prompt_gets_lost_behind_a_change_that_waits_for_the_disk(store, act):
    chat = ChatTurns(store)
    await chat.send("one")
    await chat.send("two")
    await chat.edit(chat.path[2], "two again")
    open_sessions = chat.sessions.open_sessions
    first_version = chat.path[1]
    prompt = chat.path[2]
    session_id = chat.session.session_id

    async def show(change):
        open_sessions.switch_to_path(await change)

    if act == "undo":
        await show(open_sessions.delete(chat.session, prompt.message_id))
    work = {
        "delete": lambda: show(open_sessions.delete(chat.session, prompt.message_id)),
        "undo": lambda: show(open_sessions.undo_delete(session_id)),
        "another version": lambda: show(
            open_sessions.choose_path(session_id, first_version.message_id)
        ),
        "fork": lambda: open_sessions.fork(chat.session, prompt.message_id),
        "take out": lambda: chat.session.toggle_excluded(prompt.message_id),
    }
    async with held_disk(store):
        changing = asyncio.create_task(work[act]())
        await asyncio.sleep(0)  # it waits for the disk
        requests = len(chat.server.requests)
        for refused in (
            lambda: chat.sessions.send(chat.session, PendingPrompt(draft="next")),
            lambda: chat.sessions.regenerate(chat.session, chat.path[-1]),
            lambda: chat.sessions.compact(chat.session),
        ):
            with pytest.raises(RequestInvalid, match="being changed"):
                refused()
        for other in (
            open_sessions.delete(chat.session, chat.path[0].message_id),
            open_sessions.undo_delete(session_id),
            chat.session.set_system_prompt("Be short."),
        ):
            with pytest.raises(RequestInvalid, match="being changed"):
                await other
    await changing
    assert len(chat.server.requests) == requests, "what was refused was not sent"
    assert list(await chat.on_disk()) == list(chat.path)
    await chat.send("next")
    assert "next" in chat.texts
    assert list(await chat.on_disk()) == list(chat.path)
