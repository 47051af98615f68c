"""Text positions that survive re-layout: what is read, what is selected, where to go back to."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from lmchat.tui.widgets.chat_log.blocks import Block, Line
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.entry import Entry, Placeholder

END = 1 << 30
"""The block number of the position after all blocks of a message."""
_HEAD_CHARS = 24
"""Blocks that begin with the same characters are taken for the same block."""


class Anchor(Struct):
    """A position in the text of a message.

    `row_now` always finds a row for it; `found_again` finds the exact character, or None where it is gone.
    """

    index: int
    """Message."""
    number: int = -1
    """Block; -1 before all of them, `END` after all of them."""
    row: int = 0
    """Row in the block; -1 for the blank row above it. In a block without lines, any row."""
    offset: int = 0
    """Rows between the top of the screen and this position."""
    block: Block | None = None
    """The block itself; None where it was not laid out."""
    at: int = 0
    """Characters of the block before it; a line end that is no mere wrapping counts as one."""
    solid: int = 0
    """Non-blank characters of the block before it. Padding and line ends change with the width."""
    blanks: int = 0
    """Blank characters between the last of those and the position."""
    size: int = 0
    """Characters of the block."""
    total: int = 0
    """Non-blank characters of the block."""
    width: int = 0
    """Width of the text when the anchor was made."""
    said: int = 0
    """Characters of source in the blocks before this one."""
    fold: int = 0
    """The block that this one folds into, for a block of reasoning."""

    @property
    def order(self) -> tuple[int, int, int]:
        """Sort key in document order."""
        return self.index, self.number, self.at


def anchor_at(document: Document, place: Place, offset: int = 0) -> Anchor:
    """Return an anchor for a row, which is `offset` rows below the top of the screen."""
    index, number, line = place
    entry = document.entries[index]
    lines = entry.blocks[number].lines if 0 <= number < len(entry.blocks) else None
    if lines is None:
        return Anchor(index, number, line, offset)
    row = line - (entry.heights[number] - len(lines))
    anchor = _in_block(document, index, number)
    anchor.row, anchor.offset = row, offset
    anchor.solid = _solid_before(entry.blocks[number])[min(max(row, 0), len(lines))]
    return anchor


def anchor_in_text(document: Document, index: int, number: int, at: int) -> Anchor:
    """Return an anchor for a character of a block that is laid out."""
    anchor = _in_block(document, index, number)
    text = text_of(document.entries[index].blocks[number].lines or [])
    anchor.at = min(max(at, 0), len(text))
    before = text[: anchor.at]
    anchor.solid, anchor.blanks = solid(before), len(before) - len(before.rstrip())
    return anchor


def _in_block(document: Document, index: int, number: int) -> Anchor:
    blocks = document.entries[index].blocks
    fold = number
    while 0 < fold < len(blocks) and blocks[fold].is_thought:
        fold -= 1
    said = sum(len(block.source) for block in blocks[:number])
    block = blocks[number]
    anchor = Anchor(index, number, block=block, size=_size(block), said=said, fold=fold)
    anchor.total, anchor.width = _solid_before(block)[-1], document.width
    return anchor


def found_again(document: Document, anchor: Anchor) -> Anchor | None:
    """Return where a character is now; None where its block is gone or shows another text."""
    if anchor.index >= len(document):
        return None
    if anchor.block is None:
        return anchor
    document.build(anchor.index)
    entry = document.entries[anchor.index]
    number = _number_now(entry, anchor.number, anchor.block)
    if number is None:
        return None
    document.prepare(anchor.index, number)
    block = entry.blocks[number]
    if not _is_as_it_was(block, anchor.block):
        number, behind = _carried(document, (anchor.index, number), anchor.solid)
        place = _behind(text_of(entry.blocks[number].lines or []), behind, anchor.blanks)
        return None if place is None else anchor_in_text(document, anchor.index, number, place)
    if _size(block) != anchor.size:
        return None
    return replace(anchor, number=number, block=block)


def row_now(document: Document, anchor: Anchor) -> Place:
    """Return the row of an anchor, or the nearest one where its text is gone; lay out its block for that."""
    if anchor.number < 0 or anchor.block is None:
        return anchor.index, anchor.number, anchor.row
    document.build(anchor.index)
    entry = document.entries[anchor.index]
    number = _number_now(entry, anchor.number, anchor.block)
    number = _nearest(entry, anchor, anchor.block) if number is None else number
    chars, is_same = anchor.solid, _is_as_it_was(entry.blocks[number], anchor.block)
    if not is_same:
        number, chars = _carried(document, (anchor.index, number), chars, is_row=True)
    height = document.prepare(anchor.index, number)
    block = entry.blocks[number]
    before = _solid_before(block)
    if is_same and anchor.width != document.width and anchor.total:
        chars = chars * before[-1] // anchor.total  # a table may become a list of values
    row = _row_of(before, chars, anchor.row)
    if number != anchor.number or not is_same:
        anchor.number, anchor.row, anchor.solid = number, row, chars
        anchor.size, anchor.total, anchor.width = _size(block), before[-1], document.width
    anchor.block = block
    return anchor.index, number, row + height - (len(before) - 1)


def _number_now(entry: Entry, number: int, was: Block) -> int | None:
    """Return the present number of a block; None where no block is likely to be the same."""
    blocks = entry.blocks
    if number < len(blocks) and blocks[number] is was:
        return number
    same = [at for at, block in enumerate(blocks) if block is was]
    has_grown = number < len(blocks) and _is_alike(blocks[number], was) and _begins_as(blocks[number], was)
    # for a while the open end of an answer may look like another block
    if was.source and not same and not (has_grown and entry.is_open):
        equal = (at for at, block in enumerate(blocks) if block.source == was.source)
        same = [at for at in equal if _is_alike(blocks[at], was)]
    nearest = min(same, key=lambda at: abs(at - number), default=None)
    return number if nearest is None and has_grown else nearest


def _is_as_it_was(block: Block, was: Block) -> bool:
    return block is was or block.source == was.source


def _is_alike(block: Block, was: Block) -> bool:
    return block.kind is was.kind and block.is_thought == was.is_thought


def _begins_as(block: Block, was: Block) -> bool:
    """Whether one block may have grown out of the other."""
    source, other = block.source, was.source
    size = min(len(source.rstrip()), len(other.rstrip()), _HEAD_CHARS)
    return size > 0 and source[:size] == other[:size]


def _carried(
    document: Document, block: tuple[int, int], count: int, *, is_row: bool = False
) -> tuple[int, int]:
    """Return the block that now holds the `count`-th character of an open end, and its count in there.

    An open end is cut into blocks while it grows. A character at a border belongs to the block before, a row
    to the block after it.
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
    """Return the place after `count` characters and some blanks; None where the text is shorter."""
    counts = accumulate((not char.isspace() for char in text), initial=0)
    place = next((place for place, one in enumerate(counts) if one == count), None)
    if place is None:
        return None
    rest = text[place : place + blanks]
    return place + len(rest) - len(rest.lstrip())


