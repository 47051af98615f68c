"""Frames with fewer colour codes look the same on a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmchat.app.tui.quirks.driver import rows_of, with_changed_colours
from tests.support.pty_program import Terminal

RED = "\x1b[38;2;255;0;0m"
BLUE_ON_RED = "\x1b[34;48;2;255;0;0m"
BOLD = "\x1b[1;38;5;7m"
RESET = "\x1b[0m"

codes = st.sampled_from(
    [RED, BLUE_ON_RED, BOLD, "\x1b[3m", "\x1b[1;4;91;102m", "\x1b[m", RESET, "\x1b[39;49m"]
)
words = st.sampled_from(
    ["ab", "é", "漢", " ", "\x1b[2;3H", "\x1b[?25l", "\x1b[K", "\r\n", "\x1b]0;title\x07"]
)
frames = st.lists(codes | words, max_size=30).map("".join)


def looks(text: str) -> list[list[object]]:
    terminal = Terminal(20, 5)
    terminal.feed(text.encode())
    buffer = terminal.screen.buffer
    return [[buffer[y][x] for x in range(20)] for y in range(5)]


@given(frames)
def test_a_frame_looks_as_it_did_row_by_row(text):
    drawn = "".join(map(with_changed_colours, rows_of(text)))
    assert looks(drawn + "x") == looks(text + RESET + "x")


def test_a_row_is_cut_off_where_the_colours_are_reset_before_it():
    first, second = f"{RED}a", f"{RED}b"
    rows = rows_of(f"{first}{RESET}\x1b[2;1H{second}\x1b[3;1Hc{RESET}\n\x1b[4;1Hd")
    assert rows == [first, "\x1b[2;1H", f"{second}\x1b[3;1Hc", "\n\x1b[4;1H", "d"]


def test_a_colour_is_written_where_it_changes():
    for text, written in [
        (f"{RED}a{RESET}{RED}b{RESET}", f"{RED}ab\x1b[m"),
        (f"{RED}a{RESET}{RED}{BOLD}b{RESET}", f"{RED}a{BOLD}b\x1b[m"),
        (f"{BOLD}a{RESET}{RED}b{RESET}", f"{BOLD}a\x1b[m{RED}b\x1b[m"),
        (f"{RED}a{RESET}\x1b[3;4H{RED}b{RESET}", f"{RED}a\x1b[3;4Hb\x1b[m"),
        ("plain", "plain"),
    ]:
        assert with_changed_colours(text) == written
