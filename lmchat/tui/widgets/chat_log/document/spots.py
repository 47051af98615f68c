"""A place between two characters of the log, which is found again however the log is laid out since."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.document.document import Document
from lmchat.tui.widgets.chat_log.document.entry import Entry
from lmchat.tui.widgets.chat_log.line import Line

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
