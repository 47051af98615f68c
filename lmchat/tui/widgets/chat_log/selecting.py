"""What a selection of text with the mouse covers."""

from __future__ import annotations

from collections.abc import Iterator

from textual.geometry import Offset
from textual.selection import Selection

from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.line import Line
from lmchat.tui.widgets.chat_log.viewport import pack, unpack

_FAR = 1 << 30


def clamp(selection: Selection, top: Place, bottom: Place) -> tuple[Offset, Offset]:
    """Return both ends; an open one means the edge of the screen, not all of the history."""
    start = Offset(0, pack(top)) if selection.start is None else selection.start
    end = Offset(_FAR, pack(bottom)) if selection.end is None else selection.end
    return Offset(max(start.x, 0), start.y), Offset(max(end.x, 0), end.y)


def covered(start: Offset, end: Offset, key: int, length: int) -> tuple[int, int] | None:
    """Return which characters of a line are selected."""
    if not start.y <= key <= end.y:
        return None
    first = start.x if key == start.y else 0
    last = end.x if key == end.y else length
    return min(first, length), min(last, length)


def copied(document: Document, start: Offset, end: Offset) -> str:
    """Return the selected text: messages inside as their source, those at its ends as they are shown."""
    first, last = unpack(start.y)[0], unpack(end.y)[0]
    parts = []
    for index in range(first, min(last, len(document) - 1) + 1):
        if first < index < last:
            parts.append(document.entries.source(index).rstrip("\n") + "\n\n")
        else:
            parts += _shown(document, index, start, end)
    return "".join(parts).strip("\n")


def _shown(document: Document, index: int, start: Offset, end: Offset) -> Iterator[str]:
    for number in range(document.build(index)):
        low, high = pack((index, number, 0)), pack((index, number + 1, 0))
        if high <= start.y or low > end.y:
            continue
        height = document.prepare(index, number)
        for row in range(height):
            line = document.line((index, number, row))
            span = covered(start, end, low + row, len(line.text) if line else 0)
            if span is not None:
                yield _text(line, *span) + ("" if line and line.is_wrapped else "\n")


def _text(line: Line | None, start: int, end: int) -> str:
    if line is None:
        return ""
    if not line.cells:
        return line.text[start:end]
    cells = (
        (max(first, start), min(last, end)) for first, last in line.cells if first < end and last > start
    )
    return "\t".join(line.text[first:last].strip() for first, last in cells).rstrip("\t")
