from __future__ import annotations

from unittest.mock import AsyncMock, call

from textual import events

from lmchat.tui.widgets.chat_log.viewport import parse_bookmark
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


async def test_another_run_shows_what_was_read(tmp_path):
    async with ready_desktop(tmp_path, answer_steps(LONG), asked=["Tell me"]) as desk:
        mark = await read_up_to(desk, "Paragraph 40 ")
        assert parse_bookmark(mark)[0] == desk.conversation.messages[-1].message_id
    async with desktop(tmp_path, resume_id="last", size=(80, 24)) as desk:
        await desk.until(lambda: desk.log_view.viewport.bookmark == mark, "the place")
        await desk.ready()
        assert "Paragraph 119" not in desk.text


async def test_within_a_run_each_session_keeps_its_place(tmp_path):
    async with ready_desktop(tmp_path, answer_steps(LONG), asked=["Tell me"]) as desk:
        first = desk.session_id
        mark = await read_up_to(desk, "Paragraph 40 ")
        await desk.press("ctrl+n")
        await desk.until(lambda: desk.session_id != first, "a new session")
        desk.chat.sessions.switch_to(first)
        await desk.until(lambda: desk.log_view.viewport.bookmark == mark, "the place")


async def test_the_reading_position_is_on_the_disk_when_the_terminal_loses_the_focus(tmp_path):
    async with ready_desktop(tmp_path, answer_steps(LONG), asked=["Tell me"]) as desk:
        save = desk.store.save_bookmark = AsyncMock(wraps=desk.store.save_bookmark)
        mark = await read_up_to(desk, "Paragraph 40 ")
        desk.app.post_message(events.AppBlur())
        wanted = [call(desk.session_id, mark)]
        await desk.until(lambda: save.await_args_list == wanted, "the write")


async def test_a_place_far_above_the_end_of_a_long_session_is_read_before_it_is_shown(tmp_path):
    async with desktop(tmp_path) as desk:
        talk = await fill_long(desk.store, 600)
        (header,) = await desk.store.list_sessions()
        await desk.store.save_bookmark(header.session_id, f"{talk[100].message_id} 0 0")
    async with desktop(tmp_path, resume_id="last") as desk:
        await shown(desk, "prompt 100")
        assert desk.log_view.viewport.bookmark.startswith(talk[100].message_id)


async def test_an_invalid_bookmark_shows_the_end(tmp_path):
    async with ready_desktop(
        tmp_path, answer_steps("Short."), asked=["Tell me"], size=(80, 24)
    ) as desk:
        for mark in ("nonsense", "a b c d", "x -9 -9", "\x1b[2J 1 1", "m ² 0", "1 2 3", "gone 0 0"):
            assert not desk.log_view.go_to_bookmark(mark)
            assert desk.log_view.viewport.is_following
        await desk.store.save_bookmark(desk.session_id, mark)
    async with desktop(tmp_path, resume_id="last") as desk:
        await shown(desk, "Short.")


async def test_a_block_that_is_no_more_is_the_end_of_its_message(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Short."), asked=["Tell me"]) as desk:
        assert desk.log_view.go_to_bookmark(f"{desk.conversation.messages[0].message_id} 99 999")
        assert "Short." in desk.text
