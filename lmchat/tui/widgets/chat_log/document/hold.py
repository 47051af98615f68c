"""A row of the log, known by what stands on it: it is found again however the log is laid out since."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.document.document import Document, Place
from lmchat.tui.widgets.chat_log.document.entry import Entry
from lmchat.tui.widgets.chat_log.line import Line

_HEAD_CHARS = 24
"""So many first characters tell whether a block is one that has grown."""


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
    before = _before(lines)
    hold = Hold(index, number, row, offset, entry.blocks[number], total=before[-1], width=document.width)
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
    number = _number(entry, hold)
    is_same = entry.blocks[number] is hold.block or entry.blocks[number].source == hold.block.source
    before = _laid(document, hold.index, number)
    chars = hold.chars
    if is_same and hold.width != document.width and hold.total:
        chars = chars * before[-1] // hold.total
    while not is_same and 0 < before[-1] <= chars and _goes_on(entry.blocks, number):
        chars -= before[-1]  # the block that was open then is several by now
        number += 1
        before = _laid(document, hold.index, number)
    row = _row(before, chars, hold.row)
    if number != hold.number or not is_same:
        hold.number, hold.block, hold.row, hold.chars = number, entry.blocks[number], row, chars
        hold.total, hold.width = before[-1], document.width
    else:
        hold.block = entry.blocks[number]
    return hold.index, number, row + entry.heights[number] - (len(before) - 1)


def _goes_on(blocks: Sequence[Block], number: int) -> bool:
    return number + 1 < len(blocks) and bool(blocks[number + 1].source)


def _laid(document: Document, index: int, number: int) -> Sequence[int]:
    document.prepare(index, number)
    return _before(document.entries[index].blocks[number].lines or [])


def _before(lines: Sequence[Line]) -> list[int]:
    """Return how many characters stand before each line, and in all."""
    return list(accumulate((len(line.text) - line.text.count(" ") for line in lines), initial=0))


def _row(before: Sequence[int], chars: int, row: int) -> int:
    """Return the line that holds a character: of several that begin there, the one that was meant."""
    count = len(before) - 1
    if row < 0 or not count:
        return min(row, 0)
    if row < count and before[row] == chars:
        return row
    return max((place for place in range(count) if before[place] <= chars), default=0)


def _number(entry: Entry, hold: Hold) -> int:
    """Return the block that it is in now."""
    blocks, block, number = entry.blocks, hold.block, min(hold.number, len(entry.blocks) - 1)
    if block is None or blocks[number] is block:
        return number
    same = [place for place, one in enumerate(blocks) if one is block]
    if same:
        return same[0]
    head = block.source[:_HEAD_CHARS]
    if not head or (_is_alike(blocks[number], block) and blocks[number].source.startswith(head)):
        return number
    same = [place for place, one in enumerate(blocks) if _is_alike(one, block) and one.source == block.source]
    if same:
        return min(same, key=lambda place: abs(place - number))
    if hold.said < 0:
        return number
    return min(hold.fold, number) if block.is_thought else _around(blocks, hold.said)


def _is_alike(one: Block, other: Block) -> bool:
    return one.kind is other.kind and one.is_thought == other.is_thought


def _around(blocks: Sequence[Block], said: int) -> int:
    """Return the block before which so much source stands."""
    ends = accumulate(len(block.source) for block in blocks)
    return next((number for number, end in enumerate(ends) if end > said), len(blocks) - 1)
