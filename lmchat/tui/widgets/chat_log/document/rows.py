"""The rows of a document: where each stands, and what stands on it."""

from __future__ import annotations

from collections.abc import Iterator

from lmchat.tui.widgets.chat_log.document.entries import Entries
from lmchat.tui.widgets.chat_log.document.heights import Heights
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.line import Line

Place = tuple[int, int, int]
"""Entry, block (-1 for the blank row above the entry), and line in the block with the blank row above it."""


class Rows:
    """All messages with their heights, from which it is known what stands on a row."""

    def __init__(self) -> None:
        self.entries = Entries()
        self.heights = Heights()
        self.layout: Layout | None = None

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def total(self) -> int:
        """Lines of all of it."""
        return self.heights.total

    @property
    def width(self) -> int:
        """Cells of a line of text."""
        return self.layout.page.text_width if self.layout else 80

    def locate(self, y: int) -> Place:
        """Return what stands on a line."""
        index, line = self.heights.find(y)
        entry = self.entries[index]
        if line < above(index) or not len(entry.heights):
            return index, -1, line
        return index, *entry.heights.find(line - above(index))

    def position(self, place: Place) -> int:
        """Return the line on which something stands."""
        index, number, line = place
        top = self.heights.top(index)
        if number < 0:
            return top + line
        heights = self.entries[index].heights
        return top + above(index) + heights.top(min(number, len(heights))) + line

    def line(self, place: Place) -> Line | None:
        """Return the line at a place; None for a blank row and for what is not laid out."""
        index, number, row = place
        entry = self.entries[index]
        if not 0 <= number < len(entry.blocks):
            return None
        lines = entry.blocks[number].lines
        if lines is None:
            return None
        row -= entry.heights[number] - len(lines)
        return lines[row] if 0 <= row < len(lines) else None

    def rows(self, y: int, count: int) -> Iterator[tuple[Place, Line | None]]:
        """Yield so many lines from one on; None for blank rows. It ends with the document."""
        if not self.entries or y >= self.total:
            return
        index, number, row = self.locate(y)
        while count > 0 and index < len(self.entries):
            entry = self.entries[index]
            height = above(index) if number < 0 else entry.heights[number]
            lines = (entry.blocks[number].lines or []) if number >= 0 else []
            for line in range(row, min(height, row + count)):
                place = line - height + len(lines)
                yield (index, number, line), lines[place] if place >= 0 and lines else None
            count -= max(height - row, 0)
            number, row = number + 1, 0
            if number >= len(entry.heights):
                index, number = index + 1, -1


def above(index: int) -> int:
    """Return the blank rows above a message."""
    return int(index > 0)
