"""Tables: columns that fit, or a line for each value where none fit.

A cell is a list of spans, and may have several lines. The first row is the head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from msgspec import Struct
from rich.cells import cell_len
from rich.style import Style

from lmchat.app.markdown_lines.block import Line, Span
from lmchat.app.markdown_lines.page import Page
from lmchat.app.markdown_lines.wrap import BREAK, text_of, width_of, wrapped
from lmchat.base.units import SIGNS

Cell = list[Span]
Prefix = Sequence[Span]  # marks of quotes and items around a line
Prefixes = tuple[Prefix, Prefix]  # of the first line of a block, and of the others

_NULL = Style.null()
_GAP, _LEAST_GAP = 4, 2  # cells between two columns; the least where they need the room
_HANGING = "  "  # of the further lines of a value
_LONGEST_WORD = 14  # cells; longer ones may be cut
_LEAST_CELLS = 6  # no column is shrunk to fewer


class Columns(Struct):
    """Columns of a table, for one width of the page."""

    widths: list[int]  # cells; empty if no columns fit
    aligns: list[str]  # `left`, `center` or `right`, or an empty text
    has_blank_rows: bool = False  # because some rows are wrapped
    gap: int = _GAP  # cells between two of them


def fit_columns(rows: Sequence[Sequence[Cell]], aligns: list[str], room: int) -> Columns:
    """Return columns without widths if none fit into `room` cells.

    The widest are shrunk, but no word of up to `_LONGEST_WORD` cells is cut.
    """
    full_widths = []
    least_widths = []
    has_breaks = False
    for column in zip(*rows, strict=False):
        lines = [line for cell in column for line in split_lines(cell)]
        words = [word for line in lines for word in text_of(line).split()]
        width = max(map(width_of, lines)) or 1  # also for a column without text
        longest_word = min(max(map(cell_len, words), default=0), _LONGEST_WORD)
        full_widths.append(width)
        least_widths.append(min(max(longest_word, _LEAST_CELLS), width))
        has_breaks |= len(lines) > len(column)
    gap_count = len(full_widths) - 1
    gap = _GAP if sum(full_widths) + _GAP * gap_count <= room else _LEAST_GAP
    space = room - gap * gap_count
    if sum(least_widths) > space:
        return Columns([], aligns)
    # first, as the loop below takes one cell at a time
    widths = [min(width, space) for width in full_widths]
    while sum(widths) > space:
        shrinkable = [column for column, least in enumerate(least_widths) if widths[column] > least]
        widest = max(shrinkable, key=widths.__getitem__)
        widths[widest] -= 1
    # where cells have several lines, blank rows show where a row starts
    return Columns(widths, aligns, sum(full_widths) > space or has_breaks, gap)


def split_lines(spans: Sequence[Span]) -> list[list[Span]]:
    lines: list[list[Span]] = [[]]
    for span in spans:
        if span[0] == BREAK:
            lines.append([])
        else:
            lines[-1].append(span)
    return lines


def table_lines(
    page: Page,
    rows: list[list[Cell]],
    columns: Columns,
    prefixes: Prefixes,
    *,
    is_continued: bool = False,
) -> Iterator[Line]:
    """The first of `rows` is the head; with `is_continued`, it only names the values in a list."""
    prefix, next_prefix = prefixes
    if is_continued and (columns.has_blank_rows or not columns.widths):
        yield page.line([], prefix=prefix)  # the row above is in another block
    if not columns.widths:
        yield from _records(page, rows, prefixes)
        return
    if not is_continued:
        yield from _row(page, rows[0], columns, prefixes)
        width = sum(columns.widths) + columns.gap * (len(columns.widths) - 1)
        yield page.line([(SIGNS.rule * width, page.styles["faint"])], prefix=next_prefix)
    for number, row in enumerate(rows[1:]):
        if number and columns.has_blank_rows:
            yield page.line([], prefix=next_prefix)
        yield from _row(page, row, columns, (next_prefix, next_prefix))


def _row(page: Page, row: list[Cell], columns: Columns, prefixes: Prefixes) -> Iterator[Line]:
    prefix, next_prefix = prefixes
    wrapped_cells: list[list[Cell]] = []  # the lines of each cell
    for cell, width in zip(row, columns.widths, strict=False):
        wrapped_cells.append([])
        for source_line in split_lines(cell):
            wrapped_cells[-1] += wrapped(source_line, width)
    for parts in zip_longest(*wrapped_cells, fillvalue=[]):  # one line of each cell, side by side
        spans: list[Span] = []
        for part, width, align in zip(parts, columns.widths, columns.aligns, strict=False):
            if spans:
                spans.append((" " * columns.gap, _NULL))
            if part:  # without the blanks at which it was wrapped
                last_text, style = part[-1]
                part[-1] = last_text.rstrip(), style
            spans += page.fit(part, width, align=align)
        # a selection copies it without the blanks of its last cell
        yield page.line(spans, prefix=prefix, text=text_of(spans).rstrip())
        prefix = next_prefix


def _records(page: Page, rows: list[list[Cell]], prefixes: Prefixes) -> Iterator[Line]:
    """Write a row as lines `HEAD: VALUE`, with blank rows between rows."""
    prefix, next_prefix = prefixes
    for number, row in enumerate(rows[1:]):
        if number:
            yield page.line([], prefix=next_prefix)
        for head, cell in zip(rows[0], row, strict=False):
            muted = page.muted
            label = [(text.replace(BREAK, " "), muted) for text, _ in head]  # on one line
            for spans in split_lines([*label, (": ", muted), *cell]):
                yield from page.wrap(
                    spans, prefix=prefix, next_prefix=[*next_prefix, (_HANGING, _NULL)]
                )
                prefix = next_prefix
