"""Positions in the text of the log, which are found again after it has changed.

In the text of a block, wrapped lines are joined: it is the same at any width, except for tables.
"""

from __future__ import annotations

from bisect import bisect_right
from itertools import accumulate

from msgspec import Struct

from lmchat.app.markdown_lines.block import Block
from lmchat.app.tui.chat_log.document import Document, LogPosition

END = 1 << 30  # number of the position after all blocks of a message


class Anchor(Struct, frozen=True):
    """A position in the text of a message: a character of a block."""

    index: int
    number: int = -1  # of the block; -1 above all blocks, `END` below them
    # of the block, before the position; -1: the blank row above it; `LogPosition.row` without a
    # `block`
    chars: int = 0
    screen_row: int = 0
    # None above and below all blocks, and if there was no page
    block: Block | None = None
    size: int = 0  # characters of the whole block
    source_before: int = 0  # characters of source in the blocks before

    @property
    def order(self) -> tuple[int, int, int]:
        return self.index, self.number, self.chars


def anchor_at(document: Document, position: LogPosition, screen_row: int = 0) -> Anchor:
    """Make an anchor for a row of the log; lays out its message if the position is in a block.

    Above all blocks, or before there is a page, it has no block and keeps the numbers of the
    position, with the row as `chars`.
    """
    blocks = document.lay_out(position.message_index) if position.number >= 0 else []
    if not blocks or document.layout is None:
        return Anchor(position.message_index, position.number, position.row, screen_row)
    starts = row_starts(blocks[position.number])
    row = position.row - document.blank_rows(position)
    # -1: the blank row above; a row below the last line is the end of the text
    chars = starts[min(row, len(starts) - 1)] if row >= 0 else -1
    return anchor_in_text(document, position.message_index, position.number, chars, screen_row)


def anchor_in_text(
    document: Document, index: int, number: int, chars: int, screen_row: int = 0
) -> Anchor:
    """Make an anchor for a character of a block that is laid out; see `Anchor.chars`."""
    blocks = document.entries[index].blocks
    size = row_starts(blocks[number])[-1]
    source_before = sum(len(above.source) for above in blocks[:number])
    return Anchor(
        index,
        number,
        chars,
        screen_row,
        block=blocks[number],
        size=size,
        source_before=source_before,
    )


def find_again(document: Document, anchor: Anchor) -> Anchor | None:
    """Find the same character in the log as it is now; None if its text is gone.

    The block may have another number, or be replaced: the open end of an answer grows, and is cut
    into several blocks. It is the same text if the source of one starts with that of the other.
    """
    old = anchor.block
    if old is None:
        return anchor
    blocks = document.lay_out(anchor.index)
    number = next((number for number, block in enumerate(blocks) if block is old), anchor.number)
    if number >= len(blocks):
        return None
    block = blocks[number]
    size = row_starts(block)[-1]
    if block.source == old.source and size != anchor.size:
        return None  # a table at another width: the same source, other characters
    shorter, longer = sorted((block.source.rstrip(), old.source.rstrip()), key=len)
    has_same_role = block.kind is old.kind and block.is_thought == old.is_thought
    if not (has_same_role and longer.startswith(shorter)):
        return None
    # After a cut, it may be in a later block. A block without source is a row of the log, below the
    # text.
    chars = anchor.chars
    while chars >= size and number + 1 < len(blocks) and blocks[number + 1].source:
        chars -= size
        number += 1
        size = row_starts(blocks[number])[-1]
    return anchor_in_text(document, anchor.index, number, min(chars, size), anchor.screen_row)


def relocate(document: Document, anchor: Anchor) -> LogPosition:
    """Return the row of an anchor; without its text, one at the same fraction of another block."""
    old = anchor.block
    if old is None:
        return LogPosition(anchor.index, anchor.number, anchor.chars)
    found = find_again(document, anchor)
    blocks = document.entries[anchor.index].blocks
    if found is not None:
        number = found.number
        chars = found.chars
    else:  # the block that has its source; of a thought, which is folded by now, the first one
        ends = list(accumulate(len(block.source) for block in blocks))
        number = 0 if old.is_thought else bisect_right(ends, anchor.source_before)
        number = min(number, len(blocks) - 1)
        chars = anchor.chars * row_starts(blocks[number])[-1] // max(anchor.size, 1)
    starts = row_starts(blocks[number])
    # for the blank row above the block, `chars` and `row` are -1
    row = min(bisect_right(starts, chars), len(starts) - 1) - 1
    position = LogPosition(anchor.index, number, 0)
    return position._replace(row=max(row + document.blank_rows(position), 0))


def unwrapped_text(block: Block) -> str:
    """Return the text of a block that is laid out; a wrapped line has no line end."""
    return "".join(line.text if line.is_wrapped else f"{line.text}\n" for line in block.lines or ())


def row_starts(block: Block) -> list[int]:
    """Return where each line starts in the unwrapped text; last, where the text ends."""
    sizes = (len(line.text) + (not line.is_wrapped) for line in block.lines or ())
    return list(accumulate(sizes, initial=0))
