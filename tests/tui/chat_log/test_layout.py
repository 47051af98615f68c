from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.style import Style

from lmchat.tui.widgets.chat_log.layout.code import code_lines
from lmchat.tui.widgets.chat_log.layout.table import fit_columns
from tests.support.chat_log_app import laid_out, plain_page, shown, tail_of
from tests.support.markdown_corpus import CORPUS

WIDTHS = (34, 60, 97, 394)


def rows(text, width=60):
    return [shown(line) for line in laid_out(tail_of(text), plain_page(width))]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", CORPUS)
def test_every_line_is_exactly_as_wide_as_the_page(name, width):
    for line in laid_out(tail_of(CORPUS[name]), plain_page(width)):
        assert sum(cell_len(segment.text) for segment in line.segments) == width - 1


@given(st.lists(st.text(alphabet="xy z=()\"'#\n", max_size=80), max_size=6))
@settings(deadline=None)
def test_code_keeps_every_character(lines):
    code = "\n".join(lines)
    made = list(code_lines(plain_page(40), code, "python", is_first=False))
    text = "".join(line.text + ("" if line.is_wrapped else "\n") for line in made)
    assert text.removesuffix("\n") == code


def test_long_code_goes_on_indented_with_a_sign_in_the_padding():
    assert rows("```\n" + "x" * 60 + "\n```", 40) == [
        "   code",
        "   " + "x" * 34,
        "  …" + "  " + "x" * 26,
    ]


def test_the_rest_of_an_indented_line_is_indented_two_more():
    made = rows("```\n    " + "x" * 40 + "\n```", 40)
    assert made[1:] == ["   " + "    " + "x" * 30, "  …" + "      " + "x" * 10]


def test_the_reason_of_an_end_stays_when_other_figures_go():
    page = plain_page(34)
    pieces = [
        [(text, Style.null())]
        for text in ("qwen3-8b", " · TTFT 0.19 s", " · 44.0 tok/s", " · length")
    ]
    assert shown(page.row(pieces, kept=1)) == " qwen3-8b · TTFT 0.19 s · length"
    assert shown(page.row(pieces)) == " qwen3-8b · TTFT 0.19 s"


@given(
    st.lists(
        st.lists(st.text(alphabet="ab 漢", max_size=40), min_size=1, max_size=12),
        min_size=1,
        max_size=4,
    ),
    st.integers(15, 120),
)
def test_columns_fit_or_there_are_none(texts, room):
    count = max(map(len, texts))
    rows = [[[(text, Style.null())] for text in row + [""] * (count - len(row))] for row in texts]
    columns = fit_columns(rows, [""] * count, room)
    if columns.widths:
        assert sum(columns.widths) + columns.gap * (count - 1) <= room
        assert len(columns.widths) == count
        assert min(columns.widths) >= 1
    else:
        assert count * 14 + count - 1 > room
