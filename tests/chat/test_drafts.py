from __future__ import annotations

from contextlib import aclosing
from unittest.mock import AsyncMock

import pytest

from lmchat.chat.drafts import SavedTexts
from lmchat.chat.open_sessions import OpenSessions
from lmchat.config.settings import ChatSettings
from lmchat.errors import StoreUnavailable
from tests.support.chats import store_at
from tests.support.scripted_backend import ScriptedBackend


async def test_a_draft_is_loaded_once_and_written_with_what_waits_when_it_has_changed(store):
    await store.save_draft("a", "old")
    save = AsyncMock(wraps=store.save_draft)
    drafts = SavedTexts(store.draft, save)
    assert await drafts.load("a") == "old"
    drafts.note("a", "new")
    assert await drafts.load("a") == "new"
    for text, queued, kept in (
        ("new", [], "new"),
        ("typed", ["first", "second"], "first\n\nsecond\n\ntyped"),
        ("", [], ""),  # it was sent
    ):
        drafts.note("a", text, queued)
        await drafts.write()
        await drafts.write()
        assert await store.draft("a") == kept
        assert drafts.text("a") == text
    assert save.await_count == 3


async def test_a_failing_disk_costs_nothing_that_is_in_memory_and_is_tried_again(store):
    full = StoreUnavailable("no")
    save = AsyncMock(wraps=store.save_draft, side_effect=[full, None])
    drafts = SavedTexts(AsyncMock(side_effect=full), save)
    assert await drafts.load("a") == ""
    drafts.note("a", "x")
    with pytest.raises(StoreUnavailable):
        await drafts.write()
    await drafts.write()
    assert save.await_args_list[1].args == ("a", "x")


async def test_no_lmchat_overwrites_the_draft_of_another_and_the_next_one_gets_them_all(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:

        def run() -> OpenSessions:
            return OpenSessions(chat=ChatSettings(), server=ScriptedBackend(), store=store)

        ours, theirs, later = run(), run(), run()
        for sessions, text in ((ours, "ours"), (theirs, "theirs"), (ours, "ours, too")):
            sessions.drafts.note(sessions.shown.session_id, text)
            await sessions.drafts.write()
        assert await later.restore_draft() == "theirs\n\nours, too"
        assert await store.draft(later.shown.session_id) == "theirs\n\nours, too"
        assert await run().restore_draft() == "theirs\n\nours, too"
