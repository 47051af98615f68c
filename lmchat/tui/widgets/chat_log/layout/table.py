"""Tables: columns that fit, or a row for each value where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from operator import add

from msgspec import Struct
from rich.cells import cell_len
from rich.style import Style

from lmchat.tui.widgets.chat_log.blocks import TABLE_ROWS, Line, Span
from lmchat.tui.widgets.chat_log.layout.page import BREAK, Page, split, width_of, wrap_points

Cell = list[Span]
Prefix = Sequence[Span]
Prefixes = tuple[Prefix, Prefix]

NO_WORDS = "\0"  # between the lines of a cell that are lines in the source: no hit goes over it
_NULL = Style.null()
_GAPS = (3, 2, 1)  # cells between two columns; the widest gap that fits is taken
_HANGING = "  "
_LONGEST_WORD = 14  # cells of a word that widen its column; longer words are cut
_LEAST_CELLS = 6
_MORE_CELLS = 4  # for longer numbers and names below the rows that determine the widths


class Columns(Struct):
    """The columns of a table, for one width of the page."""

    widths: list[int]
    aligns: list[str]  # `left`, `center` or `right`, or nothing
    gap: int = _GAPS[0]
    is_apart: bool = False  # whether there are blank rows between rows, because some are wrapped


def measured(rows: Sequence[Sequence[Cell]], aligns: list[str], room: int) -> Columns:
    """Return columns with the widest shrunk first, as far as their words allow."""
    columns = list(zip(*rows, strict=False))
    wanted = [max(map(_width, column)) or 1 for column in columns]
    least = [_least(column, width) for column, width in zip(columns, wanted, strict=True)]
    more = [0] * len(columns)
    if len(rows) > TABLE_ROWS:
        more = [_MORE_CELLS if _has_single_words(column) else 0 for column in columns]
    roomy = list(map(add, wanted, more))
    roomy_least = list(map(add, least, more))

    # widths that must fit, from the best to the worst, and the limits between which columns are
    attempts = (
        (roomy, roomy, roomy_least),
        (wanted, wanted, least),
        (roomy_least, roomy, roomy_least),
        (least, wanted, least),
    )
    for needed, widest, narrowest in attempts:
        for gap in _GAPS:
            space = room - gap * (len(columns) - 1)
            if sum(needed) <= space:
                is_wrapped = sum(widest) > space or any(map(_has_lines, columns))
                return Columns(_shrunk(widest, narrowest, space), aligns, gap, is_wrapped)
    return Columns([], aligns)


def _least(column: Sequence[Cell], width: int) -> int:
    """Return the least width of a column that would like to have a width."""
    words = chain.from_iterable(_text(cell).split() for cell in column)
    longest = max(map(cell_len, words), default=0)
    return min(width, max(_LEAST_CELLS, min(_LONGEST_WORD, longest)))


def _has_single_words(column: Sequence[Cell]) -> bool:
    """Whether all cells below the head are single words or numbers, which should not be broken."""
    return all(len(_text(cell).split()) <= 1 for cell in column[1:])


def _has_lines(column: Sequence[Cell]) -> bool:
    return any(BREAK in _text(cell) for cell in column)


def _shrunk(wanted: list[int], least: list[int], space: int) -> list[int]:
    """Return widths that fit into a space: the widest that may shrink gives first."""
    widths = [max(min(width, space), low) for width, low in zip(wanted, least, strict=True)]
    while sum(widths) > space:
        free = [place for place, low in enumerate(least) if widths[place] > low]
        widths[max(free, key=widths.__getitem__)] -= 1
    return widths


def _width(cell: Cell) -> int:
    return max(map(width_of, split_lines(cell)))


def _text(cell: Cell) -> str:
    return "".join(text for text, _ in cell)


def split_lines(spans: Sequence[Span]) -> list[list[Span]]:
    """Return the lines that spans hold."""
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
    """Yield the lines of rows that continue a table; the head in `rows` is not shown."""
    if not columns.widths or columns.is_apart:
        yield page.line([], prefix=prefix)
    if columns.widths:
        yield from _rows(page, rows[1:], columns, prefix)
    else:
        yield from _records(page, rows, (prefix, prefix))


def _rows(page: Page, rows: list[list[Cell]], columns: Columns, prefix: Prefix) -> Iterator[Line]:
    for number, row in enumerate(rows):
        if number and columns.is_apart:
            yield page.line([], prefix=prefix)
        yield from _row(page, row, columns, (prefix, prefix))


def _row(page: Page, row: list[Cell], columns: Columns, prefixes: Prefixes) -> Iterator[Line]:
    cells = [list(_broken(cell, width)) for cell, width in zip(row, columns.widths, strict=False)]
    prefix = prefixes[0]
    last = max(map(len, cells), default=1) - 1
    for number in range(last + 1):
        parts = [cell[number] if number < len(cell) else ([], NO_WORDS) for cell in cells]
        line = _row_line(page, [part for part, _ in parts], columns, prefix)
        if number < last:
            line.tails = tuple(tail for _, tail in parts)
        yield line
        prefix = prefixes[1]


def _row_line(page: Page, parts: list[Cell], columns: Columns, prefix: Prefix) -> Line:
    """Return one line of a row, given the part of each cell."""
    gap = _gap(page, columns.gap)
    spans: list[Span] = []
    places: list[tuple[int, int]] = []
    size = 0
    for column, part in enumerate(parts):
        if column:
            spans.append(gap)
            size += len(gap[0])
        fitted = page.fit(_trimmed(part), columns.widths[column], align=columns.aligns[column])
        spans += fitted
        begin = size
        size += sum(len(text) for text, _ in fitted)
        places.append((begin, size))
    line = page.line(spans, prefix=prefix, text="".join(text for text, _ in spans).rstrip())
    line.cells = tuple(places)
    return line


def _gap(page: Page, width: int) -> Span:
    """Return the gap between two columns; a single blank would join their words."""
    if width == 1:
        return page.icons.column, page.styles["faint"]
    return " " * width, _NULL


def _records(page: Page, rows: list[list[Cell]], prefixes: Prefixes) -> Iterator[Line]:
    prefix, rest = prefixes
    for number, row in enumerate(rows[1:]):
        if number:
            yield page.line([], prefix=rest)
        for name, value in zip(rows[0], row, strict=False):
            muted = page.styles["muted"]
            label = [(text.replace(BREAK, " "), muted) for text, _ in name]
            for spans in split_lines([*label, (": ", muted), *value]):
                yield from page.wrap(spans, first=prefix, rest=[*rest, (_HANGING, _NULL)])
                prefix = rest


def _broken(cell: Cell, width: int) -> Iterator[tuple[Cell, str]]:
    """Yield the lines of a cell, each with the blanks that follow it."""
    for line in split_lines(cell):
        text = "".join(part for part, _ in line)
        bounds = [0, *wrap_points(text, width), len(text)]
        for part, (start, end) in zip(split(line, bounds), pairwise(bounds), strict=True):
            is_last = end == len(text)
            words = text[start:end]
            yield part, NO_WORDS if is_last else words[len(words.rstrip()) :]


def _trimmed(cell: Cell) -> Cell:
    if not cell:
        return []
    *rest, (text, style) = cell
    return [*rest, (text.rstrip(), style)]
