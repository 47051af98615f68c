"""Where hits stand in the rows of a block that is laid out."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.tui.widgets.chat_log.letters import Query, Range
from lmchat.tui.widgets.chat_log.line import Line

Row = list[tuple[int, int, int]]
"""Where hits begin and end in a row, and their numbers in the block."""
Rows = list[Row]


def hits_in(lines: Sequence[Line], query: Query | None) -> tuple[Rows, int]:
    """Return the hits row by row, and how many there are; several rows may be one line of text."""
    rows: Rows = [[] for _ in lines]
    first = count = 0
    while query is not None and first < len(lines):
        last = first
        while lines[last].is_wrapped and last + 1 < len(lines):
            last += 1
        spans = list(query.spans("".join(line.text for line in lines[first : last + 1])))
        _distribute(spans, lines[first : last + 1], rows[first : last + 1], count)
        count += len(spans)
        first = last + 1
    return rows, count


def _distribute(spans: Sequence[Range], lines: Sequence[Line], rows: Sequence[Row], nth: int) -> None:
    """Put the hits of one line into its rows; a hit that goes over the end of a row is in both."""
    at = number = 0
    for line, row in zip(lines, rows, strict=True):
        size = len(line.text)
        while number < len(spans) and spans[number][0] < at + size:
            start, end = spans[number]
            row.append((max(start - at, 0), min(end - at, size), nth + number))
            if end > at + size:
                break
            number += 1
        at += size
