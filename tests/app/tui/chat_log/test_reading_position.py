"""While one reads, nothing moves by itself; what came below is counted; the focus stays on what is seen."""

from __future__ import annotations

import pytest

from lmchat.app.tui.chat_log.viewport import Bookmark
from tests.support.chat_log_app import (
    answer,
    load,
    load_focused,
    question,
    rows,
    screen_text,
)

SIZE = (80, 24)

LINES = "\n\n".join(f"Paragraph {n}." for n in range(100))


@pytest.fixture
async def log(pilot):
    log = pilot.app.log_view
    await load(pilot, question("Go on."), answer(LINES))
    return log


async def test_the_focus_goes_along_with_what_is_scrolled(pilot, log):
    await load_focused(pilot, *(question(f"Mark {n}.") for n in range(200)))
    log.go_to_bookmark(Bookmark("deleted", 0, 0))
    assert log.viewport.is_following
    first, last = (log.document.entries[index].message.message_id for index in (0, -1))
    assert log.viewport.row_of("deleted") is None
    assert (log.viewport.row_of(first), log.viewport.row_of(last)) == (None, 21)
    for keys in (["pageup"] * 4, ["home"], ["pagedown"] * 3, ["up"] * 30, ["down"] * 45, ["end"]):
        await pilot.press(*keys)
        assert log.focused_message.text in screen_text(log)


async def test_where_a_thought_was_read_is_its_row_once_it_is_folded(pilot, log):
    await load_focused(pilot, question("Go on."), answer(LINES, thought=LINES))
    log.toggle("is_collapsed")
    log.scroll_to(y=100)
    assert "Paragraph 50." in screen_text(log)
    log.toggle("is_collapsed")
    assert "+ thought" in rows(log)[0]


async def test_a_message_taller_than_the_screen_is_scrolled_through_with_the_focus_on_it(
    pilot, log
):
    lines = "\n\n".join(f"Paragraph {n}." for n in range(20))
    await load(pilot, question("Go on."), answer(lines))
    assert log.focus_message(-1)
    assert log.focus_message(-1)
    await pilot.pause()
    assert "Paragraph 0." in screen_text(log)
    assert not log.focus_message(1)  # below is only the prompt
    assert "Paragraph 0." in screen_text(log)
    seen = screen_text(log)
    while not log.viewport.is_at_end:
        await pilot.press("down")
        seen += "\n" + rows(log)[-1]
        assert log.focused_message.text == lines
    assert all(f"Paragraph {n}." in seen for n in range(20))
