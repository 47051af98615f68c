"""A text that was cut looks as if it never was."""

from __future__ import annotations

import pytest

from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, Block, Kind
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail, cut_place
from tests.support.chat_log_app import coloured_page, laid_out, painted, shown, tail_of
from tests.support.markdown_corpus import GIANTS

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


def test_what_is_open_stays_short_whatever_grows_without_an_end():
    for name, giant in GIANTS.items():
        most, size = (32_000, 4_000) if name in UNCUT else (1.5 * PIECE_CHARS, 200)
        text = giant(24_000 if name in UNCUT else PIECE_CHARS + 2_000)
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


@pytest.mark.parametrize(
    "text",
    [
        "- [x] a task\n\n" + "  of many paragraphs\n\n" * 60,
        "1. one\n2. two\n\n" + "   of many paragraphs\n\n" * 60 + "3. three\n",
        "> - a\n>   - [ ] b\n" + ">     - c and more words\n" * 60,
    ],
)
def test_what_goes_on_in_an_item_stands_where_it_stood(text):
    rows = [row for row in painted(laid_out(tail_of(text), PAGE)) if row[1]]
    whole = painted(Layout(PAGE).lines(Block(Kind.MARKDOWN, text), {}))
    assert rows == [row for row in whole if row[1]]


def test_a_very_long_line_of_code_is_one_line_to_whoever_copies_it():
    lines = laid_out(tail_of("```\n" + "x" * 2 * PIECE_CHARS + "y\n```\n"), PAGE)[1:]
    assert [line.is_wrapped for line in lines] == [True] * (len(lines) - 1) + [False]


def test_a_very_long_paragraph_is_one_line_to_whoever_copies_it():
    text = "word and " * PIECE_CHARS
    lines = laid_out(tail_of(text), PAGE)
    assert (
        "".join(line.text + ("" if line.is_wrapped else "\n") for line in lines).split()
        == text.split()
    )
    assert sum(not line.is_wrapped for line in lines) == 1


def test_what_is_one_sign_to_a_reader_is_cut_nowhere():
    family = "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}"
    for cluster in ("\\*", family, "e\u0301", "\U0001f44d\U0001f3fd"):
        for lead in range(3):
            place, _ = cut_place("!" * lead + cluster * PIECE_CHARS)
            assert (place - lead) % len(cluster) == 0


def test_a_giant_heading_is_a_heading_to_its_end():
    tail = tail_of("# " + "word " * PIECE_CHARS)
    assert len(tail.closed) > 1
    styles = {
        style
        for row in painted(laid_out(tail, PAGE))
        for words, style, _ in row[0]
        if words.strip()
    }
    assert len(styles) == 1


def test_a_list_of_a_thousand_items_keeps_its_numbers_in_any_depth():
    text = "1. a\n" + "   1. word and word\n" * 300
    marks = [shown(line).split(".")[0].strip() for line in laid_out(tail_of(text), PAGE)]
    assert marks[1:] == [str(number) for number in range(1, 301)]
