from __future__ import annotations

from msgspec.structs import astuple
from rich.cells import cell_len
from rich.segment import Segment
from textual.color import Color

from lmchat.app.tui.line_filters import AsciiFilter
from lmchat.base.units import SIGNS


def in_ascii(text: str) -> str:
    [segment] = AsciiFilter().apply([Segment(text)], Color.parse("black"))
    return segment.text


def test_every_sign_becomes_ascii_and_keeps_its_width():
    for sign in (*astuple(SIGNS), "● ready · ~24\u00a0tok – ‹2/3› ↑ ↓ …", "╭──╮ ┌─┐ ▌▐"):
        assert in_ascii(sign).isascii(), sign
        assert cell_len(in_ascii(sign)) == cell_len(sign), sign


def test_states_of_a_server_differ_without_colour_and_so_do_the_bars_of_a_sparkline():
    states = SIGNS.ready, SIGNS.degraded, SIGNS.failed, SIGNS.off
    assert len({in_ascii(state) for state in states}) == 4
    assert len(set(in_ascii(SIGNS.levels))) == 8


def test_words_of_others_are_not_changed():
    assert in_ascii("Käse 你好") == "Käse 你好"
