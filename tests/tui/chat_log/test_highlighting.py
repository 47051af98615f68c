"""Code is plain until its colours arrive."""

from __future__ import annotations

import pytest

from lmchat.machine.lexer import colours_of
from lmchat.tui.widgets.chat_log.blocks import CODE_LINES
from tests.support.chat_log_app import (
    LogApp,
    answer,
    highlighted,
    load,
    pour,
    rows,
    streaming,
)
from tests.support.programs import is_running, until

pytestmark = pytest.mark.timeout(120)
HANGING = '"' + "\\" * 60  # the lexer for fish needs exponential time


def taken(colours):
    """Let the lexers answer what waits first; return it with the blocks that waited."""
    wanted = colours.newest_request
    return wanted, colours.put(wanted, colours_of(*wanted)[1])


def styles_of(log, words):
    return {
        str(segment.style.color)
        for strip in log.render_lines(log.size.region)
        for segment in strip
        if words in segment.text
    }


def colour_of(log, name):
    return str(log.get_component_rich_style(f"chat-log--{name}", partial=True).color)


@pytest.mark.parametrize("is_loaded", [True, False])
async def test_each_piece_of_a_long_fence_is_coloured(log, is_loaded):
    text = "```python\n" + "x = 1  # note\n" * 3 * CODE_LINES + "```\n"
    if is_loaded:
        log.load([answer(text)])
    else:
        log.begin_answer(streaming())
        for start in range(0, len(text), 500):
            await pour(log, text[start : start + 500])
    comment = colour_of(log, "comment")
    await until(lambda: styles_of(log, "note") == {comment}, "the colours of the end")
    log.scroll_home()
    await until(lambda: styles_of(log, "note") == {comment}, "the colours of the beginning")


async def test_code_of_an_answer_that_streams_is_coloured_before_its_fence_ends(log):
    log.begin_answer(streaming())
    await pour(log, "```python\nif True:\n    pass  # so")
    await until(lambda: styles_of(log, "# so") == {colour_of(log, "comment")}, "the colours")
    await pour(log, " it goes on\nwhile")
    assert styles_of(log, "# so") == {colour_of(log, "comment")}
    await until(lambda: styles_of(log, "while") == {colour_of(log, "keyword")}, "the colours")


async def test_colours_that_arrive_do_not_move_the_view(pilot, log):
    fence = "```python\n" + "if True: pass\n" * 20 + "```\n"
    await load(pilot, *(answer(f"{fence}\nwords {number}") for number in range(30)))
    log.scroll_to(y=200)
    before, top = rows(log), log.viewport.top
    await highlighted(log)
    assert styles_of(log, "if") == {colour_of(log, "keyword")}
    assert (rows(log), log.viewport.top) == (before, top)


async def test_a_lexer_that_hangs_delays_neither_text_nor_other_colours(pilot, log):
    await load(pilot, answer(f"```fish\n{HANGING}\n```\n\n```python\nif x:\n```\n\nLAST"))
    assert "LAST" in "\n".join(rows(log))
    await until(
        lambda: styles_of(log, "if") == {colour_of(log, "keyword")}, "the colours of the other"
    )


async def test_leaving_ends_the_child():
    async with LogApp().run_test() as pilot:
        pilot.app.log_view.load([answer(f"```fish\n{HANGING}\n```\n")])
        await until(lambda: pilot.app.highlighter.pid, "the child")
        pid = pilot.app.highlighter.pid
    assert not is_running(pid)
