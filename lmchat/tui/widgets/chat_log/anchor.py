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

    `relocate` always finds a row for it; `found_again` finds the exact character, or returns None.
    Non-blank characters are counted, because padding and line ends change with the width.
    """

    index: int  # message
    number: int = -1  # block; -1 before all of them, `END` after all of them
    row: int = 0  # row in the block; -1 for the blank row above it
    offset: int = 0  # rows between the top of the screen and this position
    block: Block | None = None  # the block itself; None if it was not laid out
    at: int = 0  # characters of the block before it, with line ends that are no wrapping
    solid: int = 0  # non-blank characters of the block before it
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
    entry = document.entries[place.message]
    is_in_block = 0 <= place.block < len(entry.blocks)
    block = entry.blocks[place.block] if is_in_block else None
    if block is None or block.lines is None:
        return Anchor(*place, offset)
    row = place.row - (entry.heights[place.block] - len(block.lines))
    before = _solid_before(block)[max(row, 0)]
    return _in_block(entry, place.message, place.block, row=row, offset=offset, solid=before)


def anchor_in_text(document: Document, index: int, number: int, at: int) -> Anchor:
    """Return an anchor for a character of a block that is laid out."""
    entry = document.entries[index]
    before = text_of(entry.blocks[number])[: max(at, 0)]
    blanks = len(before) - len(before.rstrip())
    return _in_block(entry, index, number, at=len(before), solid=solid(before), blanks=blanks)


def _in_block(entry: Entry, index: int, number: int, **fields: int) -> Anchor:
    block = entry.blocks[number]
    fold = number
    while fold > 0 and entry.blocks[fold].is_thought:
        fold -= 1
    return Anchor(
        index,
        number,
        block=block,
        total=_solid_before(block)[-1],
        size=starts(block)[-1],
        said=sum(len(above.source) for above in entry.blocks[:number]),
        fold=fold,
        **fields,
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
    if block.source == anchor.block.source:
        has_other_rows = starts(block)[-1] != anchor.size  # as a table at another width
        return None if has_other_rows else replace(anchor, number=number, block=block)
    number, count = _carried(document, anchor.index, number, anchor.solid)
    at = _place_after(text_of(entry.blocks[number]), count, anchor.blanks)
    return None if at is None else anchor_in_text(document, anchor.index, number, at)


def relocate(document: Document, anchor: Anchor) -> Place:
    """Return the row of an anchor, or the nearest one where its text is gone."""
    was = anchor.block
    index = anchor.index
    if anchor.number < 0 or was is None:
        return Place(index, anchor.number, anchor.row)

    document.build(index)
    entry = document.entries[index]
    number = _number_now(entry, anchor.number, was)
    if number is None:
        number = _nearest(entry, anchor, was)
    chars = anchor.solid
    is_same = entry.blocks[number].source == was.source
    if not is_same:
        number, chars = _carried(document, index, number, chars, is_row=True)

    height = document.prepare(index, number)
    block = entry.blocks[number]
    before = _solid_before(block)
    if is_same and anchor.total:
        chars = chars * before[-1] // anchor.total  # a table may become a list of values
    row = _row_of(before, chars, anchor.row)
    if number != anchor.number or not is_same:
        anchor.number = number
        anchor.row = row
        anchor.solid = chars
        anchor.total = before[-1]
    anchor.block = block
    return Place(index, number, row + height - (len(before) - 1))


def _number_now(entry: Entry, number: int, was: Block) -> int | None:
    """Return the number that a block has now; None where it is gone."""
    blocks = entry.blocks
    if number < len(blocks) and blocks[number] is was:
        return number
    same = [at for at, block in enumerate(blocks) if block is was]
    has_grown = number < len(blocks) and _is_grown(blocks[number], was)
    # while an answer streams, its open end may look like an earlier block
    is_open_end = has_grown and entry.is_streaming
    if was.source and not same and not is_open_end:
        same = [at for at, block in enumerate(blocks) if _is_equal(block, was)]
    nearest = min(same, key=lambda at: abs(at - number), default=None)
    return number if nearest is None and has_grown else nearest


def _is_alike(block: Block, was: Block) -> bool:
    return block.kind is was.kind and block.is_thought == was.is_thought


def _is_equal(block: Block, was: Block) -> bool:
    return block.source == was.source and _is_alike(block, was)


def _is_grown(block: Block, was: Block) -> bool:
    """Whether a block is likely another one with more text at its end."""
    size = min(len(block.source.rstrip()), len(was.source.rstrip()), _HEAD_CHARS)
    begins_alike = size > 0 and block.source[:size] == was.source[:size]
    return begins_alike and _is_alike(block, was)


def _carried(
    document: Document, index: int, number: int, count: int, *, is_row: bool = False
) -> tuple[int, int]:
    """Return the block that now holds the `count`-th character of an open end, and its count there.

    An open end is cut into blocks while it grows. A character at a border belongs to the block
    before it, a row to the block after it.
    """
    blocks = document.entries[index].blocks
    while True:
        size = _solid_before(document.laid_out(index, number))[-1]
        is_inside = count < size or count == (0 if is_row else size)
        is_last = number + 1 == len(blocks) or not blocks[number + 1].source
        if is_inside or is_last:
            return number, count
        number += 1
        count -= size


def _place_after(text: str, count: int, blanks: int) -> int | None:
    """Return the place after some non-blank characters and blanks; None if the text is shorter."""
    counts = accumulate((not char.isspace() for char in text), initial=0)
    place = next((place for place, before in enumerate(counts) if before == count), None)
    if place is None:
        return None
    rest = text[place : place + blanks]
    return place + len(rest) - len(rest.lstrip())


def _nearest(entry: Entry, anchor: Anchor, was: Block) -> int:
    """Return the block at the place of one that is gone."""
    last = len(entry.blocks) - 1
    number = min(anchor.number, last)
    if not was.source:
        return number
    if was.is_thought:
        return min(anchor.fold, number)
    ends = accumulate(len(block.source) for block in entry.blocks)
    return next((at for at, end in enumerate(ends) if end > anchor.said), last)


def _solid_before(block: Block) -> list[int]:
    """Return the number of non-blank characters before each row of a block, and in all."""
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
    return "".join(line.text if line.is_wrapped else f"{line.text}\n" for line in block.lines or ())


def starts(block: Block) -> list[int]:
    """Return the number of characters before each row of a block, and in all."""
    sizes = (len(line.text) + (not line.is_wrapped) for line in block.lines or ())
    return list(accumulate(sizes, initial=0))
