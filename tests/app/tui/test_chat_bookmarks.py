from __future__ import annotations

from contextlib import aclosing

from textual import events

from lmchat.core.storage.store import Store
from tests.support.chats import fill_long
from tests.support.desktop import desktop, ready_desktop, shown
from tests.support.scripted_backend import answer_steps

LONG = "\n\n".join(f"Paragraph {number} of a long answer." for number in range(120))


async def read_up_to(desk, words: str) -> str:
    """Scroll up until some words stand on the screen, and return what stands at its top."""
    for _ in range(60):
        if words in desk.text:
            break
        desk.log_view.scroll_page_up(animate=False)
        await desk.pilot.pause()
    return desk.log_view.viewport.bookmark


async def test_each_session_keeps_its_place_within_a_run_and_for_the_next(tmp_path):
    async with ready_desktop(tmp_path, answer_steps(LONG), asked=["Tell me"]) as desk:
        first = desk.session_id
        mark = await read_up_to(desk, "Paragraph 40 ")
        assert mark.partition(" ")[0] == desk.active.messages[-1].message_id
        desk.app.post_message(events.AppBlur())
        while await desk.store.bookmark(first) != mark:
            await desk.pilot.pause()
        await desk.press("ctrl+n")
        await desk.until(lambda: desk.session_id != first, "a new session")
        desk.dispatcher.controllers.session_view.switch_to(first)
        await desk.until(lambda: desk.log_view.viewport.bookmark == mark, "the place")
    async with desktop(tmp_path, resume_id="last", size=(80, 24)) as desk:
        await desk.until(lambda: desk.log_view.viewport.bookmark == mark, "the place")
        await desk.ready()
        assert "Paragraph 119" not in desk.text


async def test_a_place_far_above_the_end_of_a_long_session_is_read_before_it_is_shown(tmp_path):
    async with aclosing(Store(tmp_path / "sessions.db")) as store:
        talk = await fill_long(store, 600)
        (header,) = await store.list_sessions()
        await store.save_bookmark(header.session_id, f"{talk[100].message_id} 0 0")
    async with desktop(tmp_path, resume_id="last") as desk:
        await shown(desk, "prompt 100")
        assert desk.log_view.viewport.bookmark.startswith(talk[100].message_id)
