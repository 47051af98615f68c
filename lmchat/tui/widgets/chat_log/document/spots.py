"""A place between two characters of the log, which is found again however the log is laid out since."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct

from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.document.document import Document
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

    @property
    def order(self) -> tuple[int, int, int]:
        """What tells which of two comes first."""
        return self.index, self.number, self.at


def spot_at(document: Document, index: int, number: int, at: int) -> Spot:
    """Return a place in a block that is laid out."""
    block = document.entries[index].blocks[number]
    text = text_of(block.lines or [])
    at = min(max(at, 0), len(text))
    return Spot(index, number, at, block, len(text), _solid(text[:at]))


def found_again(document: Document, spot: Spot) -> Spot | None:
    """Return where a place is now; None where what it stood in is shown no more, or in another way."""
    if spot.block is None:
        return spot if spot.index < len(document) else None
    if spot.index >= len(document):
        return None
    document.build(spot.index)
    blocks = document.entries[spot.index].blocks
    if spot.number < len(blocks) and blocks[spot.number] is spot.block and spot.block.lines is not None:
        return spot if _size(spot.block.lines) == spot.size else None
    number = _number(blocks, spot)
    if number is None:
        return None
    document.prepare(spot.index, number)
    block, text = blocks[number], text_of(blocks[number].lines or [])
    if block is spot.block or block.source == spot.block.source:
        is_same = len(text) == spot.size
        return Spot(spot.index, number, spot.at, block, spot.size, spot.solid) if is_same else None
    return _in_what_has_grown(document, spot, number)


def _number(blocks: Sequence[Block], spot: Spot) -> int | None:
    """Return which block a place is in now."""
    was = spot.block
    if was is None:
        return None
    same = [number for number, block in enumerate(blocks) if block is was]
    same = same or [number for number, block in enumerate(blocks) if _is_same(block, was)]
    if same:
        return min(same, key=lambda number: abs(number - spot.number))
    is_there = spot.number < len(blocks) and blocks[spot.number].kind is was.kind
    return spot.number if is_there and _begins_as(blocks[spot.number].source, was.source) else None


def _begins_as(source: str, other: str) -> bool:
    """Whether one may be what has become of the other: it has grown, or its end is in other blocks."""
    size = min(len(source.rstrip()), len(other.rstrip()), _HEAD_CHARS)
    return size > 0 and source[:size] == other[:size]


def _is_same(block: Block, other: Block) -> bool:
    return bool(other.source) and (block.kind, block.source) == (other.kind, other.source)


def _in_what_has_grown(document: Document, spot: Spot, number: int) -> Spot | None:
    """Return where a place is that was in the open end of an answer: it may be in several blocks by now."""
    blocks, solid = document.entries[spot.index].blocks, spot.solid
    while number < len(blocks) and blocks[number].source:
        document.prepare(spot.index, number)
        text = text_of(blocks[number].lines or [])
        count = _solid(text)
        if solid <= count:
            return spot_at(document, spot.index, number, _behind(text, solid))
        solid, number = solid - count, number + 1
    return None


def _behind(text: str, solid: int) -> int:
    """Return the place behind so many characters that are no blanks."""
    counts = accumulate((not char.isspace() for char in text), initial=0)
    return next((place for place, count in enumerate(counts) if count == solid), len(text))


def _solid(text: str) -> int:
    return sum(not char.isspace() for char in text)


def text_of(lines: Sequence[Line]) -> str:
    """Return the text of a block, whatever it is wrapped to."""
    return "".join(line.text if line.is_wrapped else line.text + "\n" for line in lines)


def _size(lines: Sequence[Line]) -> int:
    return sum(len(line.text) + (not line.is_wrapped) for line in lines)


def starts(lines: Sequence[Line]) -> list[int]:
    """Return how many characters of a block stand before each of its rows."""
    return list(accumulate((len(line.text) + (not line.is_wrapped) for line in lines), initial=0))
