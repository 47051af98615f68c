"""A text that was cut looks as if it never was."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, Block, Kind
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.markdown.parser import parse_blocks
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail
from tests.support.chat_log_app import coloured_page, laid_out, painted, tail_of
from tests.support.markdown_corpus import GIANTS

_STARTS = [
    "",
    "",
    "> ",
    "> > ",
    "  ",
    "    ",
    "- ",
    "  - ",
    "1. ",
    "   ",
    "> - ",
    ">",
    "      ",
    "12. ",
]
_WORDS = [
    "a",
    "word word",
    "",
    "",
    "# h",
    "```",
    "```py",
    "~~~",
    "---",
    "|a|b|",
    "|-|-|",
    "|1|2|",
    "<div>",
]
_OTHERS = [
    "<!--",
    "-->",
    "    code",
    "[x]: /y",
    "[x]",
    "===",
    "* x",
    "3. z",
    "**b",
    "b**",
    "\tt",
    "**b** `c`",
]
LINES = st.lists(
    st.tuples(st.sampled_from(_STARTS), st.sampled_from([*_WORDS, *_OTHERS])), max_size=14
)
PAGE = coloured_page()
UNCUT = {
    *(
        "lazy quote",
        "quote of paragraphs",
        "quote of one line",
        "quotes of quotes",
        "table in a quote",
    ),
    *(
        "item",
        "item of lines",
        "item of paragraphs",
        "nested list",
        "fence in an item",
        "fence in a quote",
    ),
    *("html", "indented code"),
}
"""Quotes but for their long paragraphs, single items, HTML and indented code: they are one block."""
pytestmark = pytest.mark.timeout(120)


def uncut(text):
    """The picture of a text that is laid out in one go, as one block."""
    references = {}
    parse_blocks(text, references)
    return painted(Layout(PAGE).lines(Block(Kind.MARKDOWN, text), references))


def without_double_blanks(rows):
    rows = [row if str(row[1]).strip() else None for row in rows]
    rows = [row for number, row in enumerate(rows) if row or (number and rows[number - 1])]
    return rows[: -1 if rows and not rows[-1] else None]


@given(LINES, st.lists(st.integers(1, 12), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_what_was_cut_wherever_it_may_be_looks_like_what_was_never_cut(lines, sizes):
    text = "\n".join(start + words for start, words in lines) + "\n"
    tail, start, number = MarkdownTail(), 0, 0
    while start < len(text):
        tail.feed(text[start : start + sizes[number % len(sizes)]])
        start, number = start + sizes[number % len(sizes)], number + 1
    tail.feed("", is_final=True)
    assert without_double_blanks(painted(laid_out(tail, PAGE))) == without_double_blanks(
        uncut(text)
    )


@pytest.mark.parametrize("name", sorted(UNCUT))
def test_a_block_in_one_piece_ends_before_its_cost_is_felt(name):
    text = GIANTS[name](40_000)
    tail = MarkdownTail()
    for start in range(0, len(text), 400):
        tail.feed(text[start : start + 400])
        assert sum(len(block.source) for block in tail.open) < 20_000 + 3 * PIECE_CHARS
    assert sum(len(block.source) for block in [*tail.closed, *tail.open]) > len(text) * 0.9


@pytest.mark.parametrize("name", [name for name in GIANTS if name not in UNCUT])
def test_what_is_open_stays_short_whatever_grows_without_an_end(name):
    text = GIANTS[name](2 * PIECE_CHARS + 900)
    tail = MarkdownTail()
    for start in range(0, len(text), 90):
        tail.feed(text[start : start + 90])
        assert sum(len(block.head + block.source) for block in tail.open) <= 1.5 * PIECE_CHARS


@pytest.mark.parametrize("name", GIANTS)
def test_a_giant_looks_the_same_at_once_and_in_pieces(name):
    text = GIANTS[name](2 * PIECE_CHARS + 300) + "\n\nafter *it*\n"
    pieces = [text[start : start + 977] for start in range(0, len(text), 977)]
    assert painted(laid_out(tail_of(*pieces), PAGE)) == painted(laid_out(tail_of(text), PAGE))
