from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.tui.widgets.chat_log.blocks import TABLE_ROWS
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
