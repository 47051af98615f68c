from __future__ import annotations

import pytest
from msgspec.structs import replace
from rich.cells import cell_len

from lmchat.domain.message import TextPart, ToolCallPart
from lmchat.domain.session import MessagePath
from lmchat.tui.widgets.chat_log import selection
from tests.support.chat_log_app import (
    answer,
    chosen,
    drag,
    find,
    load,
    load_focused,
    move,
    pour,
    press,
    question,
    rows,
    screen_text,
    select,
    streaming,
)
from tests.support.hostile import ATTACKS
from tests.support.programs import until

CODE = (
    "```python\ndef f():\n\treturn 1  # 漢字 and so on and so on, for longer than a row of sixty cells is\n"
    "\n\tpass\n```\n"
)
TABLE = "| a | b |\n|---|---|\n| c | d |\n"


async def test_a_drag_takes_the_characters_under_both_its_ends(pilot, log):
    await load(pilot, answer("first line\n\nsecond line"))
    await select(pilot, log, "line", "second")
    assert log.selected_text == "line\n\nsecond"
    assert chosen(log) == ["line", "second"]
    await drag(pilot, log, find(log, "second", behind=True), find(log, "line"))
    assert log.selected_text == "line\n\nsecond"


FENCED = "````md\n```js\nlet x\n```\nafter it\n````"
GRID = "| a | b |\n|---|---|\n| one | two |\n| three | |"
TOLD = [
    # a part of a block: its words, unwrapped; a whole one: as it was written
    (
        "Word " + "word " * 30 + "**end** of `it`, and",
        "Word",
        "it",
        "Word " + "word " * 30 + "end of it",
    ),
    (
        "One *two*.\n\n**Four** [five](http://x.org).\n\nSix.",
        "Four",
        "five.",
        "**Four** [five](http://x.org).",
    ),
    (
        f"A *first* one.\n\n- one\n- two `x`\n\n{CODE}\n{TABLE}\nThe **last** one.",
        "first",
        "last",
        f"first one.\n\n- one\n- two `x`\n\n{CODE}\n{TABLE}\nThe last",
    ),
    (f"First part.\n\n{FENCED}\n\nLast part.", "part.", "Last", f"part.\n\n{FENCED}\n\nLast"),
    ("These:\n- one\n- two", "ese", "on", "ese:\non"),
    ("These:\n\n- one\n- two", "ese", "on", "ese:\n\non"),
    (f"Look.\n\n{GRID}\n\nAfter.", "one", "Af", "one\ttwo\nthree\n\nAf"),
    (f"Look.\n\n{GRID}\n\nAfter.", "  two", "two", "two"),
    (f"Look.\n\n{GRID}", "a     ", "three", GRID),
]


async def test_whole_blocks_are_copied_as_they_were_written_and_parts_as_they_are_shown(pilot, log):
    for text, first, last, copied in TOLD:
        await load(pilot, answer(text))
        await select(pilot, log, first, last)
        assert log.selected_text == copied
    await load(pilot, question("one two"), answer("**whole** `source`"), question("three four"))
    await select(pilot, log, "two", "three")
    assert log.selected_text == "two\n\n**whole** `source`\n\nthree"
    await press(pilot, log, (20, 8))
    assert log.selected_text == ""
    assert chosen(log) == []
    log.load([])
    await drag(pilot, log, (3, 3), (20, 8))
    log.action_select(-1)
    assert log.selected_text == ""


async def test_code_is_copied_exactly_with_its_tabs_and_without_the_marks_of_folded_lines(
    pilot, log
):
    await load(pilot, answer(f"Look:\n\n{CODE}"))
    await select(pilot, log, "def f", "pass")
    assert log.selected_text == CODE.removeprefix("```python\n").removesuffix("\n```\n")
    await select(pilot, log, "return", "cells")
    assert (
        log.selected_text
        == "return 1  # 漢字 and so on and so on, for longer than a row of sixty cells"
    )
    await drag(pilot, log, find(log, "return"), find(log, "def"))
    assert log.selected_text == "def f():\n\tr"


