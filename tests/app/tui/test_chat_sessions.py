from __future__ import annotations

import asyncio
import re
from contextlib import aclosing
from unittest.mock import AsyncMock

from textual.widgets import Input

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.widgets.session_list import SessionList
from lmchat.core.servers.events import TextDelta
from lmchat.core.storage.store import Store
from tests.support.desktop import ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps, half, hold


async def test_an_answer_streams_behind_a_new_session_and_is_marked_until_it_is_read(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce.")) as desk:
        await desk.say("first", sees="Let")
        session_id = desk.session_id
        await desk.press("ctrl+n", hides="Let")
        speedometer = desk.dispatcher.controllers.status.speedometer
        assert speedometer.values(desk.workspace.clock() + 1) == ()
        await desk.until(lambda: re.search(r"↓ \d\d:\d\d", desk.text), "the mark")
        gate.set()
        await desk.until(lambda: re.search(r"• new \d\d:\d\d", desk.text), "the mark")
        assert "Lettuce." not in desk.text
        await desk.open_in_list(session_id)
        await shown(desk, "Lettuce.")
        assert desk.chat.open_sessions.unread == set()


async def test_neither_letters_nor_words_of_an_answer_nor_the_timer_read_the_list(
    tmp_path, monkeypatch
):
    gates = [asyncio.Event(), asyncio.Event()]
    words = [step for gate in gates for step in (gate, TextDelta(text="more "))]
    async with ready_desktop(tmp_path, [*half("Let", gates[0])[:2], *words, *half("")[2:]]) as desk:
        await desk.say("first", sees="Let")
        await desk.until(lambda: "↓" in desk.text, "the mark")
        await desk.pilot.pause()
        library = desk.dispatcher.workspace.library
        groups = AsyncMock(side_effect=library.groups)
        monkeypatch.setattr(library, "groups", groups)
        for count, gate in enumerate(gates, 1):
            await desk.type("x")
            typed = "x" * count
            await desk.until(lambda: desk.chat.drafts.text(desk.session_id) == typed, "the draft")  # noqa: B023
            await desk.chat.drafts.write()
            gate.set()
            await shown(desk, "more " * (count - 1) + "more")
            desk.dispatcher.controllers.status.tick()
            await desk.pilot.pause()
        groups.assert_not_called()


async def test_a_session_without_messages_can_be_deleted_and_keeps_a_title_for_its_first_prompt(
    tmp_path,
):
    async with ready_desktop(tmp_path, answer_steps("A"), answer_steps("B"), asked=["one"]) as desk:
        await desk.press("alt+up", "alt+up", "d", sees="Deleted, with everything after it.")
        assert desk.texts == []
        await desk.go_to_list()
        await desk.press("p", sees="Pinned.")
        await desk.press("d", sees="In the trash; u restores it.")
        assert await desk.store.list_sessions() == ()
        await desk.press("escape")
        await desk.ask("two")
        assert [session.title for session in await desk.store.list_sessions()] == ["two"]

        first = desk.session_id
        await desk.press("ctrl+n", sees="New session")
        await desk.say("/title  Peas and  beans", sees="Renamed.")
        await shown(desk, "Peas and beans")
        titled = desk.session_id
        desk.dispatcher.controllers.session_view.switch_to(first)
        await desk.until(lambda: desk.session_id == first, "the other session")
        await desk.press("ctrl+n", sees="Peas and beans")
        await desk.press("ctrl+n")
        assert desk.session_id == titled, "it has no prompt yet, so it stays the new one"
        await desk.ask("two")
        assert (await desk.store.open_session(titled)).header.title == "Peas and beans"
        await desk.press("ctrl+n", sees="New session")


async def test_a_title_is_changed_by_command_and_key_and_the_list_says_how_a_deletion_is_undone(
    tmp_path,
):
    async with ready_desktop(tmp_path, asked=["first"]) as desk:
        first = desk.session_id
        await desk.say("/title The garden", sees="The garden")
        await desk.say("/title", leads_to=AskDialog)
        await desk.press("!", "enter")
        await desk.until(lambda: desk.active.header.title == "The garden!", "the title")
        assert (await desk.store.open_session(first)).header.title == "The garden!"
        await desk.store.update_session(first, {"title": "Given elsewhere"})
        await desk.press("ctrl+n")
        desk.session_list.post_message(SessionList.ActRequested("session.rename", first))
        await shown(desk, "Rename session")
        await desk.until(
            lambda: desk.app.screen.query_one(Input).value == "Given elsewhere", "its title"
        )
        await desk.press("escape", leads_to=ChatScreen)
        await desk.rests()
        assert (await desk.store.open_session(first)).header.title == "Given elsewhere"

        await desk.go_to_list()
        await desk.until(lambda: bool(desk.session_list.chosen_id), "a list")
        assert "u undo" not in desk.text
        assert "Enter open" in desk.text
        await desk.press("d", sees="In the trash; u restores it.")
        await desk.until(lambda: not desk.session_list.chosen_id, "an empty list")
        await shown(desk, "u undo")
        assert "Enter open" not in desk.text, "no key has a session to act on"
        await desk.press("u", sees="Restored.", hides="u undo")
        await desk.until(lambda: bool(desk.session_list.chosen_id), "the session")
        await desk.press("u", sees="Nothing to undo.")


ACTS = (
    ("p", "is_pinned", "Pinned.", "Unpinned."),
    ("a", "is_archived", "Archived; a restores it.", "Restored from the archive."),
)


async def test_a_key_sets_the_opposite_of_what_the_list_shows_whatever_memory_and_disk_have(
    tmp_path,
):
    async with (
        aclosing(Store(tmp_path / "sessions.db")) as other_window,
        ready_desktop(tmp_path, asked=["first"]) as desk,
    ):
        session_id = desk.session_id
        await desk.go_to_list()
        await desk.until(lambda: bool(desk.session_list.chosen_id), "a list")
        for key, field, on, off in ACTS:
            await other_window.update_session(session_id, {field: True})
            desk.dispatcher.controllers.saved_sessions.reload()
            await desk.until(lambda: "Today" not in desk.text, "another group")
            await desk.press(key, sees=off)
            assert not getattr((await desk.store.open_session(session_id)).header, field)
            await desk.press(key, sees=on)
            await desk.press(key, sees=off)
            await shown(desk, "Today")
        await other_window.update_session(session_id, {"is_pinned": True})
        desk.dispatcher.controllers.saved_sessions.reload()
        await desk.until(lambda: "Today" not in desk.text, "another group")
        await other_window.update_session(session_id, {"is_pinned": False})
        await desk.press("p", sees="Unpinned.")


async def test_undo_shows_a_deleted_session_again_if_it_was_shown_and_nothing_was_begun_since(
    tmp_path,
):
    async with ready_desktop(
        tmp_path, *map(answer_steps, ("Beans.", "Peas.", "Kale.")), asked=["first"]
    ) as desk:
        first = desk.session_id
        await desk.press("ctrl+n")
        await desk.ask("second")
        second = desk.session_id
        await desk.go_to_list()
        await desk.until(lambda: desk.session_list.chosen_id == second, "the shown session")
        await desk.press("d", sees="In the trash; u restores it.", hides="Peas.")
        await desk.until(lambda: desk.session_list.chosen_id == first, "the other session")
        await desk.press("d")
        await desk.until(lambda: not desk.session_list.chosen_id, "an empty list")
        await desk.press("u")
        await desk.until(lambda: desk.session_list.chosen_id == first, "the other session")
        assert desk.session_id not in (first, second), "it was not shown when it was deleted"
        await desk.press("u", sees="Peas.")
        assert desk.session_id == second
        assert desk.chat_screen.focused is desk.session_list

        await desk.press("up")
        await desk.until(lambda: desk.session_list.chosen_id == second, "the shown session")
        await desk.press("d", sees="In the trash; u restores it.", hides="Peas.")
        await desk.press("escape")
        await desk.ask("third")
        third = desk.session_id
        await desk.go_to_list()
        await desk.press("u", sees="Restored.")
        await desk.at_rest()
        assert desk.session_id == third


async def test_deleting_a_session_stops_its_answer_and_keeps_its_queue_as_a_draft(tmp_path):
    async with ready_desktop(tmp_path, half("Let")) as desk:
        sessions = desk.session_list
        await desk.say("first", sees="Let")
        await desk.say("queued", sees="next")
        first = desk.chat.active
        await desk.until(lambda: sessions.chosen_id == first.session_id, "the list")
        await desk.go_to_list()
        await desk.press("d", sees="In the trash; u restores it.")
        assert desk.session_id != first.session_id
        assert desk.backend.stopped == 1
        assert (first.queue.drafts, sent(desk.backend)) == ((), ["first"])
        assert desk.chat.drafts.text(first.session_id) == "queued"


async def test_search_opens_the_exact_message_also_in_a_session_that_streams(tmp_path):
    gate = asyncio.Event()
    scripts = answer_steps("Lettuce."), answer_steps("Chives and more."), half("Kale", gate, " on.")
    async with ready_desktop(tmp_path, *scripts) as desk:
        await desk.ask("first")
        await desk.ask("herbs", 2)
        await desk.press("ctrl+n", hides="Lettuce.")
        await desk.press("ctrl+k", leads_to=SearchDialog)
        await desk.type("chives")
        await shown(desk, "and more.")
        await desk.press("enter")
        await desk.until(lambda: desk.log_view.focused_message is not None, "the message")
        assert desk.log_view.focused_message.text == "Chives and more."
        assert desk.log_view.finder.number_and_count == (1, 1)

        await desk.press("ctrl+n", hides="Chives")
        await desk.say("garden", sees="Kale")
        await desk.say("queued", sees="next")
        streaming = desk.active
        await desk.press("ctrl+n", hides="next")
        await desk.press("ctrl+k", leads_to=SearchDialog)
        await desk.type("garden")
        await shown(desk, "1 hit in 1 session")
        await desk.press("enter")
        await desk.until(lambda: desk.active is streaming, "the live session")
        await shown(desk, "next")
        # Esc does not stop the turn in the find bar and in the filter
        await desk.press("ctrl+f")
        await desk.type("Kale")
        await shown(desk, "\n  Tab go to hit  Esc close")
        await desk.press("escape", "ctrl+b", "slash", sees="Enter open  Esc clear")
        await desk.type("zz")
        await shown(desk, "Enter search  Esc clear filter")
        gate.set()
        await shown(desk, "Kale on.")
        await desk.answered(2)
        assert sent(desk.backend)[2:] == ["garden", "queued"]


async def test_who_begins_a_session_while_another_is_read_or_copied_is_not_thrown_back(tmp_path):
    async with ready_desktop(tmp_path, answer_steps(), asked=["one"]) as desk:
        first = desk.session_id
        gate = hold(desk.store, "fork")
        await desk.say("/fork")
        await desk.say("/new")
        await desk.until(lambda: desk.session_id != first, "a new session")
        here = desk.session_id
        gate.set()
        await desk.until(lambda: desk.text.count(" one") > 1, "the fork in the list")
        assert desk.session_id == here
        gate = hold(desk.store, "open_session")
        desk.dispatcher.controllers.session_view.switch_to(first)
        await desk.pilot.pause()
        await desk.say("/new")
        gate.set()
        await desk.pilot.pause()
        await desk.at_rest()
        assert desk.session_id == here
