"""One row of the log."""

from __future__ import annotations

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

Span = tuple[str, Style]
"""A piece of text in one style."""


class Line(Struct):
    """One row, from the cell behind the bar to the right edge, and the text that it stands for."""

    segments: list[Segment]
    """What is painted, as wide as the page without the bar."""
    text: str = ""
    """What a selection copies: without prefix and padding."""
    start: int = 0
    """Characters before the text."""
    is_wrapped: bool = False
    """Whether the next line continues this one."""
    cells: tuple[tuple[int, int], ...] = ()
    """Of a row of a table: where in the text each cell begins and ends."""
    tails: tuple[str, ...] = ()
    """What stands between each cell and its rest on the next row; empty where the row of a table ends."""
    tint: str = "base"
    """Style of the ground at its left edge."""
    bar: str = ""
    """Style of the bar at the left; empty where there is none."""
    action: str = ""
    """What a click on it does: the name of a message command."""
    hint: list[Segment] | None = None
    """What is painted instead while the message has the focus."""
    painted: Strip | None = None
    """The row at full width, as long as nothing is marked in it."""
    look: object = None
    """What it was painted with: another width or other colours make another object."""
