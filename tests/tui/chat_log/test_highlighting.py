"""Code has the colours of the whole, however it was cut, and is plain until they arrive."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.machine.lexer import colours_of
from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, PIECE_LINES, Block, Kind
from lmchat.tui.widgets.chat_log.layout import code as coding
from lmchat.tui.widgets.chat_log.layout.code import coloured, whole_colours
from lmchat.tui.widgets.chat_log.layout.colours import Colours
from lmchat.tui.widgets.chat_log.layout.page import harmless
from tests.support.chat_log_app import (
    LogApp,
    answer,
    highlighted,
    load,
    pour,
    rows,
    streaming,
    tail_of,
)
from tests.support.programs import is_running, until

pytestmark = pytest.mark.timeout(120)
STRING = '"""\n' + "def word(x): return 1  # none of this is code\n" * 3 * PIECE_LINES + '"""\n'
CODE = f"x = 1\ny = {STRING}z = 2  # note\n"
HANGING = '"' + "\\" * 60  # the lexer for fish needs exponential time


class Lexers:
    """The lexers of the child, in this process."""

    async def colours(self, language, code):
        return colours_of(language, code)[1] or None


def whole(code, language):
    return asyncio.run(whole_colours(Lexers(), code, language))


def codes(text):
    return {id(block.code): block.code for block in tail_of(text).closed if block.code}.values()


def by_character(parts):
    return [(char, kind) for kind, text in parts for char in text]


LINES = st.sampled_from(
    ["x = 1", '"""', "# c", "def f(): pass", "", "\ttab\t'a'", "s = 'a", "\x1b[1m", "漢\u200d字"]
)


@given(
    st.lists(LINES, max_size=4),
    st.integers(1, 40),
    st.sampled_from(["python", "json", "diff", "console", "html"]),
)
@settings(max_examples=30, deadline=None)
def test_the_colours_of_the_pieces_are_those_of_the_whole(lines, repeats, language):
    for code in codes(f"```{language}\n" + "\n".join(lines * repeats) + "\n```\n"):
        text = harmless("\n".join(code.pieces))
        colours = whole(code, language)
        pairs = zip(map(harmless, code.pieces), colours or [], strict=False)
        found = [by_character(coloured(*pair)) for pair in pairs]
        at_once = by_character(coloured(text, colours_of(language, text)[1]))
        if text:
            assert found
            assert [char for piece in found for char in [*piece, ("\n", None)]][:-1] == [
                (char, None if char == "\n" and is_end else kind)
                for (char, kind), is_end in zip(at_once, ends(code.pieces), strict=True)
            ]


def ends(pieces):
    """Whether each character stands between two pieces."""
    for number, piece in enumerate(pieces):
        if number:
            yield True
        yield from (False for _ in harmless(piece))


def test_the_pieces_of_a_line_without_an_end_are_one_line():
    text = 'x = "' + "a" * 3 * PIECE_CHARS + '"'
    (code,) = codes(f"```python\n{text}\n```\n")
    assert len(code.pieces) == 4
    assert len(code.inner) == 3
    colours = whole(code, "python")
    assert {kind for kind, _ in coloured(code.pieces[2], colours[2])} == {"string"}


def test_what_is_too_long_or_unknown_keeps_the_colours_of_its_pieces(monkeypatch):
    (code,) = codes(f"```python\n{CODE}```\n")
    assert whole(code, "no-such-language") is None
    monkeypatch.setattr(coding, "MOST_WHOLE_CHARS", 100)
    assert whole(code, "python") is None


def taken(colours):
    """Let the lexers answer what waits first; return it with the blocks that waited."""
    wanted = colours.newest_request
    return wanted, colours.put(wanted, colours_of(*wanted)[1])


def test_code_that_grows_keeps_the_colours_of_its_beginning():
    colours = Colours()
    assert colours.of("python", "x = 1") == b""
    taken(colours)
    known = colours.of("python", "x = 1")
    assert len(known) == 5
    assert colours.of("python", "x = 1  # no") == known
    assert colours.of("python", "y = 1") == b""


def test_of_code_that_grows_only_the_newest_is_requested():
    colours = Colours()
    blocks = [Block(Kind.FENCE, text) for text in ("x", "x =", "x = 1")]
    for colours.block in blocks:
        colours.of("python", colours.block.source)
    assert taken(colours) == (("python", "x = 1"), blocks)
    assert colours.newest_request is None


def test_code_without_colours_is_requested_once():
    colours = Colours()
    colours.of("python", "x")
    colours.put(("python", "x"), None)
    assert colours.of("python", "x") == b""
    assert colours.newest_request is None


def test_colours_of_so_much_code_stay_known():
    colours = Colours()
    texts = [f"# {number}" + "a" * 99_000 for number in range(6)]
    for text in texts:
        colours.of("python", text)
        colours.put(("python", text), b"\1" * len(text))
    assert colours.of("python", texts[-1])
    assert colours.newest_request is None
    colours.of("python", texts[0])
    assert colours.newest_request == ("python", texts[0])


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
async def test_a_string_over_many_pieces_is_a_string_when_the_fence_has_ended(log, is_loaded):
    text = f"```python\n{STRING}```\n"
    if is_loaded:
        log.load([answer(text)])
    else:
        log.begin_answer(streaming())
        for start in range(0, len(text), 500):
            await pour(log, text[start : start + 500])
    string = colour_of(log, "string")
    await until(lambda: styles_of(log, "none of this") == {string}, "the colours of the whole")
    assert not log.document.unhighlighted
    log.scroll_home()
    await until(lambda: styles_of(log, "none of this") == {string}, "the colours of the whole")


async def test_code_of_an_answer_that_streams_is_coloured_before_its_fence_ends(log):
    log.begin_answer(streaming())
    await pour(log, "```python\nif True:\n    pass  # so")
    await until(lambda: styles_of(log, "# so") == {colour_of(log, "comment")}, "the colours")
    await pour(log, " it goes on\nwhile")
    assert styles_of(log, "# so") == {colour_of(log, "comment")}
    await until(lambda: styles_of(log, "while") == {colour_of(log, "keyword")}, "the colours")


@pytest.mark.parametrize(
    "text", ["- item\n\n  ```python\n  if x:\n  ```", "> ```python\n> if x:\n> ```"]
)
async def test_code_in_a_list_or_quote_is_coloured(log, text):
    log.load([answer(text)])
    await until(lambda: styles_of(log, "if") == {colour_of(log, "keyword")}, "the colours")


async def test_colours_that_arrive_do_not_move_the_view(pilot, log):
    fence = "```python\n" + "if True: pass\n" * 20 + "```\n"
    await load(pilot, *(answer(f"{fence}\nwords {number}") for number in range(30)))
    log.scroll_to(y=200)
    before, top = rows(log), log.viewport.top
    await highlighted(log)
    assert styles_of(log, "if") == {colour_of(log, "keyword")}
    assert (rows(log), log.viewport.top) == (before, top)


async def test_a_fence_of_one_piece_is_highlighted_once(pilot, log):
    await load(pilot, answer("```python\nx = 1\n```\n\n```\n" + "plain\n" * 90 + "```\n"))
    assert not log.document.unhighlighted
    await highlighted(log)
    assert not log.highlighting.is_needed


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
