"""Tables: columns that fit, or a row for each value where they do not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, pairwise

from msgspec import Struct
from rich.cells import cell_len
from rich.style import Style

from lmchat.tui.widgets.chat_log.blocks import TABLE_ROWS, Line, Span
from lmchat.tui.widgets.chat_log.layout.page import BREAK, Page, split, width_of, wrap_points

Cell = list[Span]
Prefix = Sequence[Span]
Prefixes = tuple[Prefix, Prefix]
NO_WORDS = "\0"  # stands between the lines of a cell that are lines in the source, too: no words go over it
_NULL = Style.null()
_GAPS = (3, 2, 1)
_HANGING = "  "
_LONGEST_WORD = (
    14  # a column is as wide as its longest word, but no wider than this: what is longer is cut
)
_LEAST = 6
_TO_COME = 4  # cells for longer numbers and names further down, where the first rows of a long table decide


class Columns(Struct):
    """The columns of a table, for one width of the page."""

    widths: list[int]
    aligns: list[str]  # `left`, `center` or `right`, or nothing
    gap: int = _GAPS[0]
    is_apart: bool = (
        False  # whether there is a blank row between rows, because some have several lines
    )


def measured(rows: Sequence[Sequence[Cell]], aligns: list[str], room: int) -> Columns:
    """Return columns with the widest shrunk first, so far as their words allow."""
    columns = [[row[place] for row in rows] for place in range(len(rows[0]))]
    words = [[_text(cell).split() for cell in column] for column in columns]
    wanted = [max(map(_width, column)) or 1 for column in columns]
    longest = [max(map(cell_len, chain(*column)), default=0) for column in words]
    least = [
        min(width, max(_LEAST, min(_LONGEST_WORD, word)))
        for width, word in zip(wanted, longest, strict=True)
    ]
    is_long = len(rows) > TABLE_ROWS  # single words and numbers look bad when they are broken
    more = [_TO_COME * (is_long and max(map(len, column[1:])) <= 1) for column in words]
    roomy, roomy_least = (
        [width + added for width, added in zip(sizes, more, strict=True)]
        for sizes in (wanted, least)
    )
    for sizes, widest, narrowest in (
        (roomy, roomy, roomy_least),
        (wanted, wanted, least),
        (roomy_least, roomy, roomy_least),
        (least, wanted, least),
    ):
        for gap in _GAPS:
            space = room - gap * (len(columns) - 1)
            if sum(sizes) <= space:
                is_apart = sum(widest) > space or any(
                    BREAK in _text(cell) for cell in chain(*columns)
                )
                return Columns(_shrunk(widest, narrowest, space), aligns, gap, is_apart)
    return Columns([], aligns)


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
    gap = _gap(page, columns.gap)
    prefix = prefixes[0]
    last = max(map(len, cells), default=1) - 1
    for number in range(last + 1):
        spans: list[Span] = []
        places: list[tuple[int, int]] = []
        end = 0
        for column, parts in enumerate(cells):
            spans += [gap] if column else []
            begin = end + len(gap[0]) * bool(column)
            part = parts[number][0] if number < len(parts) else []
            fitted = page.fit(_trimmed(part), columns.widths[column], align=columns.aligns[column])
            end = begin + sum(len(text) for text, _ in fitted)
            spans += fitted
            places.append((begin, end))
        line = page.line(spans, prefix=prefix, text="".join(text for text, _ in spans).rstrip())
        line.cells = tuple(places)
        if number < last:
            line.tails = tuple(
                parts[number][1] if number < len(parts) else NO_WORDS for parts in cells
            )
        yield line
        prefix = prefixes[1]


def _gap(page: Page, width: int) -> Span:
    """Return what stands between two columns: one blank alone would join their words."""
    return (page.icons.column, page.styles["faint"]) if width == 1 else (" " * width, _NULL)


def _records(page: Page, rows: list[list[Cell]], prefixes: Prefixes) -> Iterator[Line]:
    first, rest = prefixes
    for number, row in enumerate(rows[1:]):
        if number:
            yield page.line([], prefix=rest)
        for name, value in zip(rows[0], row, strict=False):
            label = [(" " if text == BREAK else text, page.styles["muted"]) for text, _ in name]
            for spans in split_lines([*label, (": ", page.styles["muted"]), *value]):
                yield from page.wrap(spans, first=first, rest=[*rest, (_HANGING, _NULL)])
                first = rest


def _broken(cell: Cell, width: int) -> Iterator[tuple[Cell, str]]:
    """Yield the lines of a cell, each with the blanks that follow it."""
    for line in split_lines(cell):
        text = "".join(part for part, _ in line)
        bounds = [0, *wrap_points(text, width), len(text)]
        for part, (start, end) in zip(split(line, bounds), pairwise(bounds), strict=True):
            words = text[start:end]
            yield part, words[len(words.rstrip()) :] if end < len(text) else NO_WORDS


def _trimmed(cell: Cell) -> Cell:
    if not cell:
        return []
    *rest, (text, style) = cell
    return [*rest, (text.rstrip(), style)]
