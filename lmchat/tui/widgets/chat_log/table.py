"""Tables: columns that fit, or a row for each value where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.style import Style

from lmchat.tui.widgets.chat_log.line import Line, Span
from lmchat.tui.widgets.chat_log.page import Page, split, width_of
from lmchat.tui.widgets.chat_log.wrapping import wrap_points

Cell = list[Span]
_NULL = Style.null()
_GAP = 3
"""Cells between two columns."""
_MIN_COLUMN = 6
"""A column that would have to be narrower turns the table into rows of `name: value`."""


def column_widths(rows: Sequence[Sequence[Cell]], room: int) -> list[int]:
    """Return the widths of the columns, the widest shrunk first; an empty list where they cannot fit."""
    count = max(map(len, rows))
    widths = [
        max((width_of(row[column]) for row in rows if column < len(row)), default=0)
        for column in range(count)
    ]
    widths = [max(width, 1) for width in widths]
    excess = sum(widths) + _GAP * (count - 1) - room
    while excess > 0:
        widest = max(widths)
        if widest <= _MIN_COLUMN:
            return []
        second = max((width for width in widths if width < widest), default=_MIN_COLUMN)
        index = widths.index(widest)
        step = min(excess, max(widest - max(second, _MIN_COLUMN), 1))
        widths[index] -= step
        excess -= step
    return widths


def table_lines(
    page: Page, rows: list[list[Cell]], aligns: list[str], widths: list[int], *, prefix: Sequence[Span] = ()
) -> Iterator[list[Line]]:
    """Yield the lines of each row; those of the first, the head, end with a rule."""
    for index, row in enumerate(rows):
        if not widths:
            yield list(_record(page, rows[0], row, prefix)) if index else []
            continue
        lines = list(_row(page, row, aligns, widths, prefix))
        if not index:
            rule = page.signs.rule * (sum(widths) + _GAP * (len(widths) - 1))
            lines.append(page.line([(rule, page.styles["faint"])], prefix=prefix))
        yield lines


def _row(
    page: Page, row: list[Cell], aligns: list[str], widths: list[int], prefix: Sequence[Span]
) -> Iterator[Line]:
    """Yield the lines of one row: cells that are too long are broken inside their column."""
    cells = [list(_broken(cell, width)) for cell, width in zip(row, widths, strict=False)]
    for number in range(max(map(len, cells), default=0)):
        spans: list[Span] = []
        for column, parts in enumerate(cells):
            part = parts[number] if number < len(parts) else []
            spans += ([(" " * _GAP, _NULL)] if column else []) + page.fit(
                _trimmed(part), widths[column], align=aligns[column]
            )
        line = page.line(spans, prefix=prefix, text="".join(text for text, _ in spans).rstrip())
        line.is_row = True
        yield line


def _record(page: Page, head: list[Cell], row: list[Cell], prefix: Sequence[Span]) -> Iterator[Line]:
    """Yield a row as lines of `name: value`, with a blank line behind."""
    for name, value in zip(head, row, strict=False):
        label = [(text, page.styles["muted"]) for text, _ in name]
        yield from page.wrap([*label, (": ", page.styles["muted"]), *value], first=prefix, rest=prefix)
    yield page.line([], prefix=prefix)


def _broken(cell: Cell, width: int) -> Iterator[Cell]:
    text = "".join(part for part, _ in cell)
    return split(cell, [0, *wrap_points(text, width), len(text)])


def _trimmed(cell: Cell) -> Cell:
    """Return a cell without blanks at its end, which could push it over the width."""
    if not cell:
        return []
    *rest, (text, style) = cell
    return [*rest, (text.rstrip(), style)]