async def test_a_long_table_is_whole_or_in_part_over_all_its_pieces(pilot, log):
    table = "| a | b |\n|---|---|\n" + "".join(f"| {n} | x |\n" for n in range(60))
    log.load([answer(f"Look.\n\n{table}\nEnd.")])
    await pilot.resize_terminal(80, 80)
    await pilot.pause()
    await select(pilot, log, "a        b", "59       x")
    assert log.selected_text == table.strip("\n")
    await select(pilot, log, "10       x", "59       x")
    assert log.selected_text == "\n".join(f"{n}\tx" for n in range(10, 60))


async def test_what_the_log_tells_is_copied_only_where_it_alone_is_selected(pilot, log):
    await load(pilot, question("one"), answer("two"), question("three"))
    await drag(pilot, log, (0, 0), (79, 20))
    assert log.selected_text == "one\n\ntwo\n\nthree"
    assert chosen(log) == ["one", "two", "three"]
    await select(pilot, log, "qwen3", "TTFT")
    assert log.selected_text == "qwen3-8b · TTFT"
    assert chosen(log) == ["qwen3-8b · TTFT"]


async def test_an_unfolded_thought_is_copied_and_a_folded_one_is_not(pilot, log):
    await load_focused(pilot, answer("Yes.", thought="A *riddle*."), question("And?"))
    await drag(pilot, log, (0, 0), (79, 20))
    assert log.selected_text == "Yes.\n\nAnd?"
    log.focus_message(-1)
    await pilot.press("enter")
    await drag(pilot, log, (0, 0), (79, 20))
    assert log.selected_text == "A *riddle*.\n\nYes.\n\nAnd?"
    assert chosen(log) == ["A riddle.", "Yes.", "And?"]


async def test_the_call_of_a_tool_is_copied_as_it_came(pilot, log):
    call = ToolCallPart(call_id="", name="plant", arguments='{\n\t"a": 1\n}')
    await load(pilot, replace(answer(""), parts=(call,)), question("And?"))
    await drag(pilot, log, (0, 0), (79, 20))
    assert log.selected_text == '{\n\t"a": 1\n}\n\nAnd?'
    await select(pilot, log, '"a"', "1")
    assert log.selected_text == '"a": 1'


async def test_the_source_view_is_copied_as_it_is(pilot, log):
    await load_focused(pilot, answer("**bold** and `code`"))
    await pilot.press("s")
    await select(pilot, log, "bold", "and")
    assert log.selected_text == "bold** and"


@pytest.fixture
def _slow_presses(monkeypatch):
    """Let presses follow each other on a machine that takes its time between them."""
    monkeypatch.setattr(selection, "AGAIN_S", 60)


@pytest.mark.usefixtures("_slow_presses")
async def test_the_second_press_takes_the_word_and_the_third_the_paragraph(pilot, log):
    text = "Don't stop: a_word, 漢字 and http " + "so " * 40 + "on."
    await load(pilot, answer(f"**bold**\n\n{text}"))
    for words in ("Don't", "stop", "a_word", "漢字", ":", "bold"):
        await press(pilot, log, (0, 20))
        await press(pilot, log, find(log, words), 2)
        assert log.selected_text == words
    await press(pilot, log, (0, 20))
    await press(pilot, log, find(log, "stop"), 3)
    assert log.selected_text == text
    await press(pilot, log, find(log, "stop"), 1)
    assert log.selected_text == ""


async def test_a_drag_after_a_second_press_goes_on_by_words(pilot, log):
    await load(pilot, answer("one two three four five"))
    await press(pilot, log, find(log, "three"), 1)
    await drag(pilot, log, find(log, "three"), find(log, "four"))
    assert log.selected_text == "three four"
    await press(pilot, log, (0, 20))
    await press(pilot, log, find(log, "hree"), 1)
    await drag(pilot, log, find(log, "hree"), find(log, "wo"))
    assert log.selected_text == "two three"


