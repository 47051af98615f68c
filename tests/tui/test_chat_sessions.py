from __future__ import annotations

import asyncio
import time
from unittest.mock import AsyncMock, call

from textual import events
from textual.widgets import Input

from lmchat.domain.message import AnswerState
from lmchat.errors import StoreUnavailable
from lmchat.storage.store import SqliteStore
from lmchat.tui.screens.ask_dialog import AskDialog
from lmchat.tui.screens.chat.prompt_text import SAVE_AFTER_S
from lmchat.tui.screens.search_dialog import SearchDialog
from lmchat.tui.widgets.prompt_input import PromptInput
from lmchat.tui.widgets.session_list import SessionList
from tests.support.desktop import desktop, half, hold, kept_as, ready_desktop, sent, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps


async def go_to_list(desk) -> None:
    """Give the keys to the list of sessions."""
    for _ in range(6):
        if desk.session_list.has_focus:
            return
        await desk.press("tab")
    raise AssertionError("the list never got the focus")


async def open_in_list(desk, session_id: str) -> None:
    """Go to a session by the keys of the list."""
    await go_to_list(desk)
    sessions = desk.session_list
    await desk.until(lambda: bool(sessions.chosen_id), "a list")
    await desk.press("home")
    for _ in range(20):
        if sessions.chosen_id == session_id:
            break
        await desk.press("down")
    await desk.press("enter")
    await desk.until(lambda: desk.session_id == session_id, "the session")


