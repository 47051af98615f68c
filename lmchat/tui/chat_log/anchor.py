"""Text positions that survive re-layout.

`relocate` finds the row of an anchor again, and `find_again` its character. The unwrapped text of a
block has a line end only where the next line does not continue a wrapped one. Solid characters are
those that are not blank.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, islice

from msgspec import Struct
from msgspec.structs import replace

from lmchat.markdown.block import Block
from lmchat.tui.chat_log.document import Document, Place
from lmchat.tui.chat_log.entry import Entry

END = 1 << 30  # the block number of the position after all blocks of a message
_HEAD_CHARS = 24  # blocks that begin with the same characters are taken for the same block


class Anchor(Struct):
    """A position in the text of a message: a row (`anchor_at`) or a character (`anchor_in_text`).

    `relocate` always finds the row again; `find_again` finds the exact character, or returns None.
    Non-blank characters are counted, because padding and line ends change with the width.
    """

    index: int  # message
    number: int = -1  # block; -1 before all of them, `END` after all of them
    row: int = 0  # row in the block; -1 for the blank row above it; without `block`, as in `Place`
    screen_row: int = 0  # row of the screen, counted from its top, that shows the position
    block: Block | None = None  # the block itself; None if it was not laid out
    chars_before: int = 0  # characters of the block's unwrapped text before it; not set for a row
    solid_before: int = 0  # non-blank characters of the block before the position
    blanks_before: int = 0  # blank characters between the last of those and the position
    solid_total: int = 0  # non-blank characters of the block
    chars_total: int = 0  # characters of the block's unwrapped text
    source_before: int = 0  # characters of source in the blocks before this one
    fold_number: int = 0  # for a block of reasoning: the block with the row that it folds into

    @property
    def order(self) -> tuple[int, int, int]:
        """Key that sorts anchors by their position in the log."""
        return self.index, self.number, self.chars_before


def anchor_at(document: Document, place: Place, screen_row: int = 0) -> Anchor:
    """Return an anchor for a row of the log, which is to be shown on a row of the screen.

    Where the place is in no block, or in one that is not laid out, the anchor has only its numbers.
    """
    entry = document.entries[place.message]
    is_in_block = 0 <= place.block < len(entry.blocks)
    block = entry.blocks[place.block] if is_in_block else None
    if block is None or block.lines is None:
        return Anchor(place.message, place.block, place.row, screen_row)
    blank_rows = entry.heights[place.block] - len(block.lines)
    row = place.row - blank_rows
    solid_before = _solid_before_lines(block)[max(row, 0)]  # the blank row above has row -1
    return _anchor_in_block(
        entry,
        place.message,
        place.block,
        row=row,
        screen_row=screen_row,
        solid_before=solid_before,
    )


def anchor_in_text(document: Document, index: int, number: int, chars_before: int) -> Anchor:
    """Return an anchor for a place in the unwrapped text of a block that is laid out."""
    entry = document.entries[index]
    before = unwrapped_text(entry.blocks[number])[: max(chars_before, 0)]
    return _anchor_in_block(
        entry,
        index,
        number,
        chars_before=len(before),
        solid_before=count_solid(before),
        blanks_before=len(before) - len(before.rstrip()),
    )


def _anchor_in_block(entry: Entry, index: int, number: int, **fields: int) -> Anchor:
    """Return an anchor with these `fields`, and with what finds its block again.

    The block must be laid out.
    """
    block = entry.blocks[number]
    fold_number = number
    while fold_number > 0 and entry.blocks[fold_number].is_thought:  # up to the row above reasoning
        fold_number -= 1
    return Anchor(
        index,
        number,
        block=block,
        solid_total=_solid_before_lines(block)[-1],
        chars_total=row_starts(block)[-1],
        source_before=sum(len(above.source) for above in entry.blocks[:number]),
        fold_number=fold_number,
        **fields,
    )


def find_again(document: Document, anchor: Anchor) -> Anchor | None:
    """Return an anchor for the same character in the log as it is now.

    An anchor without a block, as the end of a message, is returned as it is. Return None if its
    block is gone or shows another text. The block is laid out.
    """
    if anchor.block is None:
        return anchor
    document.build(anchor.index)
    entry = document.entries[anchor.index]
    number = _find_block(entry, anchor.number, anchor.block)
    if number is None:
        return None

    block = document.laid_out_block(anchor.index, number)
    if block.source == anchor.block.source:
        if row_starts(block)[-1] != anchor.chars_total:  # as a table at another width
            return None
        return replace(anchor, number=number, block=block)

    # the block has grown, and its text may be in several blocks
    number, solid_before = _find_in_pieces(document, anchor.index, number, anchor.solid_before)
    text = unwrapped_text(entry.blocks[number])
    chars_before = _chars_before(text, solid_before, anchor.blanks_before)
    if chars_before is None:
        return None
    return anchor_in_text(document, anchor.index, number, chars_before)


def relocate(document: Document, anchor: Anchor) -> Place:
    """Return the row of an anchor, or the nearest one where its text is gone.

    Without a block, the numbers of the anchor are returned. Otherwise its block is laid out, and
    the anchor is updated to the block that now holds its text.
    """
    old_block = anchor.block
    index = anchor.index
    if anchor.number < 0 or old_block is None:
        return Place(index, anchor.number, anchor.row)

    document.build(index)
    entry = document.entries[index]
    number = _find_block(entry, anchor.number, old_block)
    if number is None:
        number = _nearest_block(entry, anchor, old_block)
    solid_before = anchor.solid_before
    has_same_source = entry.blocks[number].source == old_block.source
    if not has_same_source:
        number, solid_before = _find_in_pieces(document, index, number, solid_before, is_row=True)

    height = document.lay_out_block(index, number)
    block = entry.blocks[number]
    *solid_before_lines, solid_total = _solid_before_lines(block)
    if has_same_source and anchor.solid_total:
        # the same source may show more or less text: a table may become a list of values
        solid_before = solid_before * solid_total // anchor.solid_total
    row = _row_of(solid_before_lines, solid_before, anchor.row)
    # in the same text, the anchor keeps its counts: rounding must not add up over several widths
    if number != anchor.number or not has_same_source:
        anchor.number = number
        anchor.row = row
        anchor.solid_before = solid_before
        anchor.solid_total = solid_total
    anchor.block = block
    blank_rows = height - len(solid_before_lines)
    return Place(index, number, row + blank_rows)


def _find_block(entry: Entry, number: int, old_block: Block) -> int | None:
    """Return the number of the block that `old_block` is now; None if it is gone.

    That is the same object, or else one with the same source and kind, the nearest to its old
    number. Otherwise it is the block at the old number, if that is the old one with more text.
    """
    blocks = entry.blocks
    if number < len(blocks) and blocks[number] is old_block:
        return number
    matches = [current for current, block in enumerate(blocks) if block is old_block]
    has_grown = number < len(blocks) and _has_grown(blocks[number], old_block)
    # an earlier block may be equal by chance to what the open end of a streaming answer was
    is_open_end = has_grown and entry.is_streaming
    if old_block.source and not matches and not is_open_end:
        matches = [current for current, block in enumerate(blocks) if _is_equal(block, old_block)]
    if matches:
        return min(matches, key=lambda match: abs(match - number))
    return number if has_grown else None


def _has_same_kind(block: Block, old_block: Block) -> bool:
    return block.kind is old_block.kind and block.is_thought == old_block.is_thought


def _is_equal(block: Block, old_block: Block) -> bool:
    return block.source == old_block.source and _has_same_kind(block, old_block)


def _has_grown(block: Block, old_block: Block) -> bool:
    """Return whether `block` is likely `old_block` with more text at its end.

    Only the kinds and the first characters are compared; so a block that has shrunk passes too.
    Blanks at the end do not count: they are the first to change while a text grows.
    """
    size = min(len(block.source.rstrip()), len(old_block.source.rstrip()), _HEAD_CHARS)
    begins_alike = size > 0 and block.source[:size] == old_block.source[:size]
    return begins_alike and _has_same_kind(block, old_block)


def _find_in_pieces(
    document: Document, index: int, number: int, solid_before: int, *, is_row: bool = False
) -> tuple[int, int]:
    """Return the block that now holds a position, and the solid characters of it before that.

    `solid_before` counts from the start of block `number`. The open end of an answer is cut into
    several blocks while it grows, of which `number` is the first: the position may be in a later
    one. At the border of two blocks, a character is at the end of the first block, and a row
    (`is_row`) at the beginning of the second one.
    """
    blocks = document.entries[index].blocks
    while True:
        solid_total = _solid_before_lines(document.laid_out_block(index, number))[-1]
        if is_row:  # `not solid_before` is for the first row of a block of blanks
            is_inside = solid_before < solid_total or not solid_before
        else:
            is_inside = solid_before <= solid_total
        # a block without a source is a row of the log: the text ends above it
        is_last = number + 1 == len(blocks) or not blocks[number + 1].source
        if is_inside or is_last:
            return number, solid_before
        number += 1
        solid_before -= solid_total


def _chars_before(text: str, solid_before: int, blanks_before: int) -> int | None:
    """Return the length of the beginning of a text that has `solid_before` solid characters.

    Blanks after them are included, at most `blanks_before`. Return None if the text has fewer solid
    characters.
    """
    if not solid_before:
        end_of_solid = 0
    else:
        solid_places = (place for place, char in enumerate(text) if not char.isspace())
        last_solid = next(islice(solid_places, solid_before - 1, None), None)
        if last_solid is None:
            return None
        end_of_solid = last_solid + 1
    following = text[end_of_solid : end_of_solid + blanks_before]
    return end_of_solid + len(following) - len(following.lstrip())


def _nearest_block(entry: Entry, anchor: Anchor, old_block: Block) -> int:
    """Return the number of the block that is now where a removed block was.

    For a block of reasoning, that is the row into which it is folded. For other text, it is the
    block that now has the source at its place. For a block without a source, a row of the log such
    as a header, it is the block with its number.
    """
    last = len(entry.blocks) - 1
    number = min(anchor.number, last)
    if not old_block.source:
        return number
    if old_block.is_thought:
        return min(anchor.fold_number, number)

    source_end = 0
    for current, block in enumerate(entry.blocks):
        source_end += len(block.source)
        if source_end > anchor.source_before:
            return current
    return last


def _solid_before_lines(block: Block) -> list[int]:
    """Return the number of solid characters before each line of a block, and last in all lines."""
    return list(accumulate((count_solid(line.text) for line in block.lines or ()), initial=0))


def _row_of(solid_before_lines: Sequence[int], solid_before: int, old_row: int) -> int:
    """Return the index of the line of a block on which a position is.

    That is the last line that begins at the position or before it. Several lines may begin at the
    position, as blank ones do: then it is `old_row`, if that is one of them. A position on the
    blank row above a block (`old_row` is -1) stays there. In a block without lines, it is row 0.
    """
    line_count = len(solid_before_lines)
    if old_row < 0 or not line_count:
        return min(old_row, 0)
    if old_row < line_count and solid_before_lines[old_row] == solid_before:
        return old_row
    rows = [row for row, before in enumerate(solid_before_lines) if before <= solid_before]
    return max(rows, default=0)


def count_solid(text: str) -> int:
    """Return the number of characters that are not blank."""
    return sum(map(len, text.split()))


def unwrapped_text(block: Block) -> str:
    """Return the text of a block that is laid out, with line ends only where it is not wrapped."""
    return "".join(line.text if line.is_wrapped else f"{line.text}\n" for line in block.lines or ())


def row_starts(block: Block) -> list[int]:
    """Return where each line of a block begins in its unwrapped text, and last where that ends."""
    sizes = (len(line.text) + (not line.is_wrapped) for line in block.lines or ())
    return list(accumulate(sizes, initial=0))