async def test_shift_and_a_press_go_on_with_the_selection(pilot, log):
    await load(pilot, answer("one two three four five"))
    await select(pilot, log, "two", "three")
    await drag(pilot, log, find(log, "five", behind=True), shift=True)
    assert log.selected_text == "two three four five"
    await drag(pilot, log, find(log, "one"), shift=True)
    assert log.selected_text == "one t"
    await press(pilot, log, (0, 20))
    await press(pilot, log, find(log, "wo"), 2)
    await drag(pilot, log, find(log, "our"), shift=True)
    assert log.selected_text == "two three four"


@pytest.mark.usefixtures("_slow_presses")
async def test_what_a_reader_takes_for_one_character_is_selected_whole(pilot, log):
    for cluster in ("\U0001f1e9\U0001f1ea", "\u0932\u093f", "\u0e01\u0e33", "e\u0301"):
        await load(pilot, answer(f"a {cluster}{cluster}z b"))
        x, y = find(log, cluster)
        await press(pilot, log, (0, 20))
        await drag(pilot, log, (x, y), (x + cell_len(cluster), y))
        assert log.selected_text == cluster * 2
        await press(pilot, log, (0, 20))
        await press(pilot, log, (x, y), 2)
        assert log.selected_text == (cluster if cluster[0] > "\uffff" else cluster * 2 + "z")


async def test_beyond_the_edge_the_log_scrolls_and_goes_on_selecting(pilot, log):
    await load(pilot, *(answer(f"line {n}") for n in range(100)))
    log.scroll_to(y=100)
    await pilot.pause()
    await pilot.mouse_down(log, offset=(5, 10))
    await move(pilot, log, (20, log.size.height + 90))
    await until(lambda: log.scroll_offset.y == log.max_scroll_y, "the end")
    await pilot.pause()
    assert log.selected_text.endswith("line 99")
    await move(pilot, log, (0, -90))
    await until(lambda: log.scroll_offset.y == 0, "the beginning")
    await pilot.pause()
    assert log.selected_text.startswith("line 0\n\nline 1\n\n")
    await pilot.mouse_up(log, offset=(0, 0))
    top = log.scroll_offset.y
    await pilot.pause()
    assert log.scroll_offset.y == top


async def test_a_button_that_was_let_go_elsewhere_selects_no_more(pilot, log):
    await load(pilot, answer("one two three"))
    await pilot.mouse_down(log, offset=find(log, "one"))
    await move(pilot, log, find(log, "two", behind=True))
    await move(pilot, log, find(log, "three"), button=0)
    assert log.selected_text == "one two"
    await move(pilot, log, find(log, "three"))
    assert log.selected_text == "one two"
    assert pilot.app.mouse_captured is None


async def test_the_end_of_a_drag_is_no_click(pilot, log):
    await load(
        pilot, answer("Yes.", thought="A riddle."), answer("[here](http://example.org) and there")
    )
    await drag(pilot, log, find(log, "there"), find(log, "here"))
    await drag(pilot, log, find(log, "Yes"), find(log, "Thought"))
    assert pilot.app.wanted() == []
    assert "A riddle." not in screen_text(log)
    await pilot.click(log, offset=find(log, "Thought"))
    assert "A riddle." in screen_text(log)


async def test_a_selection_stays_with_its_words_while_an_answer_streams(pilot, log):
    log.load([question("go")])
    log.begin_answer(streaming("A first paragraph.\n\n- one\n- two and a **half"))
    await pilot.pause()
    await select(pilot, log, "first", "two")
    before = "first paragraph.\n\none\ntwo"
    assert log.selected_text == before
    text = " of it**\n- three\n\n1. more\n\n```\ncode\n```\n\nThe end." * 4
    for start in range(0, len(text), 7):
        await pour(log, text[start : start + 7])
        assert "".join(log.selected_text.replace("- ", "").split()) == "".join(before.split())
    log.finish(answer("A first paragraph.\n\n- one\n- two and a **half" + text))
    assert "".join(log.selected_text.replace("- ", "").split()) == "".join(before.split())


