"""Quitting while something cannot be saved."""

from __future__ import annotations

import sqlite3
from contextlib import aclosing, closing

import pytest

from lmchat.core.library.importer import Importer, ImportOutcome
from lmchat.core.storage.store import Store
from tests.support.desktop import full_disk, ready_desktop, shown
from tests.support.modes import is_private
from tests.support.scripted_backend import answer_steps, hold

QUESTION = "Quit without saving?"


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


@pytest.mark.parametrize("ends", ["without saving", "at a signal"])
async def test_of_answers_that_the_database_does_not_take_nothing_stays_beside_it(tmp_path, ends):
    path = tmp_path / "sessions.db"
    with closing(sqlite3.connect(path)) as newer:
        newer.execute("pragma user_version = 10000")
    async with ready_desktop(tmp_path, answer_steps("Alpha."), answer_steps("Beta.")) as desk:
        await desk.ask("one")
        await desk.ask("two", 2)
        assert len([*tmp_path.glob("*-answer-*")]) == 2
        if ends == "at a signal":
            await desk.app.stop_and_save()
        else:
            await desk.press("ctrl+q", sees=QUESTION)
            await desk.press("q")
            await desk.until(lambda: desk.app._exit, "the end")
        assert len([*tmp_path.glob("unsaved-*.json")]) == (ends == "at a signal")
        assert not [*tmp_path.glob("*-answer-*")]
    with closing(sqlite3.connect(path)) as older:
        older.execute("pragma user_version = 0")
    async with aclosing(Store(path)) as store:
        assert await store.list_sessions() == ()


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
