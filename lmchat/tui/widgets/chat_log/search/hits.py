"""Where hits stand in the rows of a block that is laid out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lmchat.tui.widgets.chat_log.line import Line
from lmchat.tui.widgets.chat_log.search.letters import Query

Row = list[tuple[int, int, int]]
"""Where hits begin and end in a row, and their numbers in the block."""
Rows = list[Row]
Piece = tuple[int, int, str, str]
"""A row, where in it a text begins, the text, and what stands between it and the next piece."""
CARRIED = -1
"""The number of a hit that begins in the block before."""


def hits_in(lines: Sequence[Line], query: Query, *, carried: int = 0, given: int = 0) -> tuple[Rows, int]:
    """Return the hits row by row, and how many there are; several rows may be one line of text.

    So many characters at the beginning are the end of a hit that is `carried` over from the block before; so
    many at the end are `given` to one that goes on in the next block.
    """
    rows: Rows = [[] for _ in lines]
    count = 0
    texts = list(texts_in(lines))
    for number, pieces in enumerate(texts):
        text = "".join(words + tail for _, _, words, tail in pieces)
        start = carried if number == 0 else 0
        stop = len(text) - (given if number == len(texts) - 1 else 0)
        if start:
            _put(rows, pieces, (0, start, CARRIED))
        for first, last in query.spans(text[start:stop]):
            _put(rows, pieces, (first + start, last + start, count))
            count += 1
        if stop < len(text):
            _put(rows, pieces, (stop, len(text), count))
            count += 1
    return rows, count


def texts_in(lines: Sequence[Line]) -> Iterator[list[Piece]]:
    """Yield each line of text, and each cell of a table, as the pieces that it is wrapped to."""
    first = 0
    while first < len(lines):
        last = first
        while (lines[last].is_wrapped or lines[last].tails) and last + 1 < len(lines):
            last += 1
        if lines[first].cells:
            yield from _cells(lines, first, last)
        else:
            yield [(number, 0, lines[number].text, "") for number in range(first, last + 1)]
        first = last + 1


def _cells(lines: Sequence[Line], first: int, last: int) -> Iterator[list[Piece]]:
    for column in range(len(lines[first].cells)):
        pieces = []
        for number in range(first, last + 1):
            line = lines[number]
            start, end = line.cells[column]
            text = line.text[start:end].rstrip()
            words = text.lstrip()
            pieces.append((number, start + len(text) - len(words), words, "".join(line.tails[column:][:1])))
        yield pieces


def _put(rows: Rows, pieces: Sequence[Piece], hit: tuple[int, int, int]) -> None:
    """Put a hit into its rows; one that goes over the end of a row is in both."""
    first, last, nth = hit
    at = 0
    for row, start, words, tail in pieces:
        begin, end = max(first - at, 0), min(last - at, len(words))
        if begin < end:
            rows[row].append((start + begin, start + end, nth))
        at += len(words) + len(tail)
        if at >= last:
            return
