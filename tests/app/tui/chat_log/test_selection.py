from __future__ import annotations

from itertools import count

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from textual.events import Click, MouseDown, MouseMove, MouseUp

from lmchat.app.tui.chat_log import selection
from lmchat.base.units import GAP
from lmchat.core.servers.events import ReasoningDelta, TextDelta
from tests.support.chat_log_app import (
    answer,
    chosen,
    drag,
    find,
    load,
    load_focused,
    move,
    post_mouse,
    pour,
    press,
    question,
    rows,
    screen_text,
    select,
    streaming,
    talk,
)
from tests.support.programs import until

CODE = (
    "```python\ndef f():\n\treturn 1  # 漢字 and so on and so on, for longer than a row of sixty cells is\n"
    "\n\tpass\n```\n"
)
TABLE = "| a | b |\n|---|---|\n| c | d |\n"


FENCED = "````md\n```js\nlet x\n```\nafter it\n````"
GRID = "| a | b |\n|---|---|\n| one | two |\n| three | |"
TOLD = [
    ("first line\n\nsecond line", "line", "second", "line\n\nsecond"),
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
    (f"Look.\n\n{GRID}\n\nAfter.", "one", "Af", "one      two\nthree\n\nAf"),
    ("Look.\n\n> [!TIP]\n> a *moss*\n\nEnd.", "Tip", "moss", "> [!TIP]\n> a *moss*"),
    (f"Look.\n\n{GRID}", "a    ", "three", GRID),
]


async def test_whole_blocks_are_copied_as_they_were_written_and_parts_as_they_are_shown(pilot, log):
    for text, first, last, copied in TOLD:
        await load(pilot, answer(text))
        await select(pilot, log, first, last)
        assert log.selected_text() == copied
    await load(pilot, question("one two"), answer("**whole** `source`"), question("three four"))
    await select(pilot, log, "two", "three")
    assert log.selected_text() == "two\n\n**whole** `source`\n\nthree"
    await press(pilot, log, (20, 8))
    assert log.selected_text() == ""
    assert chosen(log) == []
    log.show([])
    await drag(pilot, log, (3, 3), (20, 8))
    log.action_select(-1)
    assert log.selected_text() == ""


async def test_code_is_copied_with_its_tabs_and_none_with_the_marks_of_folded_lines(pilot, log):
    await load(pilot, answer(f"Look:\n\n{CODE}"))
    await select(pilot, log, "def f", "pass")
    assert log.selected_text() == CODE.removeprefix("```python\n").removesuffix("\n```\n")
    await select(pilot, log, "return", "cells")
    assert (
        log.selected_text()
        == "return 1  # 漢字 and so on and so on, for longer than a row of sixty cells"
    )
    await drag(pilot, log, find(log, "return"), find(log, "def"))
    assert log.selected_text() == "def f():\n\tr"


async def test_what_the_log_tells_is_copied_only_where_one_row_of_it_is_selected(pilot, log):
    await load(pilot, question("one"), answer("two"), question("three"))
    await drag(pilot, log, (0, 0), (79, 20))
    assert log.selected_text() == "one\n\ntwo\n\nthree"
    assert chosen(log) == ["one", "two", "three"]
    await select(pilot, log, "96", "in 2.4")
    assert log.selected_text() == f"96{GAP}tok in 2.4"
    assert chosen(log) == [f"96{GAP}tok in 2.4"]
    await select(pilot, log, "qwen3", "qwen3")
    assert log.selected_text() == "qwen3"


async def test_an_unfolded_thought_is_copied_and_a_folded_one_is_not(pilot, log):
    await load_focused(pilot, answer("Yes.", thought="A *riddle*."), question("And?"))
    await drag(pilot, log, (0, 0), (79, 20))
    assert log.selected_text() == "Yes.\n\nAnd?"
    log.focus_message(-1)
    await pilot.press("enter")
    await drag(pilot, log, (0, 0), (79, 20))
    assert log.selected_text() == "A *riddle*.\n\nYes.\n\nAnd?"
    assert chosen(log) == ["A riddle.", "Yes.", "And?"]


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
        assert log.selected_text() == words
    await press(pilot, log, (0, 20))
    await press(pilot, log, find(log, "stop"), 3)
    assert log.selected_text() == text
    await press(pilot, log, find(log, "stop"), 1)
    assert log.selected_text() == ""


async def test_beyond_the_edge_the_log_scrolls_and_goes_on_selecting(pilot, log):
    await load(pilot, *(answer(f"line {n}") for n in range(100)))
    log.scroll_to(y=100)
    await pilot.pause()
    await pilot.mouse_down(log, offset=(5, 10))
    await move(pilot, log, (20, log.size.height + 90))
    await until(lambda: log.scroll_offset.y == log.max_scroll_y, "the end")
    await pilot.pause()
    assert log.selected_text().endswith("line 99")
    await move(pilot, log, (0, -90))
    await until(lambda: log.scroll_offset.y == 0, "the beginning")
    await pilot.pause()
    assert log.selected_text().startswith("line 0\n\nline 1\n\n")
    await pilot.mouse_up(log, offset=(0, 0))
    top = log.scroll_offset.y
    await pilot.pause()
    assert log.scroll_offset.y == top


