"""Positions in the text of the log that survive a change of it.

The text of a block is that of its lines, with a line end only where the next line does not continue
a wrapped one: so it is the same at any width, but for tables.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from msgspec import Struct

from lmchat.markdown.block import Block
from lmchat.tui.chat_log.document import Document, Place
from lmchat.tui.chat_log.entry import Entry

END = 1 << 30  # the block number of the position after all blocks of a message


class Anchor(Struct):
    """A position in the text of a message: a character of a block."""

    index: int  # message
    number: int = -1  # block; -1 before all of them, `END` after all of them
    chars: int = 0  # characters of the block before it; -1 is the blank row above the block
    screen_row: int = 0  # row of the screen, counted from its top, that shows the position
    block: Block | None = None  # the block itself; None before and after all of them
    size: int = 0  # characters of the block
    source_before: int = 0  # characters of source in the blocks before this one
    head: int = 0  # for a block of reasoning: the block with the row that it folds into

    @property
    def order(self) -> tuple[int, int, int]:
        """Key that sorts anchors by their position in the log."""
        return self.index, self.number, self.chars


def anchor_at(document: Document, place: Place, screen_row: int = 0) -> Anchor:
    """Return an anchor for a row of the log, which is to be shown on a row of the screen.

    Its message is laid out. Before there is a page, the anchor has the numbers of the place.
    """
    blocks = document.lay_out(place.message) if place.block >= 0 else []
    heights = document.entries[place.message].heights
    if not (blocks and heights):  # above all blocks, or before there is a page
        return Anchor(place.message, place.block, place.row, screen_row)
    starts = row_starts(blocks[place.block])
    height = heights[place.block]
    row = place.row - (height - len(starts) + 1)  # without the blank row above the block
    chars = starts[min(row, len(starts) - 1)] if row >= 0 else -1
    return anchor_in_text(document, place.message, place.block, chars, screen_row)


def anchor_in_text(
    document: Document, index: int, number: int, chars: int, screen_row: int = 0
) -> Anchor:
    """Return an anchor for a character of a block that is laid out."""
    blocks = document.entries[index].blocks
    head = number
    while head > 0 and blocks[head].is_thought:  # up to the row above reasoning
        head -= 1
    return Anchor(
        index,
        number,
        chars,
        screen_row,
        block=blocks[number],
        size=row_starts(blocks[number])[-1],
        source_before=sum(len(above.source) for above in blocks[:number]),
        head=head,
    )


def find_again(document: Document, anchor: Anchor, *, is_row: bool = False) -> Anchor | None:
    """Return an anchor for the same character in the log as it is now.

    Return None if the block is gone or shows another text. The open end of an answer grows, and is
    cut into several blocks: the character may be in a later one. At the border of two blocks, a
    character is at the end of the first, and a row (`is_row`) at the beginning of the second.
    """
    if anchor.block is None:
        return anchor
    blocks = document.lay_out(anchor.index)
    number = anchor.number
    if not (number < len(blocks) and blocks[number] is anchor.block):
        same = [other for other, block in enumerate(blocks) if block is anchor.block]
        number = same[0] if same else number
    if number >= len(blocks) or not _continues(blocks[number], anchor.block):
        return None
    chars = anchor.chars
    size = row_starts(blocks[number])[-1]
    if blocks[number].source == anchor.block.source and size != anchor.size:
        return None  # as a table at another width
    # a block without a source is a row of the log: the text ends above it
    while chars >= size + (not is_row) and number + 1 < len(blocks) and blocks[number + 1].source:
        chars -= size
        number += 1
        size = row_starts(blocks[number])[-1]
    return anchor_in_text(document, anchor.index, number, min(chars, size), anchor.screen_row)


def relocate(document: Document, anchor: Anchor) -> Place:
    """Return the row of an anchor, or the nearest one where its text is gone.

    Without a block, the numbers of the anchor are returned. Otherwise the block is laid out.
    """
    if anchor.block is None:
        return Place(anchor.index, anchor.number, anchor.chars)
    found = find_again(document, anchor, is_row=True)
    number = _nearest_block(document.entries[anchor.index], anchor)
    chars = anchor.chars
    if found is not None:
        number, chars = found.number, found.chars
    height = document.entries[anchor.index].heights[number]
    starts = row_starts(document.entries[anchor.index].blocks[number])
    if found is None:  # the same share of the block
        chars = chars * starts[-1] // max(anchor.size, 1)
    row = min(bisect_right(starts, chars), len(starts) - 1) - 1
    return Place(anchor.index, number, max(row + height - len(starts) + 1, 0))


def _continues(block: Block, old: Block) -> bool:
    """Return whether a block is another one with more text at its end, or the beginning of it."""
    if block is old:
        return True
    has_same_kind = block.kind is old.kind and block.is_thought == old.is_thought
    first, second = sorted((block.source.rstrip(), old.source.rstrip()), key=len)
    return has_same_kind and second.startswith(first)


def _nearest_block(entry: Entry, anchor: Anchor) -> int:
    """Return the number of the block that is now where a removed block was.

    For a block of reasoning, that is the row into which it is folded. For other text, it is the
    block that now has the source at its place. For a row of the log, which has no source, it is the
    block with its number.
    """
    last = len(entry.blocks) - 1
    block = anchor.block
    if any(other is block for other in entry.blocks) or block is None or not block.source:
        return min(anchor.number, last)
    if block.is_thought:
        return min(anchor.head, last)
    ends = accumulate(len(other.source) for other in entry.blocks)
    return next((number for number, end in enumerate(ends) if end > anchor.source_before), last)


def unwrapped_text(block: Block) -> str:
    """Return the text of a block that is laid out, with line ends only where it is not wrapped."""
    return "".join(line.text if line.is_wrapped else f"{line.text}\n" for line in block.lines or ())


def row_starts(block: Block) -> list[int]:
    """Return where each line of a block begins in its unwrapped text, and last where that ends."""
    sizes = (len(line.text) + (not line.is_wrapped) for line in block.lines or ())
    return list(accumulate(sizes, initial=0))