def _nearest(entry: Entry, anchor: Anchor, was: Block) -> int:
    """Return the block at the place of one that is gone."""
    number = min(anchor.number, len(entry.blocks) - 1)
    if not was.source:
        return number
    if was.is_thought:
        return min(anchor.fold, number)
    ends = accumulate(len(block.source) for block in entry.blocks)
    return next((at for at, end in enumerate(ends) if end > anchor.said), len(entry.blocks) - 1)


def _solid_before(block: Block) -> Sequence[int]:
    """Return the number of characters before each row, and in all.

    Each of the thousands of blank rows of a placeholder counts as one character.
    """
    lines = block.lines or []
    if isinstance(block, Placeholder):
        return range(len(lines) + 1)
    return list(accumulate((solid(line.text) for line in lines), initial=0))


def _row_of(before: Sequence[int], chars: int, row: int) -> int:
    """Return the row of a character; of several rows that begin there, the same as before."""
    count = len(before) - 1
    if row < 0 or not count:
        return min(row, 0)
    if row < count and before[row] == chars:
        return row
    return max((place for place in range(count) if before[place] <= chars), default=0)


def _size(block: Block) -> int:
    lines = block.lines or []
    return len(lines) if isinstance(block, Placeholder) else starts(lines)[-1]


def solid(text: str) -> int:
    """Return the number of non-blank characters."""
    return sum(map(len, text.split()))


def text_of(lines: Sequence[Line]) -> str:
    """Return the unwrapped text of a block."""
    return "".join(line.text if line.is_wrapped else line.text + "\n" for line in lines)


def starts(lines: Sequence[Line]) -> list[int]:
    """Return the number of characters before each row of a block, and in all."""
    return list(accumulate((len(line.text) + (not line.is_wrapped) for line in lines), initial=0))
