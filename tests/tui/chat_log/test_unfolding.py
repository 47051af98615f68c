from __future__ import annotations

import pytest

from lmchat.domain.event import ReasoningDelta, TextDelta
from tests.support.chat_log_app import answer, question, rows, streaming

LONG = "\n\n".join(f"Row {n} of it." for n in range(60))
THOUGHT = "\n\n".join(f"Step {n}." for n in range(40))


@pytest.fixture
async def long_answer(log):
    log.load([question("Before"), answer(LONG, thought=THOUGHT)])
    log.focus_message(-1)
    return log


@pytest.mark.parametrize("pages", [0, 2])
async def test_a_thought_that_unfolds_above_the_screen_is_seen_and_folding_goes_back(
    pilot, long_answer, pages
):
    log = long_answer
    for _ in range(pages):
        await pilot.press("pageup")
    read = rows(log)
    assert not any("Thought" in row for row in read)
    await pilot.press("enter")
    assert "- Thought" in rows(log)[0]
    assert any("Step 0." in row for row in rows(log))
    await pilot.press("enter")
    assert rows(log) == read
    assert log.viewport.is_following == (pages == 0)


async def test_who_has_read_on_below_the_thought_stays_there_when_it_folds(pilot, long_answer):
    log = long_answer
    await pilot.press("enter", "end", "pageup")
    read = rows(log)
    assert any("Row 4" in row for row in read)
    await pilot.press("enter")
    assert rows(log) == read


async def test_who_has_read_on_within_the_thought_comes_back_to_the_answer(pilot, long_answer):
    log = long_answer
    read = rows(log)
    await pilot.press("enter", "pagedown")
    assert any("Step 20." in row for row in rows(log))
    await pilot.press("enter")
    assert rows(log) == read


async def test_the_thought_of_an_answer_that_is_followed_is_seen_and_then_the_end_is_followed_again(
    pilot, log
):
    log.load([question("Before")])
    log.begin_answer(streaming())
    await log.apply(ReasoningDelta(text=THOUGHT))
    await log.apply(TextDelta(text=LONG))
    await pilot.pause()
    log.focus_message(-1)
    await pilot.press("enter")
    assert "- Thought" in rows(log)[0]
    await log.apply(TextDelta(text="\n\nThe end comes."))
    await pilot.pause()
    assert "- Thought" in rows(log)[0]
    await pilot.press("enter")
    assert log.viewport.is_following
    assert any("The end comes." in row for row in rows(log))


async def test_folding_another_thought_does_not_go_back_to_what_was_read_before_the_first(
    pilot, log
):
    first = answer(LONG, thought=THOUGHT)
    log.load([question("Before"), first, question("And?"), answer(LONG, thought=THOUGHT)])
    log.focus_message(-1)
    await pilot.press("enter")
    assert "- Thought" in rows(log)[0]
    log.show_message(first.message_id)
    await pilot.press("enter", "pagedown")
    assert any("Step 2" in row for row in rows(log))
    await pilot.press("enter")
    assert log.focused_message is first
    assert any("+ Thought" in row for row in rows(log))
