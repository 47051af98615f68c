"""A place between two characters of the log, which is found again however the log is laid out since."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from lmchat.tui.widgets.chat_log.blocks import Block, Line
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.entry import Entry, Placeholder

END = 1 << 30
"""The block behind all blocks of a message."""
_HEAD_CHARS = 24


class Spot(Struct):
    """A place, and what is needed to know it again."""

    index: int
    """The message."""
    number: int = -1
    """The block; -1 before all, `END` behind all of the message."""
    at: int = 0
    """Characters of the block before it, with one for each end of a line that is not merely wrapped."""
    block: Block | None = None
    """The block itself; None where the place is that of a message."""
    size: int = 0
    """Characters of the block."""
    solid: int = 0
    """Characters before it that are no blanks: those stay when a block is cut in two."""
    blanks: int = 0
    """Blanks directly before it."""

    @property
    def order(self) -> tuple[int, int, int]:
        """What tells which of two comes first."""
        return self.index, self.number, self.at


def spot_at(document: Document, index: int, number: int, at: int) -> Spot:
    """Return a place in a block that is laid out."""
    block = document.entries[index].blocks[number]
    text = text_of(block.lines or [])
    at = min(max(at, 0), len(text))
    before = text[:at]
    return Spot(index, number, at, block, len(text), solid(before), at - len(before.rstrip()))


def found_again(document: Document, spot: Spot) -> Spot | None:
    """Return where a place is now; None where what it stood in is shown no more, or in another way."""
    if spot.index >= len(document):
        return None
    if spot.block is None:
        return spot
    document.build(spot.index)
    entry = document.entries[spot.index]
    number = number_now(entry, spot.number, spot.block)
    if number is None:
        return None
    document.prepare(spot.index, number)
    block = entry.blocks[number]
    if not is_as_it_was(block, spot.block):
        number, behind = carried(document, (spot.index, number), spot.solid)
        place = _behind(text_of(entry.blocks[number].lines or []), behind, spot.blanks)
        return None if place is None else spot_at(document, spot.index, number, place)
    if starts(block.lines or [])[-1] != spot.size:
        return None
    return replace(spot, number=number, block=block)


def number_now(entry: Entry, number: int, was: Block) -> int | None:
    """Return which block of a message one is now that had a number; None where none is likely to be it."""
    blocks = entry.blocks
    if number < len(blocks) and blocks[number] is was:
        return number
    same = [at for at, block in enumerate(blocks) if block is was]
    has_grown = number < len(blocks) and _is_alike(blocks[number], was) and _begins_as(blocks[number], was)
    # an open end may be for a while as another block is
    if was.source and not same and not (has_grown and entry.is_open):
        equal = (at for at, block in enumerate(blocks) if block.source == was.source)
        same = [at for at in equal if _is_alike(blocks[at], was)]
    nearest = min(same, key=lambda at: abs(at - number), default=None)
    return number if nearest is None and has_grown else nearest


def is_as_it_was(block: Block, was: Block) -> bool:
    """Whether a block holds what it held."""
    return block is was or block.source == was.source


def _is_alike(block: Block, was: Block) -> bool:
    return block.kind is was.kind and block.is_thought == was.is_thought


def _begins_as(block: Block, was: Block) -> bool:
    """Whether one may be what has become of the other: it has grown, or its end is in other blocks."""
    source, other = block.source, was.source
    size = min(len(source.rstrip()), len(other.rstrip()), _HEAD_CHARS)
    return size > 0 and source[:size] == other[:size]


def carried(
    document: Document, block: tuple[int, int], count: int, *, is_row: bool = False
) -> tuple[int, int]:
    """Return the block that so many characters of an open end reach into by now, and how many are in it.

    Where they end with a block, a place is behind its last character, a row before the first of the next.
    """
    index, number = block
    blocks = document.entries[index].blocks
    while True:
        document.prepare(index, number)
        size = solid(text_of(blocks[number].lines or []))
        is_inside = count < size or count == (0 if is_row else size)
        if is_inside or number + 1 == len(blocks) or not blocks[number + 1].source:
            return number, count
        number, count = number + 1, count - size


def _behind(text: str, count: int, blanks: int) -> int | None:
    """Return the place behind so many characters, then blanks if there are any; None where it ends before."""
    counts = accumulate((not char.isspace() for char in text), initial=0)
    place = next((place for place, one in enumerate(counts) if one == count), None)
    if place is None:
        return None
    rest = text[place : place + blanks]
    return place + len(rest) - len(rest.lstrip())


def solid(text: str) -> int:
    """Return how many characters are no blanks: those stay when a block is cut, or wrapped in another way."""
    return sum(map(len, text.split()))


def text_of(lines: Sequence[Line]) -> str:
    """Return the text of a block, whatever it is wrapped to."""
    return "".join(line.text if line.is_wrapped else line.text + "\n" for line in lines)


def starts(lines: Sequence[Line]) -> list[int]:
    """Return how many characters of a block stand before each of its rows."""
    return list(accumulate((len(line.text) + (not line.is_wrapped) for line in lines), initial=0))


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
    if isinstance(block, Placeholder):
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