async def test_an_answer_streams_behind_a_new_session_and_is_marked_until_it_is_read(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce."), answer_steps("Two.")) as desk:
        await desk.say("first", sees="Let")
        first = desk.conversation
        await desk.press("ctrl+n", hides="Let")
        assert first.header.session_id in desk.app.open_sessions.streaming
        await desk.until(
            lambda: first.header.session_id in desk.session_list._state.streaming,
            "the mark in the list",
        )
        gate.set()
        await desk.until(lambda: first.header.session_id in desk.app.open_sessions.unread, "unread")
        await desk.until(
            lambda: first.header.session_id in desk.session_list._state.unread,
            "the mark in the list",
        )
        saved = (await desk.store.open_session(first.header.session_id)).messages[-1]
        assert (saved.text, saved.state) == ("Lettuce.", AnswerState.COMPLETE)
        assert "Lettuce." not in desk.text
        await open_in_list(desk, first.header.session_id)
        await shown(desk, "Lettuce.")
        assert desk.app.open_sessions.unread == set()


async def test_coming_back_shows_the_running_answer_and_follows_it(tmp_path):
    gates = [asyncio.Event(), asyncio.Event()]
    script = half("Let", gates[0], "tu")
    script[-1:] = half("ce.", gates[1], " Done.")[1:]
    async with ready_desktop(tmp_path, script) as desk:
        await desk.say("first", sees="Let")
        first = desk.conversation
        await desk.press("ctrl+n", hides="Let")
        gates[0].set()
        await open_in_list(desk, first.header.session_id)
        await shown(desk, "Lettuce.")
        gates[1].set()
        await shown(desk, "Lettuce. Done.")
        await desk.answered()
        assert await desk.texts_on_disk() == ["first", "Lettuce. Done."]


async def test_two_sessions_answer_at_once_and_both_are_saved_whole(tmp_path):
    gates = [asyncio.Event(), asyncio.Event()]
    async with ready_desktop(
        tmp_path, half("A", gates[0], "aa"), half("B", gates[1], "bb")
    ) as desk:
        await desk.say("one", sees="A")
        first = desk.conversation
        await desk.press("ctrl+n")
        await desk.say("two")
        await desk.until(lambda: len(desk.backend.requests) == 2, "both asked")
        for gate in gates:
            gate.set()
        await desk.until(lambda: not desk.app.open_sessions.streaming, "both ended")
        await desk.app.open_sessions.save_all()
        assert [
            m.text for m in (await desk.store.open_session(first.header.session_id)).messages
        ] == [
            "one",
            "Aaa",
        ]
        assert await desk.texts_on_disk() == ["two", "Bbb"]


async def test_a_queue_goes_out_in_its_own_session_while_another_is_shown(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("A", gate), answer_steps("B")) as desk:
        await desk.say("one")
        await desk.say("two")
        first = desk.conversation
        await desk.press("ctrl+n", "x")
        assert "next" not in desk.text
        gate.set()
        await desk.until(
            lambda: len(desk.backend.requests) == 2 and not desk.app.open_sessions.streaming,
            "both answered",
        )
        await desk.app.open_sessions.save_all()
        stored = (await desk.store.open_session(first.header.session_id)).messages
        assert [m.text for m in stored] == ["one", "A", "two", "B"]
        assert desk.prompt_input.text == "x"


async def test_changing_a_title_begins_with_the_title_of_the_session_that_was_chosen(tmp_path):
    async with ready_desktop(tmp_path, asked=["first"]) as desk:
        first = desk.session_id
        await desk.press("ctrl+n")

        def listed() -> list[str]:
            return [
                header.session_id
                for group in desk.chat.sessions._groups
                for header in group.headers
            ]

        await desk.until(lambda: first in listed(), "the first session in the list")
        desk.session_list.post_message(SessionList.ActWanted("rename", first))
        await shown(desk, "Rename session")
        await desk.until(lambda: desk.app.screen.query_one(Input).value == "first", "its title")


async def test_what_was_sent_while_the_draft_of_the_last_run_was_read_does_not_come_back(tmp_path):
    store = SqliteStore(tmp_path / "sessions.db")
    gate = hold(store, "draft")
    store.draft = AsyncMock(wraps=store.draft)
    async with ready_desktop(tmp_path, store=store) as desk:
        await desk.until(lambda: store.draft.called, "a look for the draft")
        await desk.type("hi")
        await desk.until(lambda: desk.app.open_sessions.drafts.text("") == "hi", "the draft")
        desk.prompt_input.put("")  # as Enter does; that the draft is over is told a little later
        gate.set()
        await desk.pilot.pause()
        await desk.type("x")
        await desk.until(
            lambda: desk.app.open_sessions.drafts.text("") == desk.prompt_input.text, "a draft"
        )
        assert desk.prompt_input.text == "x"


async def test_a_draft_stays_with_its_session(tmp_path):
    async with ready_desktop(tmp_path, asked=["first"]) as desk:
        first = desk.session_id
        await desk.press("a", "b")
        await desk.press("ctrl+n")
        assert desk.prompt_input.text == ""
        await desk.press("n", "e", "w")
        await open_in_list(desk, first)
        await desk.prompt_is("ab")
        await desk.press("ctrl+n")
        await desk.prompt_is("new")


async def test_what_is_typed_is_on_the_disk_a_moment_later_and_written_at_most_five_times_a_second(
    desk,
):
    began_s = time.monotonic()
    save = desk.store.save_draft = AsyncMock(wraps=desk.store.save_draft)
    for letter in "abcdefghijklmnopqrst":
        await desk.press(letter)
    await desk.until(lambda: save.await_args == call("", "abcdefghijklmnopqrst"), "the draft")
    assert await desk.store.draft("") == "abcdefghijklmnopqrst"
    assert save.await_count <= (time.monotonic() - began_s) / SAVE_AFTER_S + 1
    assert SAVE_AFTER_S < 0.25


async def test_what_was_sent_stays_a_draft_until_it_is_on_the_disk_as_a_prompt(desk):
    gate = hold(desk.store, "append")
    await desk.say("first")
    await desk.until(lambda: desk.app.open_sessions.shown.is_busy, "the turn")
    await desk.until(lambda: desk.chat.prompt_text._save_timer is not None, "the timer")
    began = desk.chat.prompt_text._save_timer
    await desk.until(lambda: desk.chat.prompt_text._save_timer is not began, "its end")
    assert desk.chat.prompt_text._save_timer is not None
    gate.set()
    await desk.answered()
    await desk.until(lambda: desk.chat.prompt_text._save_timer is None, "the write")
    assert await desk.store.draft("") == ""


async def test_what_goes_out_behind_another_session_is_no_draft_any_more_and_what_is_typed_there_stays(
    tmp_path,
):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce."), answer_steps("Two.")) as desk:
        await desk.say("first", sees="Let")
        await desk.say("second")
        await desk.type("typed")
        session_id = desk.session_id
        await desk.press("ctrl+n")
        await desk.until(lambda: desk.session_id != session_id, "a new session")
        await kept_as(desk, session_id, "second\n\ntyped")
        gate.set()
        await kept_as(desk, session_id, "typed")
        assert [message.text for message in desk.backend.requests[-1].messages][-1] == "second"


async def test_ctrl_n_in_a_session_not_yet_begun_keeps_what_is_typed(desk):
    await desk.press("a", "b", "ctrl+n")
    assert desk.prompt_input.text == "ab"


async def test_what_was_typed_is_there_after_a_restart_and_not_once_it_was_sent(tmp_path):
    async with ready_desktop(tmp_path) as desk:
        await desk.press("a", "b")
    async with desktop(tmp_path) as desk:
        await desk.prompt_is("ab")
        await desk.ready()
        await desk.press("enter")
        await desk.answered()
    async with ready_desktop(tmp_path) as desk:
        assert desk.prompt_input.text == ""
        await desk.until(lambda: bool(desk.prompt_input.history_of_prompts), "earlier prompts")
        await desk.press("up")
        assert desk.prompt_input.text == "ab"


async def test_no_failing_disk_loses_a_draft(tmp_path):
    async with ready_desktop(tmp_path, asked=["first"]) as desk:
        first = desk.session_id
        desk.store.save_draft = desk.store.draft = AsyncMock(
            side_effect=StoreUnavailable("It is full.")
        )
        await desk.press("a", "b", "ctrl+n")
        assert desk.prompt_input.text == ""
        await open_in_list(desk, first)
        await desk.prompt_is("ab")


async def test_deleting_the_shown_session_while_it_streams_stops_it_and_u_brings_it_back(tmp_path):
    async with ready_desktop(tmp_path, half("Let")) as desk:
        await desk.say("first", sees="Let")
        first = desk.session_id
        await desk.until(lambda: desk.session_list.chosen_id == first, "the list")
        await go_to_list(desk)
        await desk.press("d")
        await desk.until(lambda: desk.session_id != first, "a new session")
        assert desk.backend.stopped == 1
        await desk.press("u")
        await desk.until(lambda: desk.session_list.chosen_id == first, "the session in the list")
        stored = (await desk.store.open_session(first)).messages[-1]
        assert (stored.text, stored.state) == ("Let", AnswerState.STOPPED)


async def test_a_title_is_changed_by_command_and_by_key(tmp_path):
    async with ready_desktop(tmp_path, asked=["first"]) as desk:
        await desk.say("/title The garden", sees="The garden")
        await desk.say("/title")
        await desk.press("enter", leads_to=AskDialog)
        await desk.press("!", "enter")
        await desk.until(lambda: desk.conversation.header.title == "The garden!", "the title")
        stored = await desk.store.open_session(desk.session_id)
        assert stored.header.title == "The garden!"


async def test_a_title_that_another_window_gave_is_shown_when_this_one_gets_the_focus(tmp_path):
    async with ready_desktop(tmp_path, asked=["first"]) as desk:
        await desk.store.update_session(desk.session_id, {"title": "Given elsewhere"})
        desk.app.post_message(events.AppFocus())
        await desk.until(lambda: desk.conversation.header.title == "Given elsewhere", "the title")
        await desk.until(lambda: desk.text.count("Given elsewhere") == 2, "head line and list")


async def test_the_list_says_what_was_done_and_how_it_is_undone(tmp_path):
    async with ready_desktop(tmp_path, asked=["first"]) as desk:
        await go_to_list(desk)
        await desk.until(lambda: bool(desk.session_list.chosen_id), "a list")
        await desk.press("a", sees="Archived; a restores it.")
        assert "Today" not in desk.text
        await desk.press("a", sees="Restored from the archive.")
        await shown(desk, "Today")
        await desk.press("p", sees="Pinned.")
        await desk.press("d", sees="In the trash; u restores it.")
        await desk.until(lambda: not desk.session_list.chosen_id, "an empty list")
        await desk.press("u", sees="Restored.")
        await desk.until(lambda: bool(desk.session_list.chosen_id), "the session")
        await desk.press("u", sees="Nothing to undo.")


async def test_a_deleted_session_stays_in_the_trash_though_it_answers_behind_another(tmp_path):
    async with ready_desktop(tmp_path, half("Let", asyncio.Event())) as desk:
        await desk.say("first", sees="Let")
        await desk.say("queued")
        first = desk.chat.sessions.opened
        await desk.press("ctrl+n", hides="Let")
        await go_to_list(desk)
        sessions = desk.session_list
        await desk.until(lambda: sessions.chosen_id == first.session_id, "the session in the list")
        await desk.press("d", sees="In the trash; u restores it.")
        assert desk.backend.stopped == 1
        assert first.queue == []
        assert desk.app.open_sessions.drafts.text(first.session_id) == "queued"
        saved = await desk.store.open_session(first.session_id)
        assert saved.header.deleted_at is not None
        assert [message.text for message in saved.messages] == ["first", "Let"]


async def test_queued_prompts_return_and_stay_saved_if_a_deletion_fails(tmp_path):
    async with ready_desktop(tmp_path, half("Let", asyncio.Event())) as desk:
        await desk.say("first", sees="Let")
        await desk.say("queued", sees="next  queued")
        failure = StoreUnavailable("The file is locked.")
        desk.store.delete_message = AsyncMock(side_effect=failure)
        await desk.say("/delete", sees="The file is locked.")
        assert desk.prompt_input.text == "queued"
        await kept_as(desk, desk.session_id, "queued")


async def test_a_title_that_a_session_gets_while_it_answers_behind_another_stays(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce.")) as desk:
        await desk.say("first", sees="Let")
        first = desk.chat.sessions.opened
        await desk.press("ctrl+n", hides="Let")
        await desk.chat.saved_sessions.act("rename", first.session_id, "The garden")
        await open_in_list(desk, first.session_id)
        assert desk.conversation is first.conversation
        assert desk.conversation.header.title == "The garden"
        gate.set()
        await shown(desk, "Lettuce.")


async def test_what_was_found_last_is_replaced_by_what_is_typed(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Lettuce."), asked=["first"]) as desk:
        await desk.press("ctrl+f", *"chard", sees="no hits")
        await desk.press("escape", "ctrl+f", *"tuce", sees="1/1")


async def test_search_opens_the_exact_message_and_letters_are_typed(tmp_path):
    backend = ScriptedBackend(answer_steps("Lettuce."), answer_steps("Chives and more."))
    async with ready_desktop(tmp_path, asked=["first", "herbs"], backend=backend) as desk:
        await desk.press("ctrl+n", hides="Lettuce.")
        await desk.press("ctrl+k", leads_to=SearchDialog)
        await desk.press(*"chives", sees="and more.")
        await desk.press("enter")
        await desk.until(lambda: desk.log_view.focused_message is not None, "the message")
        assert desk.log_view.focused_message.text == "Chives and more."
        assert desk.log_view.finder.standing == (1, 1)
        await desk.press(*"does it", sees="does it")
        assert desk.app.focused is desk.prompt_input
        await desk.press("shift+tab")
        assert desk.app.focused is desk.log_view
        assert desk.log_view.focused_message.text == "Chives and more."
        await desk.press("escape")
        assert not desk.log_view.finder.is_active


async def test_a_hit_in_a_session_that_streams_shows_the_running_answer(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce.")) as desk:
        await desk.say("garden", sees="Let")
        await desk.say("queued")
        first = desk.conversation
        await desk.press("ctrl+n", hides="next")
        await desk.press("ctrl+k", *"garden")
        await desk.until(
            lambda: isinstance(desk.app.screen, SearchDialog) and "garden" in desk.text
        )
        await desk.pilot.pause(0.2)
        await desk.press("enter")
        await desk.until(lambda: desk.conversation is first, "the live session")
        await shown(desk, "next")
        gate.set()
        await shown(desk, "Lettuce.")
        await desk.answered(2)
        assert sent(desk.backend) == ["garden", "queued"]


async def test_there_is_nothing_to_export_in_an_empty_session(tmp_path):
    async with desktop(tmp_path) as desk:
        await desk.press("ctrl+e", sees="nothing to export")
        assert isinstance(desk.app.focused, PromptInput)
