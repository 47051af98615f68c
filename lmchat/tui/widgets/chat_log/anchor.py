"""Text positions that survive re-layout."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from msgspec import Struct
from msgspec.structs import replace

from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.entry import Entry

END = 1 << 30  # the block number of the position after all blocks of a message
_HEAD_CHARS = 24  # blocks that begin with the same characters are taken for the same block


class Anchor(Struct):
    """A position in the text of a message.

    `relocate` always finds a row for it; `found_again` finds the exact character, or None where it is gone.
    """

    index: int  # message
    number: int = -1  # block; -1 before all of them, `END` after all of them
    row: int = (
        0  # row in the block; -1 for the blank row above it. In a block without lines, any row
    )
    offset: int = 0  # rows between the top of the screen and this position
    block: Block | None = None  # the block itself; None where it was not laid out
    at: int = (
        0  # characters of the block before it; a line end that is no mere wrapping counts as one
    )
    solid: int = 0  # non-blank characters of the block before it. Padding and line ends change with the width
    blanks: int = 0  # blank characters between the last of those and the position
    total: int = 0  # non-blank characters of the block
    size: int = 0  # all its characters
    said: int = 0  # characters of source in the blocks before this one
    fold: int = 0  # the block that this one folds into, for a block of reasoning

    @property
    def order(self) -> tuple[int, int, int]:
        return self.index, self.number, self.at


def anchor_at(document: Document, place: Place, offset: int = 0) -> Anchor:
    """Return an anchor for a row that is `offset` rows below the top of the screen."""
    index, number, line = place
    entry = document.entries[index]
    lines = entry.blocks[number].lines if 0 <= number < len(entry.blocks) else None
    if lines is None:
        return Anchor(index, number, line, offset)
    row = line - (entry.heights[number] - len(lines))
    before = _solid_before(entry.blocks[number])
    return _in_block(entry, (index, number), row=row, offset=offset, solid=before[max(row, 0)])


def anchor_in_text(document: Document, index: int, number: int, at: int) -> Anchor:
    """Return an anchor for a character of a block that is laid out."""
    entry = document.entries[index]
    before = text_of(entry.blocks[number])[: max(at, 0)]
    blanks = len(before) - len(before.rstrip())
    return _in_block(entry, (index, number), at=len(before), solid=solid(before), blanks=blanks)


def _in_block(entry: Entry, place: tuple[int, int], **fields: int) -> Anchor:
    index, number = place
    fold, block = number, entry.blocks[number]
    while fold > 0 and entry.blocks[fold].is_thought:
        fold -= 1
    said = sum(len(block.source) for block in entry.blocks[:number])
    total, size = _solid_before(block)[-1], starts(block)[-1]
    return Anchor(
        index, number, block=block, total=total, size=size, said=said, fold=fold, **fields
    )


def found_again(document: Document, anchor: Anchor) -> Anchor | None:
    """Return where a character is now; None where its block is gone or shows another text."""
    if anchor.block is None:
        return anchor
    document.build(anchor.index)
    entry = document.entries[anchor.index]
    number = _number_now(entry, anchor.number, anchor.block)
    if number is None:
        return None
    block = document.laid_out(anchor.index, number)
    if block.source != anchor.block.source:
        number, behind = _carried(document, (anchor.index, number), anchor.solid)
        at = _behind(text_of(entry.blocks[number]), behind, anchor.blanks)
        return None if at is None else anchor_in_text(document, anchor.index, number, at)
    has_other_rows = starts(block)[-1] != anchor.size  # as a table at another width
    return None if has_other_rows else replace(anchor, number=number, block=block)


def relocate(document: Document, anchor: Anchor) -> Place:
    """Return the row of an anchor, or the nearest one where its text is gone."""
    if anchor.number < 0 or anchor.block is None:
        return anchor.index, anchor.number, anchor.row
    index = anchor.index
    document.build(index)
    entry = document.entries[index]
    number = _number_now(entry, anchor.number, anchor.block)
    number = _nearest(entry, anchor, anchor.block) if number is None else number
    chars, is_same = anchor.solid, entry.blocks[number].source == anchor.block.source
    if not is_same:
        number, chars = _carried(document, (index, number), chars, is_row=True)
    height = document.prepare(index, number)
    block = entry.blocks[number]
    before = _solid_before(block)
    if is_same and anchor.total:
        chars = chars * before[-1] // anchor.total  # a table may become a list of values
    row = _row_of(before, chars, anchor.row)
    if number != anchor.number or not is_same:
        anchor.number, anchor.row, anchor.solid, anchor.total = number, row, chars, before[-1]
    anchor.block = block
    return index, number, row + height - (len(before) - 1)


def _number_now(entry: Entry, number: int, was: Block) -> int | None:
    blocks = entry.blocks
    if number < len(blocks) and blocks[number] is was:
        return number
    same = [at for at, block in enumerate(blocks) if block is was]
    has_grown = (
        number < len(blocks) and _is_alike(blocks[number], was) and _begins_as(blocks[number], was)
    )
    # for a while the open end of an answer may look like another block
    if was.source and not same and not (has_grown and entry.is_streaming):
        equal = (at for at, block in enumerate(blocks) if block.source == was.source)
        same = [at for at in equal if _is_alike(blocks[at], was)]
    nearest = min(same, key=lambda at: abs(at - number), default=None)
    return number if nearest is None and has_grown else nearest


def _is_alike(block: Block, was: Block) -> bool:
    return block.kind is was.kind and block.is_thought == was.is_thought


def _begins_as(block: Block, was: Block) -> bool:
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
        size = _solid_before(document.laid_out(index, number))[-1]
        is_inside = count < size or count == (0 if is_row else size)
        if is_inside or number + 1 == len(blocks) or not blocks[number + 1].source:
            return number, count
        number, count = number + 1, count - size


def _behind(text: str, count: int, blanks: int) -> int | None:
    """Return the place after `count` non-blank characters and some blanks; None if the text is shorter."""
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


def _solid_before(block: Block) -> list[int]:
    return list(accumulate((solid(line.text) for line in block.lines or ()), initial=0))


def _row_of(before: Sequence[int], chars: int, row: int) -> int:
    """Return the row of a character; of several rows that begin there, the same as before."""
    count = len(before) - 1
    if row < 0 or not count:
        return min(row, 0)
    if row < count and before[row] == chars:
        return row
    return max((place for place in range(count) if before[place] <= chars), default=0)


def solid(text: str) -> int:
    """Return the number of non-blank characters."""
    return sum(map(len, text.split()))


def text_of(block: Block) -> str:
    """Return the unwrapped text of a block."""
    return "".join(line.text if line.is_wrapped else line.text + "\n" for line in block.lines or ())


def starts(block: Block) -> list[int]:
    """Return the number of characters before each row of a block, and in all."""
    sizes = (len(line.text) + (not line.is_wrapped) for line in block.lines or ())
    return list(accumulate(sizes, initial=0))
