"""What is selected: from one place to another, by characters, words, paragraphs or messages."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum
from itertools import pairwise
from unicodedata import category

from msgspec import Struct
from rich.cells import cell_len

from lmchat.text import graphemes
from lmchat.tui.widgets.chat_log.anchor import END, Spot, found_again, spot_at, starts, text_of
from lmchat.tui.widgets.chat_log.blocks import Line
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.matching import Range

Ends = tuple[Spot, Spot]
"""Where something begins and ends."""
_MARK = "\u0301"
_LETTERS = rf"\w[\w{_MARK}]*"
_WORD = re.compile(rf"{_LETTERS}(?:['\u2019]{_LETTERS})*|\s+")
_JOINERS = "\u200c\u200d"


class Unit(IntEnum):
    """What a selection grows by; the value is the number of presses that begin it."""

    CHARACTER = 1
    WORD = 2
    PARAGRAPH = 3
    MESSAGE = 4


class Selected(Struct):
    """What was pressed first and what the pointer is on now, and all between them."""

    anchor: Ends
    """Where it was begun."""
    head: Ends
    """Where it has got to."""
    unit: Unit = Unit.CHARACTER
    """What it grows by."""

    @property
    def start(self) -> Spot:
        """The first place."""
        return min(self.anchor[0], self.head[0], key=lambda spot: spot.order)

    @property
    def end(self) -> Spot:
        """The last place."""
        return max(self.anchor[1], self.head[1], key=lambda spot: spot.order)

    def span(self, index: int, number: int) -> Range | None:
        """Return which characters of a block are selected; all of it ends at `END`."""
        start, end, place = self.start, self.end, (index, number)
        if (start.index, start.number) > place or (end.index, end.number) < place:
            return None
        first = start.at if (start.index, start.number) == place else 0
        last = end.at if (end.index, end.number) == place else END
        return (first, last) if first < last else None

    def found_again(self, document: Document) -> Selected | None:
        """Return the same in a log that has changed since; None where an end is not there any more."""
        spots = [found_again(document, spot) for spot in (*self.anchor, *self.head)]
        if any(spot is None for spot in spots):
            return None
        first, second, third, fourth = (spot for spot in spots if spot is not None)
        return Selected((first, second), (third, fourth), self.unit)

    def moved(self, by: int) -> None:
        """Say that so many messages were put before all others."""
        for spot in {id(spot): spot for spot in (*self.anchor, *self.head)}.values():
            spot.index += by


def message_ends(index: int) -> Ends:
    """Return a whole message."""
    return Spot(index, -1), Spot(index, END)


def ends_at(document: Document, place: Place, cell: int, unit: Unit) -> Ends:
    """Return what is selected by a press on a cell; cells are counted from the one behind the bar."""
    index, number, row = place
    entry = document.entries[index]
    number = min(max(number, 0), document.build(index) - 1)
    document.prepare(index, number)
    lines = entry.blocks[number].lines or []
    row -= entry.heights[number] - len(lines)
    if place[1] < 0 or row < 0 or not lines:  # a blank row above
        return _both(spot_at(document, index, number, 0))
    row = min(row, len(lines) - 1)
    before = starts(lines)
    first, last = _cluster(lines[row], cell)
    if unit is not Unit.CHARACTER:
        text = text_of(lines)
        begin, end = paragraph(text, before[row] + first)
        if unit is Unit.WORD:
            begin, end = word(text, before[row] + first, (begin, end))
        return spot_at(document, index, number, begin), spot_at(document, index, number, end)
    at = before[row]
    return spot_at(document, index, number, at + first), spot_at(document, index, number, at + last)


def _both(spot: Spot) -> Ends:
    return spot, spot


def _cluster(line: Line, cell: int) -> Range:
    """Return the character that a cell belongs to; nothing at the end of the text for what is beside it."""
    lead = ""
    for segment in line.segments:
        lead += segment.text
        if len(lead) >= line.start:
            break
    at = cell_len(lead[: line.start])
    if cell < at:
        return 0, 0
    for start, end in characters(line.text):
        at += cell_len(line.text[start:end])
        if cell < at:
            return start, end
    return len(line.text), len(line.text)


def paragraph(text: str, at: int) -> Range:
    """Return the line that a place is in, whatever it is wrapped to."""
    begin = text.rfind("\n", 0, at) + 1
    end = text.find("\n", at)
    return begin, len(text) if end < 0 else end


def word(text: str, at: int, within: Range) -> Range:
    """Return the word that a place is in, or the blanks, or the sign."""
    for match in _WORD.finditer(_with_one_mark(text), *within):
        if match.start() <= at < match.end():
            return match.span()
    first, last = within
    spans = ((start + first, end + first) for start, end in characters(text[first:last]))
    return next((span for span in spans if span[0] <= at < span[1]), (last, last))


def _with_one_mark(text: str) -> str:
    """Return a text with one sign for all that goes on with a letter: to Python no mark is part of a word."""
    if text.isascii():
        return text
    return "".join(_MARK if category(char)[0] == "M" or char in _JOINERS else char for char in text)


def characters(text: str) -> Iterator[Range]:
    """Yield what a reader takes for one character: a letter with its accents, joined emoji, a flag."""
    return pairwise([*(start for start, _ in graphemes(text)), len(text)])
