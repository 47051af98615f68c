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


def test_what_is_open_stays_short_whatever_grows_without_an_end():
    for name, giant in GIANTS.items():
        most, size = (32_000, 4_000) if name in UNCUT else (1.5 * PIECE_CHARS, 200)
        text = giant(40_000 if name in UNCUT else 2 * PIECE_CHARS + 900)
        tail = MarkdownTail()
        for start in range(0, len(text), size):
            tail.feed(text[start : start + size])
            assert sum(len(block.head + block.source) for block in tail.open) <= most, name


def test_a_giant_looks_the_same_at_once_and_in_pieces():
    for name, giant in GIANTS.items():
        text = giant(PIECE_CHARS + 300) + "\n\nafter *it*\n"
        pieces = [text[start : start + 977] for start in range(0, len(text), 977)]
        at_once, in_pieces = tail_of(text), tail_of(*pieces)
        assert painted(laid_out(in_pieces, PAGE)) == painted(laid_out(at_once, PAGE)), name
