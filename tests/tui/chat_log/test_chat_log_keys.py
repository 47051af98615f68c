"""Focus of messages, their keys, finding and selecting."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from textual.geometry import Offset
from textual.selection import Selection

from lmchat.domain.message import AnswerState, Failure, ReasoningPart, TextPart
from lmchat.tui.widgets.chat_log.viewport import pack, unpack
from tests.support.chat_log_app import LogApp, answer, question, rows, screen_text

CODE = "one\n\n```python\nfirst = 1\n```\n\ntwo\n\n```\nsecond\n```\n"


@pytest.fixture
async def pilot():
    async with LogApp().run_test(size=(80, 30)) as pilot:
        yield pilot


@pytest.fixture
def log(pilot):
    return pilot.app.log_view


def bars(log):
    """Which rows have the bar of the focus."""
    primary = log.get_component_rich_style("chat-log--focus", partial=True).color
    strips = log.render_lines(log.size.region)
    return [
        y
        for y, strip in enumerate(strips)
        if any(segment.text == "▌" and segment.style.color == primary for segment in strip)
    ]


async def test_the_focus_moves_from_message_to_message_and_stops_at_both_ends(log):
    log.load([question("one"), answer("two"), question("three")])
    log.notice("not a message")
    assert log.focused_message is None
    seen = []
    for _ in range(4):
        assert log.focus_message(-1)
        seen.append(log.focused_message.text)
    assert seen == ["three", "two", "one", "one"]
    assert log.focus_message(1)
    assert log.focused_message.text == "two"
    assert log.focus_message(1)
    assert not log.focus_message(1)


async def test_the_focus_comes_back_to_the_last_message_in_view(pilot, log):
    log.load([question(f"Question {n}") for n in range(100)])
    await pilot.pause()
    for _ in range(60):
        log.focus_message(-1)
    pilot.app.query_one("Input").focus()
    await pilot.pause()
    assert not log.focus_message(1)
    assert log.focus_message(-1)
    assert log.focused_message.text in screen_text(log)
    assert log.focused_message.text != "Question 99"
    pilot.app.query_one("Input").focus()
    log.scroll_end()
    await pilot.pause()
    assert log.focus_message(-1)
    assert log.focused_message.text == "Question 99"


async def test_only_the_focused_message_has_the_bar_and_only_while_the_log_has_the_focus(pilot, log):
    log.load([question("one"), answer("two")])
    assert bars(log) == []
    log.focus_message(-1)
    await pilot.pause()
    assert bars(log) == [2, 3, 4]
    log.focus_message(-1)
    await pilot.pause()
    assert bars(log) == [0]
    pilot.app.query_one("Input").focus()
    await pilot.pause()
    assert bars(log) == []


async def test_a_message_that_gets_the_focus_is_brought_into_view(pilot, log):
    log.load([question(f"Question {n}") for n in range(100)])
    await pilot.pause()
    for _ in range(60):
        assert log.focus_message(-1)
        assert log.focused_message.text in screen_text(log)
    for _ in range(59):
        assert log.focus_message(1)
        assert log.focused_message.text in screen_text(log)


async def test_a_message_is_shown_by_its_id(pilot, log):
    messages = [question(f"Question {n}") for n in range(100)]
    log.load(messages)
    await pilot.pause()
    assert log.show_message(messages[3].message_id)
    assert "Question 3 " in screen_text(log)
    assert log.focused_message is messages[3]
    assert not log.show_message("nowhere")


@pytest.mark.parametrize("key", ["e", "r", "a", "f", "d", "t", "o", "left_square_bracket"])
async def test_keys_whose_work_is_done_elsewhere_are_passed_on(pilot, log, key):
    log.load([question("one"), answer("two")])
    log.focus_message(-1)
    await pilot.press(key)
    await pilot.pause()
    fact = pilot.app.facts[-1]
    assert fact.message.text == "two"
    assert pilot.app.wanted() == [(fact.name, "")]


async def test_the_copy_of_a_message_is_its_source(pilot, log):
    log.load([answer("**two**\r\n\x1b")])
    log.focus_message(-1)
    await pilot.press("y")
    assert pilot.app.wanted() == [("copy", "**two**\r\n\x1b")]


async def test_code_blocks_are_copied_one_after_the_other(pilot, log):
    log.load([answer(CODE)])
    log.focus_message(-1)
    await pilot.press("c", "c", "c")
    assert [text for _, text in pilot.app.wanted()] == ["first = 1\n", "second\n", "first = 1\n"]


async def test_where_there_is_no_code_nothing_is_copied(pilot, log):
    log.load([answer("no code")])
    log.focus_message(-1)
    await pilot.press("c")
    assert pilot.app.wanted() == [("copy_code", "")]


async def test_copying_a_failure_takes_its_details_first_and_then_the_text(pilot, log):
    failure = Failure(kind="x", message="It broke.", hint="Mend it.", details="errno 1", failure_id="7f3a")
    log.load([answer("half", state=AnswerState.INTERRUPTED, failure=failure)])
    log.focus_message(-1)
    await pilot.press("y", "y")
    assert [text for _, text in pilot.app.wanted()] == ["It broke.\nMend it.\nerrno 1\nid 7f3a", "half"]


async def test_links_are_listed_in_order_each_once(pilot, log):
    log.load([answer("[a](http://a) [b][r] [again](http://a)\n\n[r]: http://b\n")])
    log.focus_message(-1)
    await pilot.press("l")
    assert pilot.app.wanted() == [("links", "http://a\nhttp://b")]


async def test_source_and_rendered_text_take_turns(pilot, log):
    log.load([answer("**bold**")])
    log.focus_message(-1)
    assert "**bold**" not in screen_text(log)
    await pilot.press("s")
    assert "**bold**" in screen_text(log)
    await pilot.press("s")
    assert "**bold**" not in screen_text(log)


async def test_the_row_of_folded_reasoning_stays_in_its_place_when_it_opens(pilot, log):
    log.load([question(f"Question {n}") for n in range(30)] + [answer("end", thought="step\n\n" * 50)])
    await pilot.pause()
    log.focus_message(-1)
    place = next(y for y, row in enumerate(rows(log)) if "+ Thought" in row)
    await pilot.press("enter")
    assert rows(log)[place].strip("▌ ") == "- Thought"
    assert "step" in rows(log)[place + 2]


async def test_a_click_unfolds_reasoning_and_focuses_its_message(pilot, log):
    log.load([question("one"), answer("two", thought="step by step"), question("three")])
    await pilot.pause()
    await pilot.click(log, offset=(8, 2))
    assert "step by step" in screen_text(log)
    assert log.focused_message.text == "two"


async def test_a_click_on_a_link_asks_for_it(pilot, log):
    log.load([answer("[there](http://example.org)")])
    await pilot.pause()
    await pilot.click(log, offset=(7, 0))
    assert pilot.app.wanted() == [("links", "http://example.org")]


async def test_keys_of_messages_do_nothing_in_an_empty_log(pilot, log):
    log.focus()
    await pilot.press("y", "c", "enter", "s", "e")
    assert pilot.app.wanted() == []
    assert not log.focus_message(-1)
    assert log.find("x") == 0
    assert log.next_hit(1) == (0, 0)
    assert log.selected_text == ""


def marked(log, name):
    """The texts that are painted as hits."""
    style = log.get_component_rich_style(f"chat-log--{name}", partial=True)
    segments = [segment for strip in log.render_lines(log.size.region) for segment in strip]
    return [
        segment.text for segment in segments if segment.style + style == segment.style and segment.style.bold
    ]


async def test_hits_are_counted_and_marked_whatever_their_case(log):
    log.load([question("Shade or sun?"), answer("The **shade**, deep SHADE.")])
    assert log.find("shade") == 3
    assert log.next_hit(1) == (1, 3)
    assert marked(log, "hit") == ["shade", "SHADE"]
    assert marked(log, "hit-now") == ["Shade"]
    log.clear_find()
    assert marked(log, "hit") == []


async def test_words_of_a_search_are_marked_everywhere_and_the_message_shows_its_first(pilot, log):
    log.load([question(f"{n} Shade") for n in range(50)] + [answer("hay") for _ in range(50)])
    await pilot.pause()
    message_id = log.document.entries[7].message.message_id
    assert log.show_message(message_id)
    log.mark_words(message_id, ("shade", "Shade", "had", "7"))
    await pilot.pause()
    assert "7 Shade" in screen_text(log)
    assert "".join(marked(log, "hit-now")) in ("7", "7Shade")
    assert "had" not in marked(log, "hit")
    assert log.finder.place[0] == 7
    assert log.focused_message.message_id == message_id


async def test_words_that_were_only_thought_are_unfolded_and_marked(pilot, log):
    thought = replace(
        answer("Lettuce."), parts=(ReasoningPart(text="A riddle, I think."), TextPart(text="Lettuce."))
    )
    log.load([question("What?"), thought, question("And a riddle?")])
    await pilot.pause()
    assert log.show_message(thought.message_id)
    log.mark_words(thought.message_id, ("riddle",))
    await pilot.pause()
    assert "A riddle, I think." in screen_text(log)
    assert marked(log, "hit") == ["riddle", "riddle"]
    log.mark_words("nowhere", ("riddle",))


async def test_a_hit_that_goes_over_the_end_of_a_line_is_marked_in_both(log):
    log.load([answer("x" * 57 + " wonderful shade here")])
    log.find("wonderful shade")
    assert [text.strip() for text in marked(log, "hit")] == ["wonderful", "shade"]


async def test_next_and_previous_hit_go_round_and_bring_each_into_view(pilot, log):
    log.load([answer(f"{n} " + ("needle" if n % 20 == 7 else "hay")) for n in range(100)])
    await pilot.pause()
    log.scroll_home()
    assert log.find("needle") == 5
    seen = []
    for step in (1, 1, 1, 1, 1, 1, -1, -1):
        number, count = log.next_hit(step)
        seen.append(number)
        assert count == 5
        assert f"{number * 20 - 13} needle" in screen_text(log)
    assert seen == [1, 2, 3, 4, 5, 1, 5, 4]


async def test_the_first_hit_is_one_on_the_screen_or_below(pilot, log):
    log.load([answer("needle") for n in range(100)])
    await pilot.pause()
    top = log.document.locate(log.scroll_offset.y)[0]
    log.find("needle")
    assert log.next_hit(1) == (top + 1, 100)


async def test_a_selection_within_a_message_is_what_is_shown_unwrapped(pilot, log):
    text = "word " * 30 + "**end**"
    log.load([answer(text)])
    pilot.app.screen.selections = {log: Selection(Offset(5, pack((0, 0, 0))), Offset(999, pack((0, 0, 9))))}
    assert log.selected_text == ("word " * 30 + "end")[5:]


async def test_a_selection_over_messages_takes_the_source_of_those_inside(pilot, log):
    log.load([question("one two"), answer("**whole** `source`"), question("three four")])
    start, end = Offset(4, pack((0, 0, 0))), Offset(5, pack((2, 0, 0)))
    pilot.app.screen.selections = {log: Selection(start, end)}
    assert log.selected_text.split("\n") == ["two", "**whole** `source`", "", "three"]


async def test_a_drag_with_the_mouse_selects_what_it_went_over(pilot, log):
    log.load([answer("first line\n\nsecond line")])
    await pilot.pause()
    await pilot.mouse_down(log, offset=(11, 0))
    await pilot.hover(log, offset=(10, 2))
    await pilot.mouse_up(log, offset=(10, 2))
    await pilot.pause()
    assert log.selected_text == "line\n\nsecond"[: len(log.selected_text)]
    assert log.selected_text.startswith("line\n")
    assert "second" in log.selected_text


async def test_a_row_of_a_table_is_copied_with_tabs(pilot, log):
    log.load([answer("| a | b |\n|---|---|\n| one | two |")])
    pilot.app.screen.selections = {log: Selection(Offset(0, pack((0, 0, 0))), Offset(99, pack((0, 0, 2))))}
    assert log.selected_text.split("\n") == ["a\tb", "", "one\ttwo"]


@pytest.mark.parametrize("place", [(0, -1, 0), (0, 0, 0), (9_999, 1_000, 500), (1, 2, 3)])
def test_a_place_survives_being_packed(place):
    assert unpack(pack(place)) == place


async def test_a_log_that_has_the_focus_gives_it_to_the_last_message_of_another_session(pilot, log):
    log.load([question("one")])
    log.focus()
    await pilot.pause()
    log.load([question("two"), answer("three")])
    log.notice("not a message")
    assert log.focused_message.text == "three"
