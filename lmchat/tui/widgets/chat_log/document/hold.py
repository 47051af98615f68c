"""A row of the log, known by what stands on it: it is found again however the log is laid out since.

It is looked for as a spot is (see `spots`), but always found: where what stood on it is gone, one reads on
next to that. A spot that is not found exactly is none: nobody copies what stands next to what was selected.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.document.document import Document, Place
from lmchat.tui.widgets.chat_log.document.entry import Entry
from lmchat.tui.widgets.chat_log.document.rest import Rest
from lmchat.tui.widgets.chat_log.document.spots import carried, is_as_it_was, number_now, solid


class Hold(Struct):
    """A place, and what is needed to know it again."""

    index: int
    """The message."""
    number: int
    """The block, -1 for the blank row above the message."""
    row: int
    """The line in the block, -1 for the blank row above it; what is not laid out counts from that row on."""
    offset: int = 0
    """Rows between the top of the screen and it."""
    block: Block | None = None
    """The block itself; None where it was not laid out."""
    chars: int = 0
    """Characters in the block before the line; blanks do not count, because padding comes and goes."""
    total: int = 0
    """Characters in the block."""
    width: int = 0
    """The width of a line of text when it was taken."""
    said: int = -1
    """Source in the blocks of the message before this one; -1 where that was not noted."""
    fold: int = 0
    """The row that this block folds into, where it is a thought."""


def take(document: Document, place: Place, offset: int = 0) -> Hold:
    """Return what stands at a place, with so many rows between the top of the screen and it."""
    index, number, line = place
    entry = document.entries[index]
    lines = entry.blocks[number].lines if 0 <= number < len(entry.blocks) else None
    if lines is None:
        return Hold(index, number, line, offset)
    row = line - (entry.heights[number] - len(lines))
    block = entry.blocks[number]
    before = _before(block)
    hold = Hold(index, number, row, offset, block, total=before[-1], width=document.width)
    hold.chars = before[min(max(row, 0), len(lines))]
    return hold


def laid(document: Document, place: Place) -> Place:
    """Return a place that is there, after its block was laid out."""
    index, number, line = place
    if number < 0:
        return place
    number = min(number, document.build(index) - 1)
    return index, number, min(line, document.prepare(index, number) - 1)


def note_around(document: Document, hold: Hold) -> None:
    """Note what stands around it: the blocks of its message are about to be made anew."""
    blocks = document.entries[hold.index].blocks
    hold.said = sum(len(block.source) for block in blocks[: max(hold.number, 0)])
    hold.fold = hold.number
    while 0 < hold.fold < len(blocks) and blocks[hold.fold].is_thought:
        hold.fold -= 1


def find(document: Document, hold: Hold) -> Place:
    """Return where it stands now, and lay out what is needed to know that."""
    if hold.number < 0 or hold.block is None:
        return hold.index, hold.number, hold.row
    document.build(hold.index)
    entry = document.entries[hold.index]
    number = number_now(entry, hold.number, hold.block)
    number = _nearest(entry, hold, hold.block) if number is None else number
    chars, is_same = hold.chars, is_as_it_was(entry.blocks[number], hold.block)
    if not is_same:
        number, chars = carried(document, (hold.index, number), chars, is_row=True)
    height = document.prepare(hold.index, number)
    block = entry.blocks[number]
    before = _before(block)
    if is_same and hold.width != document.width and hold.total:
        chars = chars * before[-1] // hold.total
    row = _row(before, chars, hold.row)
    if number != hold.number or not is_same:
        hold.number, hold.row, hold.chars = number, row, chars
        hold.total, hold.width = before[-1], document.width
    hold.block = block
    return hold.index, number, row + height - (len(before) - 1)


def _before(block: Block) -> Sequence[int]:
    """Return how many characters stand before each line of a block that is laid out, and in all.

    What is not yet read has thousands of lines without words: there each counts as one character.
    """
    lines = block.lines or []
    if isinstance(block, Rest):
        return range(len(lines) + 1)
    return list(accumulate((solid(line.text) for line in lines), initial=0))


def _row(before: Sequence[int], chars: int, row: int) -> int:
    """Return the line that holds a character: of several that begin there, the one that was meant."""
    count = len(before) - 1
    if row < 0 or not count:
        return min(row, 0)
    if row < count and before[row] == chars:
        return row
    return max((place for place in range(count) if before[place] <= chars), default=0)


def _nearest(entry: Entry, hold: Hold, was: Block) -> int:
    """Return the block that stands where one stood of which nothing is left."""
    number = min(hold.number, len(entry.blocks) - 1)
    if not was.source or hold.said < 0:
        return number
    return min(hold.fold, number) if was.is_thought else _around(entry.blocks, hold.said)


def _around(blocks: Sequence[Block], said: int) -> int:
    """Return the block before which so much source stands."""
    ends = accumulate(len(block.source) for block in blocks)
    return next((number for number, end in enumerate(ends) if end > said), len(blocks) - 1)