async def test_a_selection_survives_scrolling_and_another_width(pilot, log):
    await load(pilot, *(answer(f"{n} " + "word " * 40 + "end.") for n in range(40)))
    x, y = find(log, "38 ")
    await drag(pilot, log, (x, y), (x + 20, y + 2))
    text = log.selected_text
    assert text.startswith("38 word word")
    log.scroll_home()
    await pilot.pause()
    assert log.selected_text == text
    log.scroll_end()
    for width in (50, 110, 41, 80):
        await pilot.resize_terminal(width, 30)
        await pilot.pause()
        assert log.selected_text == text
        assert "".join(chosen(log)).split() == text.split()


async def test_a_selection_that_ends_in_a_table_ends_where_its_rows_change(pilot, log):
    await load(pilot, answer("One.\n\n| a | b |\n|---|---|\n| " + "long " * 20 + "| two |"))
    await select(pilot, log, "One", "two")
    assert log.selected_text
    await pilot.resize_terminal(40, 30)
    await pilot.pause()
    rows(log)
    assert log.selection.selected is None


async def test_a_selection_ends_with_its_message(pilot, log):
    message = answer("one two three", thought="a riddle")
    await load(pilot, message, answer("four"))
    await select(pilot, log, "two", "three")
    log.replace(replace(message, parts=(TextPart(text="something else"),)))
    await pilot.pause()
    assert log.selected_text == ""
    assert chosen(log) == []
    await select(pilot, log, "some", "else")
    log.load([answer("five")])
    assert log.selected_text == ""


async def test_a_selection_stays_when_a_thought_above_it_is_unfolded(pilot, log):
    await load_focused(pilot, answer("one two three", thought="a riddle"))
    await select(pilot, log, "two", "two")
    await pilot.press("enter")
    assert "a riddle" in screen_text(log)
    assert log.selected_text == "two"
    assert chosen(log) == ["two"]


async def test_keys_select_message_by_message(pilot, log):
    log.load([question("one"), answer("two"), question("three"), answer("four")])
    log.notice("not a message")
    log.focus()
    await pilot.pause()
    await pilot.press("shift+up")
    assert log.selected_text == "three\n\nfour"
    await pilot.press("shift+up")
    assert log.selected_text == "two\n\nthree\n\nfour"
    await pilot.press("shift+down", "shift+down", "shift+down")
    assert log.selected_text == "four"
    await pilot.press("shift+home")
    assert log.selected_text == "one\n\ntwo\n\nthree\n\nfour"
    assert log.focused_message.text == "one"
    await pilot.press("shift+end")
    assert log.selected_text == "four"


async def test_v_selects_a_message_arrows_more_and_y_copies_that_or_the_message(pilot, log):
    await load_focused(pilot, question("one"), answer("two"), question("three"))
    await pilot.press("v")
    assert log.selected_text == "three"
    await pilot.press("up", "up", "down")
    assert log.selected_text == "two\n\nthree"
    await pilot.press("y")
    await pilot.pause()
    assert pilot.app.clipboard == "two\n\nthree"
    assert log.selected_text == ""
    await pilot.press("y")
    assert pilot.app.wanted() == [("copy", "two")]
    await pilot.press("v", "v")
    assert log.selected_text == ""


async def test_messages_that_come_before_all_others_leave_a_selection_where_it_is(pilot, log):
    whole = [answer(f"message {n}") for n in range(60)]
    log.load(whole[40:], has_all_messages=False)
    await pilot.pause()
    place = find(log, "message 58")
    await pilot.mouse_down(log, offset=place)
    log.fill(MessagePath(whole))
    await move(pilot, log, (place[0] + 6, place[1]))
    assert log.selected_text == "message"
    await pilot.mouse_up(log, offset=(place[0] + 6, place[1]))
    await pilot.pause()
    assert log.selected_text == "message"
    assert chosen(log) == ["message"]


async def test_hostile_words_are_selected_as_they_are_shown(pilot, log):
    for words in ATTACKS:
        await load(pilot, answer(f"begin `x` {words} end"))
        await drag(pilot, log, (8, 0), (50, 0))
        assert log.selected_text
        assert "".join(chosen(log)).split() == log.selected_text.split()
