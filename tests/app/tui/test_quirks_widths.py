"""Characters behind one of unsure width are in the right column, and cuts lose no cell.

The terminal in memory counts as tmux 3.3a does: one cell for ⚠️ and 1️⃣, four for 👍🏽.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pyte
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len

from lmchat.app.cells import split_at_cell
from lmchat.app.tui.quirks.widths import with_sure_widths
from tests.support.pty_program import Terminal, count_cells, joined_cells, own_cells
from tests.support.scripts import SCRIPTS, misplaced

SIGNS = (
    "⚠️",
    "1️⃣",
    "❤️",
    "🏳️‍🌈",
    "🇩🇪",
    "🇩🇪🇫🇷",
    "👍🏽",
    "👨‍👩‍👧",
    "☝🏽",
    "🫱🏻‍🫲🏿",
    "नमस्ते",
    "e\u0301",
    "🙂",
    "🐻‍❄",
)
WIDTH = 60
RULE = "─" * WIDTH


def shown(text: str) -> list[str]:
    """Return the cells of a row."""
    terminal = pyte.Screen(WIDTH, 1)
    terminal.reset_mode(7, private=True)
    pyte.Stream(terminal).feed(text)
    return [terminal.buffer[0][x].data for x in range(WIDTH)]


def test_what_follows_a_sign_is_where_we_count_it():
    for sign in (*SIGNS, "\u0301"):  # the last has no cell
        cells = shown(f"\x1b[1G{RULE}\x1b[1G\x1b[1m" + with_sure_widths(f"a {sign} b"))
        position = cell_len(f"a {sign} ")
        assert cells[position] == "b"
        assert "─" not in cells[:position]


def test_where_terminals_agree_and_in_titles_nothing_is_added():
    for text in [
        "plain",
        "Größe — “so” …",
        "漢字 かな 한글",
        "│ ─ ▌ ✓ ● ▸",
        "␛[2J ␀␡",
        "\x1b]0;⚠️ title\x07",
    ]:
        assert with_sure_widths(text) == text


BEFORE = {
    "colour": "\x1b[38;2;1;2;3m",
    "reset": "\x1b[0m",
    "cursor": "\x1b[1;1H",
    "tilde": "\x1b[3~",
    "blank in it": "\x1b[2 q",
    "title": "\x1b]0;عنوان\x07",
    "title with ST": "\x1b]0;عنوان\x1b\\",
    "link": "\x1b]8;;http://host.example\x1b\\",
    "image": "\x1b_Gf=100;AAAA\x1b\\",
    "passed on by tmux": "\x1bPtmux;\x1b\x1b]9;مرحبا\x07\x1b\\",
    "two letters": "\x1b(B",
    "one letter": "\x1bM",
}


def test_words_behind_a_control_sequence_have_no_letter_of_it():
    for before, words in product(BEFORE.values(), SCRIPTS.values()):
        terminal = Terminal(WIDTH, 1)
        text = f"{words} end"
        terminal.feed(with_sure_widths(f"{before}{text}\x1b[0m").encode())
        assert misplaced(terminal.cells[0], 0, text) == []


@pytest.fixture
def wide_terminal() -> Iterator[Terminal]:
    count_cells(own_cells)
    yield Terminal(WIDTH, 1)
    count_cells(joined_cells)


def test_no_letter_is_lost_in_a_terminal_that_gives_each_character_cells(wide_terminal):
    for words in (*SCRIPTS.values(), *SIGNS, "चाय मीठी है।", "㉈ 〮", "क्\u200dष"):
        text = f"{words} end"
        for styled in (text, text.replace(" ", "\x1b[1m \x1b[0m")):
            wide_terminal.feed(f"\x1b[1G{RULE}\x1b[1G{with_sure_widths(styled)}".encode())
            assert misplaced(wide_terminal.cells[0][: cell_len(text)], 0, text) == []


TEXTS = (
    "✔️ done",
    "⚠️⚠️ not",
    "1️⃣ x",
    "x🏳️‍🌈 x",
    "👨‍👩‍👧 and 👨‍👩‍👧",
    "🇩🇪🇫🇷🇩🇪 x",
    "👍🏽 ☝🏽☝️",
    "❤️‍🔥❤️",
    "नमस्ते जी",
    "e\u0301\u0301 e\u0301",
    "漢字 漢 한글",
    "a\ufe0f b\ufe0f\ufe0f",
    "\u200dab \u200d\u200d x\u200d",
    "\ufe0f✔️ a",
    "\u200d\ufe0f✔️",
    "plain",
    "",
)
LETTERS = st.sampled_from(sorted({*"".join(TEXTS)}))


@given(st.lists(LETTERS, max_size=12).map("".join), st.integers(0, 30))
@example("\u200d", 0)
@example("\u200d", 1)
@example("\u200d ", 0)
@example("\u200d\u200d x", 1)
def test_no_text_is_too_strange_to_be_cut(text, cut):
    before, behind = split_at_cell(text, cut)
    assert cell_len(before) == min(cut, cell_len(text))
    assert cell_len(before) + cell_len(behind) == cell_len(text)


def test_what_a_cut_goes_through_is_seen_on_neither_side():
    for whole in ["✔️", "漢", "🇩🇪", "👨‍👩‍👧", "❤️‍🔥"]:
        blanks = " " * (cell_len(whole) - 1)
        assert split_at_cell(f"a{whole}b", 2) == ("a ", f"{blanks}b")


def test_a_cut_beside_a_sign_leaves_it_whole():
    assert split_at_cell("a✔️b", 1) == ("a", "✔️b")
    assert split_at_cell("a✔️b", 3) == ("a✔️", "b")
    assert split_at_cell("a🇩🇪🇫🇷", 3) == ("a🇩🇪", "🇫🇷")
