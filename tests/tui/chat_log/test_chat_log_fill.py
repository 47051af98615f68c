from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.event import TextDelta
from lmchat.domain.message import AnswerState
from lmchat.domain.session import MessagePath
from tests.support.chat_log_app import answer, pour, question, rows, streaming
from tests.support.markdown_corpus import MIXED

SIZE = (80, 24)

END = 64


def talk(count, *, models=("qwen3-8b",)):
    messages = []
    for n in range(count):
        asked = question(f"Question {n}?", parent_id=messages[-1].message_id if messages else None)
        text = f"{MIXED}\n\nEnd {n}" if n % 9 == 0 else f"Answer {n}\n\nEnd {n}"
        said = answer(text, parent_id=asked.message_id, model=models[n * len(models) // count])
        messages += [asked, said]
    return MessagePath(messages)


def look(log):
    return [row for row in rows(log) if row]


async def begin(pilot, whole):
    pilot.app.log_view.load(whole[-END:], has_all_messages=False)
    await pilot.pause()
    return whole


@pytest.fixture
async def whole(pilot):
    """A session whose end is in the log."""
    return await begin(pilot, talk(200))


async def test_what_comes_above_moves_nothing_while_one_reads_back(pilot, log, whole):
    for rows_up in (0, 70, 300):
        await begin(pilot, whole)
        for _ in range(0, rows_up, 10):
            log.scroll_relative(y=-10)
        log.focus_message(-1)
        await pilot.pause()
        before, focused = rows(log), log.focused_message
        log.fill(whole)
        assert rows(log) == before
        await pilot.pause()
        assert rows(log) == before
        assert log.focused_message == focused


async def test_who_looks_for_words_while_more_comes_above_goes_back_to_what_was_read(
    pilot, log, whole
):
    log.scroll_relative(y=-30)
    await pilot.pause()
    before = rows(log)
    log.finder.seek("Question 199")
    assert rows(log) != before
    log.fill(whole)
    await pilot.pause()
    log.finder.seek("Question 1999")
    await pilot.pause()
    assert rows(log) == before


async def test_what_was_unfolded_for_a_hit_is_folded_again_after_more_came_above(pilot, log):
    whole = talk(200)
    thinking = answer("Said.", thought="A needle.", parent_id=whole[-1].message_id)
    whole = MessagePath([*whole, thinking])
    await begin(pilot, whole)
    log.finder.find("needle")
    log.finder.step(1)
    assert any("A needle." in row for row in rows(log))
    log.fill(whole)
    await pilot.pause()
    log.finder.find("Question 199")
    log.finder.step(1)
    await pilot.pause()
    assert log.document.entries[len(whole) - 1].is_folded


async def test_who_went_on_reading_after_home_is_left_where_he_is(pilot, log, whole):
    log.scroll_home()
    log.scroll_relative(y=5)
    await pilot.pause()
    before = rows(log)
    log.fill(whole)
    await pilot.pause()
    assert rows(log) == before


async def test_a_log_that_has_all_takes_nothing_twice(pilot, log, whole):
    log.fill(whole)
    log.fill(whole)
    assert len(log.document) == len(whole)
    log.load(whole)
    log.fill(whole)
    assert len(log.document) == len(whole)


async def test_an_answer_that_streams_meanwhile_goes_on_in_its_place(pilot, log, whole):
    log.notice("a thin line")
    growing = streaming()
    log.begin_answer(growing)
    await log.apply(TextDelta(text="the first words "))
    log.fill(whole)
    await pour(log, "and the last")
    await pilot.pause()
    assert any("the first words and the last" in row for row in rows(log))
    log.finish(
        replace(
            growing, parts=answer("the first words and the last").parts, state=AnswerState.COMPLETE
        )
    )
    await pilot.pause()
    assert sum("the first words and the last" in row for row in rows(log)) == 1
    assert any("a thin line" in row for row in rows(log))


async def test_hits_above_are_counted_once_they_are_there_and_the_shown_hit_stays(
    pilot, log, whole
):
    assert log.finder.find("question") == END // 2
    log.finder.step(1)
    number, count = log.finder.step(-1)
    place = log.document.entries[log.finder.place[0]].message
    log.fill(whole)
    assert log.finder.standing == (number + 200 - count, 200)
    assert log.document.entries[log.finder.place[0]].message == place
    assert log.finder.find("question 0?") == 1
    assert log.finder.step(1) == (1, 1)
    await pilot.pause()
    assert any("Question 0?" in row for row in rows(log))


async def test_a_switch_of_the_model_is_told_where_it_happened_and_nowhere_else(pilot, log):
    whole = talk(200, models=("qwen3-8b", "gemma-3"))
    for last in (END, 202, 200, 198):
        log.load(whole[-last:], has_all_messages=False)
        log.scroll_home()
        await pilot.pause()
        log.fill(whole)
        log.show_message(whole[201].message_id)
        await pilot.pause()
        assert sum("gemma-3 answers from here" in row for row in rows(log)) == 1
        switches = [n for n in range(len(log.document)) if log.document.entries[n].new_model]
        assert switches == [201]


async def test_a_resize_and_marks_reach_what_nobody_has_looked_at(pilot, log, whole):
    log.fill(whole)
    log.mark_left_out(100, whole[100].message_id)
    await pilot.resize_terminal(60, 20)
    log.show_message(whole[100].message_id)
    await pilot.pause()
    assert sum("100 messages left out" in row for row in rows(log)) == 1
    log.mark_left_out(0, None)
    await pilot.pause()
    assert not any("left out" in row for row in rows(log))