async def test_the_end_of_a_drag_is_no_click(pilot, log):
    await load(
        pilot, answer("Yes.", thought="A riddle."), answer("[here](http://example.org) and there")
    )
    await drag(pilot, log, find(log, "there"), find(log, "here"))
    await drag(pilot, log, find(log, "Yes"), find(log, "thought"))
    assert pilot.app.facts == []
    assert "A riddle." not in screen_text(log)
    log.viewport.focus(1)
    position = find(log, "Yes")
    for kind in (MouseDown, MouseUp, Click):  # in one read, as a tap on a touchpad
        post_mouse(log, kind, position)
    await pilot.pause()
    assert log.viewport.focused == 0
    await pilot.click(log, offset=find(log, "thought"))
    assert "A riddle." in screen_text(log)


async def test_a_drag_ends_with_its_button_or_with_its_text(pilot, log):
    said = answer("one two three")
    await load(pilot, question("go"), said)
    await pilot.mouse_down(log, offset=find(log, "one"))
    await move(pilot, log, find(log, "two"))
    post_mouse(log, MouseMove, find(log, "three"), button=0)  # released outside of the window
    await move(pilot, log, find(log, "go"))
    assert log.selected_text() == "one t"
    log.drop_selection()
    await pilot.mouse_down(log, offset=find(log, "one"))
    log.replace(replace(said, parts=answer("- bark\n- bark").parts))
    for position in ((20, 3), (5, 4)):
        await move(pilot, log, position)
        log.selection.drag(*position)  # as beyond the edge
    assert log.selected_text() == ""


async def test_a_selection_stays_with_its_words_while_an_answer_streams(pilot, log):
    log.show([question("go")])
    log.start_answer(streaming("A first paragraph.\n\n- one\n- two and a **half"))
    await pilot.pause()
    await select(pilot, log, "first", "two")
    before = "first paragraph.\n\none\ntwo"
    assert log.selected_text() == before
    text = " of it**\n- three\n\n1. more\n\n```\ncode\n```\n\nThe end." * 4
    for start in range(0, len(text), 7):
        await pour(log, text[start : start + 7])
        assert "".join(log.selected_text().replace("- ", "").split()) == "".join(before.split())
    log.end_answer(answer("A first paragraph.\n\n- one\n- two and a **half" + text))
    assert "".join(log.selected_text().replace("- ", "").split()) == "".join(before.split())


GROWING = [
    (ReasoningDelta, "", "word{0} and word{0}b then ", "copy_selection"),
    (TextDelta, "", "word{0} and word{0}b then ", "drop_selection"),
    (TextDelta, "- one\n", "- word{0} and word{0}b then\n", "copy_selection"),
    (TextDelta, "```\n", "word{0} and word{0}b then\n", "drop_selection"),
]


def lines(log):
    """The rows without the bar of the focused message."""
    return [row.replace("▌", " ") for row in rows(log)]


@pytest.mark.parametrize(("kind", "started", "more", "ending"), GROWING)
async def test_no_row_moves_from_the_press_until_what_is_selected_is_copied_or_cleared(
    pilot, log, kind, started, more, ending
):
    numbers = count(100)

    def stream(pieces=8):
        for _ in range(pieces):
            log.apply(kind(text=more.format(next(numbers))))
        log.flush()

    log.show(talk(3))
    log.start_answer(streaming())
    log.apply(kind(text=started))
    stream(60)
    if kind is ReasoningDelta:
        log.viewport.focus_last()
        log.toggle("is_collapsed")
    await pilot.pause()
    assert log.viewport.is_following
    shown = lines(log)
    y = max(y for y, row in enumerate(shown) if "word" in row) - 1  # a row that is full
    row = shown[y]
    words = " ".join(row.split()[-3:])
    start = cell_len(row[: row.rindex(words)])
    end = start + len(words)
    await pilot.mouse_down(log, offset=(start, y))
    for x in range(start, end):
        stream()
        await move(pilot, log, (x, y))
        assert lines(log)[: y + 1] == shown[: y + 1]
    await pilot.mouse_up(log, offset=(end - 1, y))
    stream()
    await pilot.pause(2 * selection.AGAIN_S)
    assert lines(log)[: y + 1] == shown[: y + 1]
    assert log.viewport.has_new_text
    assert log.selected_text() == words
    getattr(log, ending)()
    assert log.viewport.is_following
    stream()
    assert log.viewport.is_at_end


async def test_a_click_or_two_on_what_streams_moves_nothing_and_then_the_end_is_followed(
    pilot, log
):
    log.show([])
    log.start_answer(streaming())
    await pour(log, "- item\n" * 60)
    await pilot.pause()
    shown = lines(log)
    position = find(log, "item")
    await pilot.mouse_down(log, offset=position)
    await pour(log, "- more\n" * 9)
    await pilot.mouse_up(log, offset=position)
    await pour(log, "- more\n" * 9)
    assert lines(log)[:9] == shown[:9]
    await until(lambda: log.viewport.is_following, "the end is followed again")


async def test_keys_select_message_by_message(pilot, log):
    log.show([question("one"), answer("two"), question("three"), answer("four")])
    log.focus()
    await pilot.pause()
    await pilot.press("shift+up")
    assert log.selected_text() == "three\n\nfour"
    await pilot.press("shift+up")
    assert log.selected_text() == "two\n\nthree\n\nfour"
    await pilot.press("shift+down", "shift+down", "shift+down")
    assert log.selected_text() == "four"
    assert log.focused_message.text == "four"
    await pilot.press("shift+up", "y")
    assert pilot.app.copied == ["three\n\nfour"]
    assert log.selected_text() == ""
    await pilot.press("y")  # without a selection, a command on the focused message
    assert [fact.command_id for fact in pilot.app.facts] == ["message.copy"]
    assert log.focused_message.text == "three"
