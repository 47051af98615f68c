from __future__ import annotations

import asyncio
from contextlib import aclosing
from unittest.mock import AsyncMock

from lmchat.chat.events import AnswerBegun, MessageAdded
from lmchat.chat.saved_texts import SavedTexts
from lmchat.chat.service import ChatService
from lmchat.config.settings import ChatSettings
from lmchat.errors import StoreUnavailable
from tests.support.chat_turns import ChatTurns
from tests.support.chats import store_at
from tests.support.desktop import hold
from tests.support.scripted_backend import ScriptedBackend, answer_steps


async def is_on_disk(store, draft: str) -> None:
    while await store.draft("a") != draft:  # noqa: ASYNC110 - the disk sends no event
        await asyncio.sleep(0)


async def test_a_draft_is_loaded_once_and_written_soon_with_what_waits_if_it_has_changed(store):
    await store.save_draft("a", "old")
    save = AsyncMock(wraps=store.save_draft)
    waiting: list[str] = []
    drafts = SavedTexts(store.draft, save, lambda _: waiting)
    assert await drafts.load("a") == "old"
    for letters in ("n", "ne", "new"):
        drafts.change("a", letters)
    assert await drafts.load("a") == "new"
    await is_on_disk(store, "new")
    assert save.await_count == 1
    waiting += ["first", "second"]
    drafts.write_soon()
    await is_on_disk(store, "first\n\nsecond\n\nnew")
    assert drafts.text("a") == "new"
    waiting.clear()  # they are messages now
    drafts.change("a", "")
    await drafts.write()
    await drafts.write()
    assert await store.draft("a") == ""
    assert save.await_count == 3


async def test_a_failing_disk_costs_nothing_that_is_in_memory_and_is_tried_again(store):
    full = StoreUnavailable("no")
    save = AsyncMock(wraps=store.save_draft, side_effect=[full, None])
    drafts = SavedTexts(AsyncMock(side_effect=full), save)
    assert await drafts.load("a") == ""
    drafts.change("a", "x")
    await drafts.write()
    await drafts.write()
    assert save.await_args_list[1].args == ("a", "x")


async def test_a_sent_prompt_stays_in_the_draft_until_it_is_a_row(store):
    turns = ChatTurns(store, answer_steps("Lettuce."))
    drafts, session_id = turns.sessions.drafts, turns.opened.session_id
    gate = hold(store, "append")
    drafts.change(session_id, "next")
    turns.sessions.send(turns.opened, "What grows?")
    await turns.until(MessageAdded)
    await drafts.write()
    assert await store.draft(session_id) == "What grows?\n\nnext"
    gate.set()
    await turns.until(AnswerBegun)
    await drafts.write()
    assert await store.draft(session_id) == "next"
    await turns.wait()


async def test_no_lmchat_overwrites_the_draft_of_another_and_the_next_one_gets_them_all(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:

        def run() -> ChatService:
            return ChatService(chat=ChatSettings(), backend=ScriptedBackend(), store=store)

        ours, theirs, later = run(), run(), run()
        for sessions, text in ((ours, "ours"), (theirs, "theirs"), (ours, "ours, too")):
            sessions.drafts.change(sessions.shown.session_id, text)
            await sessions.drafts.write()
        assert await later.restore_draft() == "theirs\n\nours, too"
        assert await store.draft(later.shown.session_id) == "theirs\n\nours, too"
        assert await run().restore_draft() == "theirs\n\nours, too"
