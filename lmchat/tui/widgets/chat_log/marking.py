"""Mark characters of a row."""

from __future__ import annotations

from collections.abc import Iterator

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

_NULL = Style.null()


def mark(strip: Strip, start: int, end: int, style: Style) -> Strip:
    """Return a row in which the characters from `start` to `end` have a style, too."""
    return Strip(_marked(strip, start, end, style), strip.cell_length)


def _marked(strip: Strip, start: int, end: int, style: Style) -> Iterator[Segment]:
    position = 0
    for text, look, _ in strip:
        first, last = max(start - position, 0), max(end - position, 0)
        for part, is_chosen in (
            (text[:first], False),
            (text[first:last], True),
            (text[max(first, last) :], False),
        ):
            if part:
                # the style comes last: it must win over the colours of the row
                yield Segment(part, (look or _NULL) + style if is_chosen else look)
        position += len(text)
