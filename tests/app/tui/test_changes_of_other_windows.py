from __future__ import annotations

import asyncio
from contextlib import aclosing, asynccontextmanager

from msgspec.structs import replace
from textual.events import AppFocus

from lmchat.core.sessions.message import AnswerState, AnswerStats, TextPart
from lmchat.core.storage.store import Store
from tests.support.chats import START, answer, header, say
from tests.support.desktop import gone, ready_desktop, shown
from tests.support.scripted_backend import answer_steps


@asynccontextmanager
async def beside_a_running_answer(tmp_path, *scripts):
    """A screen that shows an answer of another lmchat, the store of that, and the answer."""
    session = header("Elsewhere")
    async with aclosing(Store(tmp_path / "sessions.db")) as store:
        asked = await say(store, session, "Go on.", None)
        theirs = answer(parent=asked, state=AnswerState.STREAMING)
        await store.start_answer(session.session_id, theirs)
        async with ready_desktop(tmp_path, *scripts, resume_id=session.session_id) as desk:
            await shown(desk, "another lmchat is writing this")
            await store.add_entries(theirs.message_id, [("text", "half of it")])
            yield desk, store, theirs


async def test_the_text_of_another_window_that_was_killed_is_shown_soon(tmp_path):
    async with beside_a_running_answer(tmp_path) as (desk, store, _):
        await store.aclose()  # as a kill: the file of the answer stays, without its lock
        await shown(desk, "half of it", "lmchat ended while this answer was streaming", "/continue")
        assert desk.active.messages[-1].text == "half of it"
        await gone(desk, "another lmchat")


async def test_what_another_window_adds_is_shown_soon_and_moves_nothing_that_is_read(tmp_path):
    async with beside_a_running_answer(tmp_path) as (desk, store, theirs):
        parts = (TextPart(text="all of it. " * 900 + "That is all."),)
        final = replace(theirs, parts=parts, state=AnswerState.COMPLETE)
        session_id = desk.session_id
        await store.end_answer(session_id, final)
        await shown(desk, "That is all.")
        await gone(desk, "another lmchat")

        async def gets_the_focus():
            desk.app.post_message(AppFocus())
            await desk.rests()

        await desk.press("home", hides="That is all.")
        await desk.press("ctrl+f")
        rows = desk.log_rows
        focused = desk.app.focused
        news = await say(store, desk.active.header, "And they went on.", theirs)
        await gets_the_focus()
        assert (desk.log_rows, desk.app.focused) == (rows, focused)
        await desk.press("escape")
        await desk.press("end", "alt+up", sees="And they went on.")
        await gets_the_focus()
        assert desk.log_view.has_focus

        await desk.press("e", sees="Esc cancel edit")
        await say(store, desk.active.header, "Much farther.", news)
        await gets_the_focus()
        assert desk.texts[-1] == "And they went on."
        view = desk.dispatcher.controllers.session_view
        looking = asyncio.create_task(view.catch_up())
        await asyncio.sleep(0)
        view.start_new()  # before it was read
        await looking
        assert desk.texts == []

        await desk.open_in_list(session_id)
        await store.update_session(session_id, {"deleted_at": START})
        await gets_the_focus()
        assert "trash" not in desk.text


async def test_opened_again_it_can_be_continued_where_it_lacks_its_end(tmp_path):
    async with beside_a_running_answer(tmp_path, answer_steps("mine")) as (desk, store, theirs):
        session_id = desk.session_id
        await desk.press("ctrl+n")
        parts = (TextPart(text="half of "),)
        stats = AnswerStats(finish_reason="stop")
        final = replace(theirs, parts=parts, state=AnswerState.STOPPED, stats=stats)
        await store.end_answer(session_id, final)
        desk.dispatcher.controllers.session_view.switch_to(session_id)
        await shown(desk, "/continue")
        await desk.press("alt+up", "a")
        await desk.until(lambda: desk.active.messages[-1].text == "half of mine", "the rest")
