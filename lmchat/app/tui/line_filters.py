"""Filters of painted lines: ASCII in place of signs (`ui.ascii`), and safe text."""

from __future__ import annotations

from typing import ClassVar

from rich.segment import Segment
from textual.color import Color
from textual.filter import LineFilter
from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.strip import Strip

from lmchat.base.safe_text import on_one_line

# the last ones are of borders
_IN_ASCII = str.maketrans(
    "●◆×·○•↑↓←→–…‹›\u00a0━─│▌└▁▂▃▄▅▆▇█▀┌┐┘╭╮╯╰▐", "*~x.zo^v<>-~<> #-||`.:-=+*#@ +++++++|"
)


class AsciiFilter(LineFilter):
    """Replaces lmchat's signs by ASCII characters."""

    def apply(self, segments: list[Segment], background: Color) -> list[Segment]:  # noqa: ARG002
        return [
            Segment(text.translate(_IN_ASCII), style, control) for text, style, control in segments
        ]


class _PlainScrollBar(ScrollBarRender):
    """Scrollbar whose thumb starts and ends with whole cells.

    Textual uses eighths of a block, which the filter would turn into punctuation.
    """

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8


def ascii_filters(*, is_ascii: bool) -> list[LineFilter]:
    """Set how scrollbars are drawn, too: Textual has one renderer for all of a process."""
    ScrollBar.renderer = _PlainScrollBar if is_ascii else ScrollBarRender
    return [AsciiFilter()] if is_ascii else []


def safe_strip(strip: Strip) -> Strip:
    """Make a row safe for a terminal; each character keeps its cells."""
    if all(on_one_line(text) is text for text, _, _ in strip):  # nearly every row
        return strip
    return Strip(
        [Segment(on_one_line(text), style, control) for text, style, control in strip],
        strip.cell_length,
    )
