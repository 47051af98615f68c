"""Nobody sees where something long was cut."""

from __future__ import annotations

import pytest

from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, Block, Kind
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.markdown.tail import cut_place
from tests.support.chat_log_app import (
    coloured_page,
    laid_out,
    painted,
    shown,
    tail_of,
)

PAGE = coloured_page()


def uncut(text):
    return painted(Layout(PAGE).lines(Block(Kind.MARKDOWN, text), {}))


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
    assert rows == [row for row in uncut(text) if row[1]]


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


def test_no_bold_words_are_torn_apart_where_another_place_is_near():
    text = "ab " * 1_320 + "**bold words** " + "ab " * 300
    bold = "cd " * 1_325 + "**bold words that go on** " + "ab " * 300
    assert cut_place(text)[0] > text.index("**")
    assert cut_place(bold)[0] <= bold.index("**")


def test_soft_words_are_not_torn_apart_where_another_place_is_near():
    text = "cd " * ((PIECE_CHARS - 7) // 3 - 1) + "*go on now* " + "ab " * 300
    assert text.index("*") + len("*go on ") <= PIECE_CHARS
    assert 0 < cut_place(text)[0] <= text.index("*")


@pytest.mark.parametrize("lead", range(3))
@pytest.mark.parametrize(
    "cluster", ["\\*", "\N{WOMAN}\u200d\N{WOMAN}\u200d\N{GIRL}", "e\u0301", "\U0001f44d\U0001f3fd"]
)
def test_what_is_one_sign_to_a_reader_is_cut_nowhere(cluster, lead):
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
