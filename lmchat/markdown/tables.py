"""Tables: columns that fit, or a line for each value where no columns fit.

A cell is a list of spans, and may have several lines. The first row of a table is its head.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from operator import add

from msgspec import Struct
from rich.cells import cell_len
from rich.style import Style

from lmchat.markdown.block import TABLE_ROWS, Line, Span
from lmchat.markdown.wrap import BREAK, Page, split_spans, width_of, wrap_points

Cell = list[Span]
Prefix = Sequence[Span]  # what a line begins with: marks of quotes and items
Prefixes = tuple[Prefix, Prefix]  # of the first line of a block, and of the following ones

NO_WORDS = "\0"  # between lines of a cell that are lines in the source: no hit crosses it
_NULL = Style.null()
_GAPS = (3, 2, 1)  # cells between two columns; the widest gap that fits is taken
_HANGING = "  "  # indent of the further lines of a value
_LONGEST_WORD = 14  # cells of a word that widen its column; longer words are cut
_LEAST_CELLS = 6  # to which a column can be shrunk, even if its words are shorter
_SPARE_CELLS = 4  # for longer numbers and names below the rows that determine the widths


class Columns(Struct):
    """The columns of a table, for one width of the page."""

    widths: list[int]
    aligns: list[str]  # `left`, `center` or `right`, or nothing
    gap: int = _GAPS[0]
    has_blank_rows: bool = False  # whether blank rows divide the rows, because some are wrapped


def fit_columns(rows: Sequence[Sequence[Cell]], aligns: list[str], room: int) -> Columns:
    """Return columns that fit into `room` cells, or columns without widths if none fit.

    The widest columns are shrunk first, as far as their words allow. In a table that continues in
    other blocks, columns of single words get spare cells, as later rows may have longer ones.
    """
    columns = list(zip(*rows, strict=False))
    full = [max(map(_cell_width, column)) or 1 for column in columns]
    least = [_least_width(column, width) for column, width in zip(columns, full, strict=True)]
    spare = [0] * len(columns)
    if len(rows) > TABLE_ROWS:  # with the head: later rows are in blocks of their own
        spare = [_SPARE_CELLS if _has_single_words(column) else 0 for column in columns]
    full_and_spare = list(map(add, full, spare))
    least_and_spare = list(map(add, least, spare))

    # In an attempt, the first widths must fit into the space. Then the columns get the second ones,
    # shrunk as far as needed, but never below the third ones. The best attempt is first.
    attempts = (
        (full_and_spare, full_and_spare, least_and_spare),  # nothing is shrunk
        (full, full, least),  # nothing is shrunk, but no cells are spare
        (least_and_spare, full_and_spare, least_and_spare),
        (least, full, least),
    )
    for needed, widest, narrowest in attempts:
        for gap in _GAPS:
            space = room - gap * (len(columns) - 1)
            if sum(needed) <= space:
                is_wrapped = sum(widest) > space or any(map(_has_lines, columns))
                return Columns(_shrunk(widest, narrowest, space), aligns, gap, is_wrapped)
    return Columns([], aligns)


def _least_width(column: Sequence[Cell], width: int) -> int:
    """Return the least cells to which a column can be shrunk: room for its longest word.

    `width` is the width that the column needs. Words of more than `_LONGEST_WORD` cells are cut.
    """
    words = chain.from_iterable(_cell_text(cell).split() for cell in column)
    longest = max(map(cell_len, words), default=0)
    return min(width, max(_LEAST_CELLS, min(_LONGEST_WORD, longest)))


def _has_single_words(column: Sequence[Cell]) -> bool:
    """Return whether all cells below the head are single words or numbers."""
    return all(len(_cell_text(cell).split()) <= 1 for cell in column[1:])


def _has_lines(column: Sequence[Cell]) -> bool:
    return any(BREAK in _cell_text(cell) for cell in column)


def _shrunk(wanted: list[int], least: list[int], space: int) -> list[int]:
    """Return widths that fit into a space: the widest column is shrunk, again and again.

    `wanted` are the widths without shrinking, `least` those below which no column is shrunk.
    """
    widths = [max(min(width, space), low) for width, low in zip(wanted, least, strict=True)]
    while sum(widths) > space:
        shrinkable = [column for column, low in enumerate(least) if widths[column] > low]
        widest = max(shrinkable, key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _cell_width(cell: Cell) -> int:
    return max(map(width_of, split_lines(cell)))


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
    width = sum(columns.widths) + columns.gap * (len(columns.widths) - 1)
    yield page.line([(page.icons.rule * width, page.styles["faint"])], prefix=prefixes[1])
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
    """Yield the lines of a row, as many as its highest cell needs.

    All lines but the last have `tails`: for each cell what is between this line and its next one.
    """
    columns_and_widths = zip(row, columns.widths, strict=False)
    wrapped_cells = [list(_wrapped(cell, width)) for cell, width in columns_and_widths]
    prefix, next_prefix = prefixes
    last = max(map(len, wrapped_cells), default=1) - 1
    for number in range(last + 1):
        parts = [cell[number] if number < len(cell) else ([], NO_WORDS) for cell in wrapped_cells]
        line = _row_line(page, [words for words, _ in parts], columns, prefix)
        if number < last:
            line.tails = tuple(blanks for _, blanks in parts)
        yield line
        prefix = next_prefix


def _row_line(page: Page, parts: list[Cell], columns: Columns, prefix: Prefix) -> Line:
    """Return one line of a row, given the part of each cell that is on it."""
    gap_text, gap_style = _gap(page, columns.gap)
    spans: list[Span] = []
    cell_places: list[tuple[int, int]] = []  # start and end in the text of the line
    text_length = 0
    for column, part in enumerate(parts):
        if column:
            spans.append((gap_text, gap_style))
            text_length += len(gap_text)
        fitted = page.fit(_trimmed(part), columns.widths[column], align=columns.aligns[column])
        spans += fitted
        start = text_length
        text_length += sum(len(text) for text, _ in fitted)
        cell_places.append((start, text_length))
    line = page.line(spans, prefix=prefix, text="".join(text for text, _ in spans).rstrip())
    line.cells = tuple(cell_places)
    return line


def _gap(page: Page, width: int) -> Span:
    """Return the gap between two columns: blanks, or a vertical line if it is one cell wide."""
    if width == 1:
        return page.icons.column, page.styles["faint"]
    return " " * width, _NULL


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


def _wrapped(cell: Cell, width: int) -> Iterator[tuple[Cell, str]]:
    """Yield the lines of a cell, each with what is between it and the next one.

    That is the blanks at which the line is wrapped. After a line that ends in the source too, it is
    `NO_WORDS`, so that no hit crosses it.
    """
    for source_line in split_lines(cell):
        text = _cell_text(source_line)
        bounds = [0, *wrap_points(text, width), len(text)]
        lines = split_spans(source_line, bounds)
        for line, (start, end) in zip(lines, pairwise(bounds), strict=True):
            is_last = end == len(text)
            words = text[start:end]
            yield line, NO_WORDS if is_last else words[len(words.rstrip()) :]


def _trimmed(cell: Cell) -> Cell:
    """Return a cell without blanks at its end."""
    if not cell:
        return []
    *before, (text, style) = cell
    return [*before, (text.rstrip(), style)]
