from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.tui.widgets.chat_log.blocks import PIECE_CHARS, TABLE_ROWS
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.markdown.tail import MarkdownTail
from tests.support.chat_log_app import coloured_page, laid_out, painted, shown, tail_of
from tests.support.markdown_corpus import CORPUS, LONG_TABLE

_MARKS = [
    "- ",
    "* ",
    "1. ",
    "# ",
    "```",
    "~~~",
    "`",
    "**",
    "_",
    "> ",
    "[x]",
    "[x]: http://y\n",
    "<b>",
    "---",
]
_OTHERS = [
    "a",
    "b c",
    " ",
    "\n",
    "\n\n",
    "|",
    "|a|b|\n|-|-|\n",
    "\r",
    "\r\n",
    "\t",
    "    ",
    "word " * 5,
    "漢字🙂",
]
PIECES = st.sampled_from(
    [*_MARKS, *_OTHERS, "===", "![", "\\", "&amp;", "\x0c", "\u2028", "\x1b", "\0"]
)


PAGE = coloured_page()
TABLE = "| many words | other words |\n|---|---|\n" + "| a | b |\n" * TABLE_ROWS


def look(*pieces):
    return painted(laid_out(tail_of(*pieces), PAGE))


def words(*pieces):
    return [shown(line) for line in laid_out(tail_of(*pieces), PAGE)]


def split(text, sizes):
    pieces, start = [], 0
    while start < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[start : start + size])
        start += size
    return pieces


@given(
    st.sampled_from(list(CORPUS.values())),
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
)
@settings(max_examples=80, deadline=None)
def test_a_text_looks_the_same_however_it_was_split(text, sizes):
    factor = 1 + len(text) // 4_000 * 10
    assert look(*split(text, [size * factor for size in sizes])) == look(text)


@given(st.lists(PIECES, max_size=40), st.lists(st.integers(1, 12), min_size=1, max_size=8))
@settings(max_examples=150, deadline=None)
def test_a_soup_of_markdown_looks_the_same_however_it_was_split(pieces, sizes):
    text = "".join(pieces)
    assert look(*split(text, sizes)) == look(text)


def test_all_rows_of_a_long_table_stand_in_the_same_columns():
    lines = [line for line in words(LONG_TABLE) if "row" in line]
    assert len(lines) == 60
    assert {line.index("row") for line in lines} == {lines[0].index("row")}


@pytest.mark.parametrize("sizes", [[1_000_000], [700], [1, 4_003]])
def test_the_rest_of_a_long_line_of_code_is_no_end_of_its_fence(sizes):
    line = "x" * PIECE_CHARS + "```"
    text = f"```\n{line}\nstill code\n```\nafter"
    blocks = tail_of(*split(text, sizes)).closed
    assert [block.source for block in blocks] == ["x" * PIECE_CHARS, "```\nstill code", "after\n"]


def test_a_list_directly_below_its_paragraph_has_no_blank_row_above():
    assert words("These:\n1. one\n2. two\n\nThose:\n\n- three") == [
        " These:", " 1. one", " 2. two", "", " Those:", "", " • three",
    ]  # fmt: skip


def test_the_words_below_a_long_table_are_seen_before_their_line_ends():
    growing = MarkdownTail()
    for piece in (TABLE + "| a | b |\n\nThis comes after").splitlines(keepends=True):
        growing.feed(piece)
    (words,) = growing.open
    words.has_cursor = True
    assert [shown(line) for line in Layout(PAGE).lines(words, {})] == [" This comes after"]


def test_what_stands_above_a_blank_line_is_not_laid_out_again_with_what_comes_below():
    for above in ("A paragraph.", "# A heading", "***", "> A\nquote", "| a | b |\n|---|---|"):
        growing = MarkdownTail()
        for piece in (above, "\n\n", "Words"):
            growing.feed(piece)
        assert [part.source.strip() for part in growing.closed] == [above]
        assert [part.source.strip() for part in growing.open] == ["Words"]
