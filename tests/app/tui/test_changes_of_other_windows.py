from __future__ import annotations

from contextlib import aclosing, asynccontextmanager

from msgspec.structs import replace
from textual.events import AppFocus

from lmchat.core.sessions.message import AnswerState, AnswerStats, TextPart
from lmchat.core.storage.store import Store
from tests.support.chats import answer, header, say
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


async def test_the_end_of_an_answer_of_another_window_is_shown_soon(tmp_path):
    async with beside_a_running_answer(tmp_path) as (desk, store, theirs):
        final = replace(theirs, parts=(TextPart(text="all of it"),), state=AnswerState.COMPLETE)
        await store.end_answer(desk.active.session_id, final)
        await shown(desk, "all of it")
        await gone(desk, "another lmchat")

        await say(store, desk.active.header, "And they went on.", theirs)
        desk.app.post_message(AppFocus())
        await shown(desk, "And they went on.")


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
