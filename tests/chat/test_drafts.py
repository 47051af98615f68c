from __future__ import annotations

import asyncio
import sqlite3
from contextlib import aclosing, closing
from unittest.mock import AsyncMock

from lmchat.chat.events import AnswerBegun, MessageAdded
from lmchat.chat.service import ChatService
from lmchat.chat.session_texts import SessionTexts
from lmchat.config.settings import ChatSettings
from lmchat.errors import StoreUnavailable
from lmchat.storage import opening
from tests.support.chat_turns import ChatTurns
from tests.support.chats import store_at
from tests.support.desktop import hold
from tests.support.programs import until
from tests.support.scripted_backend import ScriptedBackend, answer_steps


async def is_on_disk(store, session_id: str, draft: str) -> None:
    while await store.draft(session_id) != draft:  # noqa: ASYNC110 - the disk sends no event
        await asyncio.sleep(0)


async def test_a_text_is_loaded_once_and_written_soon_if_it_has_changed(store):
    await store.save_draft("a", "old")
    save = AsyncMock(wraps=store.save_draft)
    texts = SessionTexts(store.draft, save)
    assert await texts.load("a") == "old"
    for letters in ("n", "ne", "new"):
        texts.change("a", letters)
    assert await texts.load("a") == texts.text("a") == "new"
    await is_on_disk(store, "a", "new")
    assert save.await_count == 1
    texts.change("a", "")
    await texts.write()
    await texts.write()
    assert await store.draft("a") == ""
    assert save.await_count == 2


async def test_a_failing_disk_costs_nothing_that_is_in_memory_and_is_tried_again(store):
    full = StoreUnavailable("no")
    save = AsyncMock(wraps=store.save_draft, side_effect=[full, None])
    texts = SessionTexts(AsyncMock(side_effect=full), save)
    assert await texts.load("a") == ""
    texts.change("a", "x")
    await texts.write()
    await texts.write()
    assert save.await_args_list[1].args == ("a", "x")


async def test_a_text_is_on_the_disk_soon_after_the_end_of_an_import_without_another_key(
    store, tmp_path, monkeypatch
):
    monkeypatch.setattr(opening, "BUSY_S", 0.02)
    save = AsyncMock(wraps=store.save_draft)
    texts = SessionTexts(store.draft, save, retry_s=0.01)
    await store.open()
    with closing(sqlite3.connect(tmp_path / "sessions.db", isolation_level=None)) as other:
        other.execute("begin immediate")
        texts.change("a", "pasted")
        await until(lambda: save.await_count > 2, "more attempts")
        assert texts.unwritten() == {"a": "pasted"}
    await is_on_disk(store, "a", "pasted")
    await until(lambda: not texts.unwritten(), "the last attempt")


async def test_a_prompt_that_waits_is_no_less_unwritten_where_its_draft_cannot_be_read(store):
    chat = ChatTurns(store)
    drafts, read = chat.sessions.drafts, store.draft
    drafts._read = AsyncMock(side_effect=StoreUnavailable("no"))
    chat.sessions.queue.add(chat.opened, "waiting")
    assert not await drafts.write()
    assert drafts.unwritten() == {chat.opened.session_id: "waiting"}
    drafts._read = read
    assert await drafts.write()
    assert drafts.unwritten() == {}


async def test_a_sent_or_queued_prompt_stays_in_the_draft_until_it_is_a_row(store):
    turns = ChatTurns(store, answer_steps("Lettuce."), answer_steps())
    session_id = turns.opened.session_id
    gate = hold(store, "append")
    turns.sessions.drafts.change(session_id, "next")
    for text in ("What grows?", "And then?"):
        turns.sessions.send(turns.opened, text)
    await turns.until(MessageAdded)
    await is_on_disk(store, session_id, "What grows?\n\nAnd then?\n\nnext")
    gate.set()
    await turns.until(AnswerBegun)
    gate.clear()
    await is_on_disk(store, session_id, "And then?\n\nnext")
    gate.set()
    await turns.wait()
    await is_on_disk(store, session_id, "next")


async def test_no_lmchat_overwrites_the_draft_of_another_and_the_next_one_gets_them_all(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:

        def run() -> ChatService:
            return ChatService(chat=ChatSettings(), backend=ScriptedBackend(), store=store)

        ours, theirs, later = run(), run(), run()
        for sessions, text in ((ours, "ours"), (theirs, "theirs"), (ours, "ours, too")):
            sessions.drafts.change(sessions.shown.session_id, text)
            await sessions.drafts.write()
        assert await later.drafts.restore() == "theirs\n\nours, too"
        assert await store.draft(later.shown.session_id) == "theirs\n\nours, too"
        assert await run().drafts.restore() == "theirs\n\nours, too"


async def test_a_prompt_that_waits_is_saved_with_the_draft_also_where_nothing_was_typed(store):
    chat = ChatTurns(store)
    chat.sessions.queue.add(chat.opened, "waiting")
    await is_on_disk(store, chat.opened.session_id, "waiting")
