"""While one reads, nothing moves by itself; what came below is counted; the focus stays on what is seen."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from lmchat.domain.event import ReasoningDelta
from lmchat.domain.message import AnswerState, ReasoningPart, TextPart
from lmchat.domain.session import MessagePath
from tests.support.chat_log_app import (
    answer,
    chance_of,
    load,
    load_focused,
    pour,
    question,
    rows,
    screen_text,
    streaming,
    talk,
)

SIZE = (80, 24)

LINES = "\n\n".join(f"Paragraph {n}." for n in range(100))


@pytest.fixture
async def log(pilot):
    log = pilot.app.log_view
    await load(pilot, question("Go on."), answer(LINES))
    return log


def lines_below(log):
    """How many lines of text stand below the screen: all of them laid out."""
    document = log.document
    for index in range(len(document)):
        document.lay_out_from(index, 0, 1, document.heights[index] + 9_999)
    return document.total - log.scroll_offset.y - log.size.height


async def test_all_that_comes_in_any_form_is_counted_to_the_line(pilot, log):
    log.begin_answer(streaming("Begun."))
    await pilot.pause()
    log.scroll_relative(y=-60)
    before = lines_below(log)
    for words in (
        "\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "| three | four |\n\n[l]: http://x.org\n\n",
        LINES,
    ):
        await pour(log, words)
        await pilot.pause()
        assert pilot.app.new_lines()[-1] == lines_below(log) - before
    log.notice("A notice.")
    await pilot.pause()
    assert pilot.app.new_lines()[-1] >= lines_below(log) - before


async def test_a_theme_forgets_neither_the_place_nor_the_count(pilot, log):
    log.begin_answer(streaming("Begun."))
    await pilot.pause()
    log.scroll_relative(y=-61)
    await pour(log, "\n\none\n\ntwo")
    await pilot.pause()
    before = rows(log)
    pilot.app.theme = "lmchat-light"
    await pilot.pause()
    await pilot.pause()
    assert rows(log) == before
    assert pilot.app.new_lines()[-1] == 4


async def test_a_definition_that_comes_late_changes_words_above_and_moves_nothing(pilot):
    log = pilot.app.log_view
    log.begin_answer(streaming())
    await pour(
        log, "".join(f"See [a {'long ' * 12}word][{n}] {n}.\n\n" for n in range(60)) + "# Here\n\n"
    )
    await pour(log, "\n\n".join(f"line {n}" for n in range(40)) + "\n\n")
    log.scroll_to(y=log.document.total - 80)
    before = rows(log)
    assert "# Here" not in before
    first = log.document.total
    await pour(log, "".join(f"[{n}]: http://example.org/\n" for n in range(60)) + "\n")
    assert log.document.total != first
    assert rows(log) == before


async def test_a_table_that_is_laid_out_anew_keeps_its_row_at_the_top(pilot):
    log = pilot.app.log_view
    log.begin_answer(streaming())
    await pour(log, "| number | words |\n|---|---|\n")
    await pour(log, "".join(f"| N{n} | {'some words ' * 9}|\n" for n in range(16)))
    log.scroll_to(y=14)
    first = re.findall(r"N\d+", screen_text(log))[0]
    await pour(log, f"| N16 | {'more words ' * 40} and {'x' * 30}|\n| {'wide ' * 9} | last |\n")
    assert re.findall(r"N\d+", screen_text(log))[0] == first


async def test_text_that_turns_out_to_be_thought_stays_before_the_eyes_of_who_reads_it(pilot, log):
    open_answer = streaming()
    log.load([question("Go on.")])
    log.begin_answer(open_answer)
    await pour(log, LINES)
    log.scroll_to(y=60)
    first, _, second, *_ = rows(log)
    log.restate(replace(open_answer, parts=(ReasoningPart(text=LINES),)))
    await pilot.pause()
    assert rows(log)[0].split() == first.split()
    assert rows(log)[2] == f"  {second}", "a thought is indented"
    log.scroll_end()
    await pour(log, "The answer.")
    assert "The answer." in screen_text(log)


async def test_the_final_form_with_other_words_leaves_the_reader_at_his_line(pilot, log):
    open_answer = streaming()
    log.begin_answer(open_answer)
    await pour(log, LINES)
    log.scroll_relative(y=-80)
    before = rows(log)
    parts = (TextPart(text=LINES + "\n\nOther words."),)
    log.finish(replace(open_answer, parts=parts, state=AnswerState.COMPLETE))
    await pilot.pause()
    assert rows(log) == before


async def test_a_mark_above_a_long_prompt_that_is_read_moves_no_line_of_it(pilot, log):
    long = question("\n".join(f"line {n}" for n in range(200)))
    log.load([question("First."), long, answer("Short.")])
    log.scroll_to(y=120)
    before = rows(log)
    log.mark_left_out(3, long.message_id)
    assert rows(log) == before
    log.mark_left_out(0, None)
    assert rows(log) == before


async def test_the_view_follows_while_the_last_message_has_the_focus_and_no_longer_with_another(
    pilot, log
):
    log.load([question("One."), question("Two.")])
    log.begin_answer(streaming("Begun."))
    await pilot.pause()
    assert log.focus_message(-1)
    await pour(log, "\n\nmore" * 3)
    assert log.viewport.is_following
    assert log.focus_message(-1)
    await pour(log, "\n\n" + LINES)
    await pilot.pause()
    assert "Two." in screen_text(log)
    assert log.focused_message.text == "Two."
    await pilot.press("end")
    assert log.viewport.is_following
    assert log.focused_message.text.startswith("Begun.")


async def test_the_focus_goes_along_with_what_is_scrolled(pilot, log):
    await load_focused(pilot, *(question(f"Mark {n}.") for n in range(200)))
    for keys in (["pageup"] * 4, ["home"], ["pagedown"] * 3, ["up"] * 30, ["down"] * 45, ["end"]):
        await pilot.press(*keys)
        assert log.focused_message.text in screen_text(log)


async def test_a_message_taller_than_the_screen_is_scrolled_through_with_the_focus_on_it(
    pilot, log
):
    lines = "\n\n".join(f"Paragraph {n}." for n in range(20))
    await load(pilot, question("Go on."), answer(lines))
    assert log.focus_message(-1)
    assert log.focus_message(-1)
    await pilot.pause()
    assert "Paragraph 0." in screen_text(log)
    seen = screen_text(log)
    while not log.viewport.is_at_end:
        await pilot.press("down")
        seen += "\n" + rows(log)[-1]
        assert log.focused_message.text == lines
    assert all(f"Paragraph {n}." in seen for n in range(20))


async def test_another_version_comes_on_the_row_of_the_one_before(pilot, log):
    messages = [
        question("Go on."),
        answer(LINES),
        question("Here."),
        answer("Short one."),
        answer(LINES),
    ]
    log.load(messages)
    log.show_message(messages[3].message_id)
    log.scroll_relative(y=-4)
    row = log.viewport.row_of(messages[3].message_id)
    other = [*messages[:3], answer("Another one.\n\nWith more.")]
    log.load(other)
    assert log.show_message(other[3].message_id, row=row)
    assert log.viewport.row_of(other[3].message_id) >= row
    assert log.viewport.row_of("none") is None


async def test_thoughts_that_arrive_unfolded_move_nothing_above(pilot, log):
    log.begin_answer(streaming())
    await log.apply(ReasoningDelta(text="Hm. " * 40 + "\n\n"))
    log.flush()
    log.scroll_relative(y=-10)
    log.focus_message(-1)
    before = rows(log)
    for n in range(20):
        await log.apply(ReasoningDelta(text=f"Thought {n}.\n\n"))
        log.flush()
    await pour(log, LINES)
    assert rows(log)[:10] == before[:10]


async def test_nothing_is_new_where_nothing_came_whatever_the_width(pilot, log):
    await load(pilot, question("Go on."), answer("many words " * 305))
    await pilot.press("tab", "pageup")
    for width in (50, 133, 41, 200, 67, 80):
        await pilot.resize_terminal(width, 24)
        await pilot.pause()
    assert not any(pilot.app.new_lines())


async def test_what_is_read_from_the_disk_above_is_not_new(pilot, log):
    whole = MessagePath(talk(chance_of(2), 30))
    log.load(whole[-8:], has_all_messages=False)
    log.begin_answer(streaming("Begun."))
    await pilot.pause()
    log.scroll_relative(y=-9)
    await pour(log, "\n\none\n\ntwo")
    await pilot.pause()
    log.fill(whole)
    await pilot.pause()
    assert pilot.app.new_lines()[-1] == 4


async def test_lines_that_were_on_the_screen_are_new_no_more(pilot, log):
    log.begin_answer(streaming("Begun."))
    await pilot.pause()
    log.scroll_relative(y=-5)
    await pour(log, "\n\n" + LINES)
    await pilot.pause()
    first = pilot.app.new_lines()[-1]
    log.scroll_relative(y=45)
    await pilot.pause()
    later = pilot.app.new_lines()[-1]
    assert 0 < later < first
    log.scroll_relative(y=-45)
    await pilot.pause()
    assert pilot.app.new_lines()[-1] == later


async def test_the_focus_comes_to_the_answer_that_is_read_without_moving_it_and_then_goes_to_where_it_begins(
    pilot, log
):
    lines = "\n\n".join(f"Line {n}" for n in range(100))
    log.load([question("one"), answer(lines), question("two"), answer(lines)])
    log.scroll_to(y=70)
    await pilot.pause()
    seen = rows(log)
    assert log.focus_message(-1)
    await pilot.pause()
    assert log.focused_message.text == lines
    assert [row.replace("▌", " ").rstrip() for row in rows(log)] == [
        row.replace("▌", " ").rstrip() for row in seen
    ]
    assert log.focus_message(-1)
    await pilot.pause()
    assert rows(log)[0].endswith("Line 0") or rows(log)[1].endswith("Line 0")
    assert log.focused_message.text == lines
    assert log.focus_message(-1)
    assert log.focused_message.text == "one"
