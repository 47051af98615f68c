"""Columns of a list: texts that are padded with blanks, so that they are below each other."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from rich.cells import cell_len

from lmchat.tui.widgets.line import MUTED, StyledText, StyledTexts

GAP = 2  # cells between two columns


class Column(Struct, frozen=True):
    """Column of a list."""

    title: str
    rank: int = 0  # if room is short, the lowest is dropped first
    is_right: bool = False  # aligned at the right


def aligned(
    columns: Sequence[Column], rows: Sequence[Sequence[StyledText]], room: int, gap: int = GAP
) -> list[StyledTexts]:
    """Return a line with the titles of the columns, then one for each row.

    A row has a text for each column, "" for none; they must be safe to show. Columns without texts
    are left out. Then others are dropped until the rest fits into `room` cells.
    """
    lines = [[(column.title, MUTED) for column in columns], *rows]
    widths = [max(cell_len(text) for text, _ in cells) for cells in zip(*lines, strict=True)]
    # indices of the columns with texts, less those for which there is no room
    shown = [index for index in range(len(columns)) if any(row[index][0] for row in rows)]
    while shown and sum(widths[index] + gap for index in shown) - gap > room:
        shown.remove(min(shown, key=lambda index: columns[index].rank))

    padded_lines: list[StyledTexts] = []
    for line in lines:
        cells: list[StyledText] = []
        for index in shown:
            text, style = line[index]
            padding = " " * (widths[index] - cell_len(text))
            padded = padding + text if columns[index].is_right else text + padding
            gap_before = " " * gap if cells else ""  # no gap at the left edge
            cells.append((gap_before + padded, style))
        padded_lines.append(tuple(cells))
    return padded_lines
