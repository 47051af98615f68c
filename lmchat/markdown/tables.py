"""Tables: columns that fit, or a line for each value where no columns fit.

A cell is a list of spans, and may have several lines. The first row of a table is its head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from msgspec import Struct
from rich.cells import cell_len
from rich.style import Style

from lmchat.markdown.block import Line, Span
from lmchat.markdown.wrap import BREAK, Page, split_spans, width_of, wrap_points
from lmchat.units import UNICODE

Cell = list[Span]
Prefix = Sequence[Span]  # what a line begins with: marks of quotes and items
Prefixes = tuple[Prefix, Prefix]  # of the first line of a block, and of the following ones

_NULL = Style.null()
_GAP = 2  # cells between two columns
_HANGING = "  "  # indent of the further lines of a value
_LONGEST_WORD = 14  # cells of a word that widen its column; longer words are cut
_LEAST_CELLS = 6  # to which a column can be shrunk, even if its words are shorter


class Columns(Struct):
    """The columns of a table, for one width of the page."""

    widths: list[int]
    aligns: list[str]  # `left`, `center` or `right`, or nothing
    has_blank_rows: bool = False  # whether blank rows divide the rows, because some are wrapped


def fit_columns(rows: Sequence[Sequence[Cell]], aligns: list[str], room: int) -> Columns:
    """Return columns that fit into `room` cells, or columns without widths if none fit.

    If a table is too wide, its widest columns are shrunk, but no word of up to `_LONGEST_WORD`
    cells is cut.
    """
    full = []
    least = []
    has_breaks = False
    for column in zip(*rows, strict=False):
        lines = [line for cell in column for line in split_lines(cell)]
        words = [word for line in lines for word in _cell_text(line).split()]
        width = max(map(width_of, lines)) or 1
        longest = max(map(cell_len, words), default=0)
        full.append(width)
        least.append(min(width, max(_LEAST_CELLS, min(_LONGEST_WORD, longest))))
        has_breaks |= len(lines) > len(column)
    space = room - _GAP * (len(full) - 1)
    if sum(least) > space:
        return Columns([], aligns)
    is_wrapped = sum(full) > space or has_breaks
    return Columns(_shrunk(full, least, space), aligns, is_wrapped)


def _shrunk(full: list[int], least: list[int], space: int) -> list[int]:
    """Return widths that fit into a space: the widest column is shrunk, again and again.

    No column is shrunk to less than `least`.
    """
    widths = [max(min(width, space), low) for width, low in zip(full, least, strict=True)]
    while sum(widths) > space:
        shrinkable = [column for column, low in enumerate(least) if widths[column] > low]
        widest = max(shrinkable, key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _cell_text(cell: Cell) -> str:
    return "".join(text for text, _ in cell)


def split_lines(spans: Sequence[Span]) -> list[list[Span]]:
    """Return the spans of each line; spans with the text `BREAK` divide the lines."""
    lines: list[list[Span]] = [[]]
    for span in spans:
        if span[0] == BREAK:
            lines.append([])
        else:
            lines[-1].append(span)
    return lines


def table_lines(
    page: Page, rows: list[list[Cell]], columns: Columns, prefixes: Prefixes
) -> Iterator[Line]:
    """Yield the lines of a table, or of a list of values where no columns fit."""
    if not columns.widths:
        yield from _records(page, rows, prefixes)
        return
    yield from _row(page, rows[0], columns, prefixes)
    width = sum(columns.widths) + _GAP * (len(columns.widths) - 1)
    yield page.line([(UNICODE.rule * width, page.styles["faint"])], prefix=prefixes[1])
    yield from _rows(page, rows[1:], columns, prefixes[1])


def continued_lines(
    page: Page, rows: list[list[Cell]], columns: Columns, prefix: Prefix
) -> Iterator[Line]:
    """Yield the lines of rows that continue a table in another block.

    `rows` begins with the head, which is not shown again, but may name the values in a list.
    """
    if not columns.widths or columns.has_blank_rows:  # the row above is in another block
        yield page.line([], prefix=prefix)
    if columns.widths:
        yield from _rows(page, rows[1:], columns, prefix)
    else:
        yield from _records(page, rows, (prefix, prefix))


def _rows(page: Page, rows: list[list[Cell]], columns: Columns, prefix: Prefix) -> Iterator[Line]:
    """Yield the lines of rows below the head, with blank rows between them if cells are wrapped."""
    for number, row in enumerate(rows):
        if number and columns.has_blank_rows:
            yield page.line([], prefix=prefix)
        yield from _row(page, row, columns, (prefix, prefix))


def _row(page: Page, row: list[Cell], columns: Columns, prefixes: Prefixes) -> Iterator[Line]:
    """Yield the lines of a row, as many as its highest cell needs."""
    prefix, next_prefix = prefixes
    wrapped_cells = [
        _wrapped(cell, width) for cell, width in zip(row, columns.widths, strict=False)
    ]
    for parts in zip_longest(*wrapped_cells, fillvalue=()):
        spans: list[Span] = []
        for part, width, align in zip(parts, columns.widths, columns.aligns, strict=False):
            if spans:
                spans.append((" " * _GAP, _NULL))
            spans += page.fit(_trimmed(part), width, align=align)
        yield page.line(spans, prefix=prefix, text=_cell_text(spans).rstrip())
        prefix = next_prefix


def _records(page: Page, rows: list[list[Cell]], prefixes: Prefixes) -> Iterator[Line]:
    """Yield a table as a list: each value in a line `HEAD: VALUE`, a blank row between two rows."""
    prefix, next_prefix = prefixes
    for number, row in enumerate(rows[1:]):
        if number:
            yield page.line([], prefix=next_prefix)
        for name, value in zip(rows[0], row, strict=False):
            muted = page.styles["muted"]
            label = [(text.replace(BREAK, " "), muted) for text, _ in name]
            for spans in split_lines([*label, (": ", muted), *value]):
                yield from page.wrap(
                    spans, prefix=prefix, next_prefix=[*next_prefix, (_HANGING, _NULL)]
                )
                prefix = next_prefix


def _wrapped(cell: Cell, width: int) -> Iterator[Cell]:
    """Yield the lines of a cell."""
    for source_line in split_lines(cell):
        text = _cell_text(source_line)
        yield from split_spans(source_line, [0, *wrap_points(text, width), len(text)])


def _trimmed(cell: Sequence[Span]) -> Cell:
    """Return a cell without blanks at its end."""
    if not cell:
        return []
    *before, (text, style) = cell
    return [*before, (text.rstrip(), style)]
