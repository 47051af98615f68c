from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.app.markdown_lines.block import Kind
from lmchat.app.markdown_lines.layout import Layout
from tests.support.chat_log_app import coloured_page, laid_out, painted, picture, shown, tail_of
from tests.support.markdown_corpus import CORPUS, LONG_TABLE

PAGE = coloured_page()


def look(*pieces):
    return painted(laid_out(tail_of(*pieces), PAGE))


def words(*pieces):
    return [shown(line) for line in laid_out(tail_of(*pieces), PAGE)]


def split(text, sizes):
    pieces = []
    start = 0
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


def test_all_rows_of_a_long_table_stand_in_the_same_columns():
    lines = [line for line in words(LONG_TABLE) if "row" in line]
    assert len(lines) == 60
    assert {line.index("row") for line in lines} == {lines[0].index("row")}
    tail = tail_of(LONG_TABLE)
    rows = next(block for block in tail.closed if block.kind is Kind.MORE_ROWS)
    first, *_ = Layout(PAGE).lay_out(rows, {})  # as the head is far above the screen
    assert shown(first).index("row") == lines[0].index("row")
    tail = tail_of(LONG_TABLE.removesuffix("\nafter") + "| 61 | **row", is_final=False)
    assert "*" not in picture(tail, PAGE).rpartition("61")[2]
