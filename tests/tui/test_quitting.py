"""Quitting while something cannot be saved."""

from __future__ import annotations

from unittest.mock import AsyncMock, patch

from lmchat.errors import StoreUnavailable
from lmchat.library.importer import Importer, ImportOutcome
from tests.support.desktop import hold, ready_desktop, shown
from tests.support.modes import is_private
from tests.support.scripted_backend import answer_steps

QUESTION = "Quit without saving?"


def full_disk(store):
    full = AsyncMock(side_effect=StoreUnavailable("The disk is full.", next_step="Free some room."))
    return patch.multiple(store, append=full, start_answer=full, end_answer=full)


async def test_what_cannot_be_saved_is_asked_about_and_can_be_exported_or_waited_for(tmp_path):
    scripts = [answer_steps("Alpha."), answer_steps("Beta.")]
    async with ready_desktop(tmp_path, *scripts) as desk:
        with full_disk(desk.store):
            await desk.ask("one")
            await desk.press("ctrl+q", sees=QUESTION)
            await shown(desk, "The end of “one” is not saved: The disk is full.")
            await desk.press("ctrl+q", "escape", hides=QUESTION)
            await desk.press("ctrl+q", sees=QUESTION)
            await desk.press("enter", sees="Press q to quit without saving")
            await desk.press("e", sees="Export this session")
            await desk.press("escape")
            await desk.ask("two", 2)
            await desk.press(*"typed")
            await desk.press("ctrl+q", sees=QUESTION)
            await desk.press("escape", hides=QUESTION)
            await desk.prompt_is("typed")
        await desk.press("ctrl+q")
        await desk.until(lambda: desk.app._exit, "the end")
        assert await desk.texts_on_disk() == ["one", "Alpha.", "two", "Beta."]
        assert await desk.store.draft(desk.session_id) == "typed"
        assert not list(tmp_path.glob("unsaved-*"))


async def test_at_a_signal_what_cannot_be_saved_becomes_files_that_can_be_imported(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Alpha."), asked=["one"]) as desk:
        gate = hold(desk.store, "end_answer")
        await desk.say("two", sees="Lettuce")
        await desk.app.stop_and_save()
        gate.set()
        (file,) = tmp_path.glob("unsaved-*.json")
        assert is_private(file)
        outcome = ImportOutcome()
        await Importer(desk.store).import_files([str(file)], outcome)
        (chat,) = outcome.chats
        assert chat.outcome == "imported"
        read = await desk.store.open_session(chat.header.session_id)
        texts = [message.text for message in read.messages]
        assert texts == ["one", "Alpha.", "two", "Lettuce does well."]
