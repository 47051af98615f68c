"""All messages of a log: which lines there are, where they stand, which must be laid out now."""

from __future__ import annotations

from collections import deque

from lmchat.domain.path import MessagePath
from lmchat.tui.widgets.chat_log.blocks import Block, Code
from lmchat.tui.widgets.chat_log.document.built import Built
from lmchat.tui.widgets.chat_log.document.entries import Entries
from lmchat.tui.widgets.chat_log.document.entry import Entry, likely_heights
from lmchat.tui.widgets.chat_log.document.heights import Heights
from lmchat.tui.widgets.chat_log.document.rows import Place, Rows, above
from lmchat.tui.widgets.chat_log.document.unread import StillReadingError, Unread
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.layout.page import Page
from lmchat.tui.widgets.chat_log.line import Line

__all__ = ["KEPT_BLOCKS", "KEPT_ENTRIES", "Document", "Place"]

KEPT_BLOCKS = 3_000
"""Blocks whose lines are kept; the oldest of the others are laid out again when they are looked at."""
KEPT_ENTRIES = 1_000
"""Messages of those that were there at first that stay more than their text once they were looked at."""


class Document(Rows):
    """Heights are exact for what was laid out, and estimates for the rest."""

    def __init__(self) -> None:
        super().__init__()
        self.uncoloured: list[tuple[Code, str]] = []
        """Fences that were laid out in pieces and have ended, with the words after their marks."""
        self._laid: deque[Block] = deque()
        self._built = Built()
        self.unread = Unread()

    def load(self, path: MessagePath) -> None:
        """Take these messages, and no others."""
        self.entries = Entries(path)
        self.uncoloured.clear()
        self._laid.clear()
        self._built = Built()
        self.unread = Unread()
        self._estimate()

    def prepend(self, earlier: MessagePath) -> None:
        """Put messages before all others."""
        changed = self.entries.prepend(earlier)
        heights = _with_rows_above(likely_heights(earlier.extents(), self.width))
        if not heights:
            return
        if len(self.heights):
            self.heights[0] += above(1)
        self.heights.prepend(heights)
        for index in changed:
            self.rebuild(index)

    def append(self, entry: Entry) -> int:
        """Add a message at the end; return its place in the list."""
        self.entries.append(entry)
        self.heights.append(0)
        index = len(self.entries) - 1
        self.measure(index)
        return index

    def set_page(self, page: Page) -> None:
        """Lay everything out anew on another page; all heights become estimates."""
        self.layout = Layout(page)
        self._laid.clear()
        self._estimate()

    def _estimate(self) -> None:
        """Forget all heights; those of what was looked at are better estimates."""
        self.heights = Heights(_with_rows_above(self.entries.likely_heights(self.width)))
        for index, entry in self.entries.made():
            entry.forget()
            if entry.is_built:
                self.measure(index)

    def rebuild(self, index: int) -> None:
        """Make the blocks of a message anew."""
        if self.entries[index].is_built:
            self.entries[index].build()
            self._built.add(self.entries[index])
            self._relink(index)
            self.unread.use(self.entries[index])
        self.measure(index)

    def grow(self, index: int, *, is_exact: bool) -> Place:
        """Take up what came for a message; return the first line that looks different.

        With `is_exact` all that is new is laid out, so that its height is no estimate.
        """
        entry = self.entries[index]
        last, old = entry.first_open, None
        if last < len(entry.blocks):
            old = entry.blocks[last].lines
        start = new_from = entry.grow()
        self.unread.use(entry)
        if self._relink(index):
            start = 0  # what was laid out above is laid out again when it comes near the screen
        self.measure(index)
        if start:
            self._want_colours(entry.blocks[start - 1])
        if is_exact:
            for number in range(new_from, len(entry.blocks)):
                self.prepare(index, number)
        if old is None or start != last or self.layout is None:
            return index, start, 0
        self.prepare(index, start)
        new = entry.blocks[start].lines or []
        same = next(
            (row for row, pair in enumerate(zip(old, new, strict=False)) if not _is_same(*pair)), None
        )
        same = min(len(old), len(new)) if same is None else same
        new[:same] = old[:same]  # they are painted already
        return index, start, entry.heights[start] - len(new) + same

    def measure(self, index: int) -> None:
        """Bring the height of a message up to date."""
        entry = self.entries[index]
        if not entry.is_built:
            self.heights[index] = entry.estimate(self.width) + above(index)
            return
        for number in range(len(entry.heights), len(entry.blocks)):
            block = entry.blocks[number]
            entry.heights.append(_with_gap(block, number, block.estimate(self.width)))
        self.heights[index] = entry.heights.total + above(index)

    def build(self, index: int) -> int:
        """Cut a message into blocks, once; return how many there are."""
        entry = self.entries[index]
        if not entry.is_built:
            entry.build()
            self.measure(index)
            self._built.add(entry)
        self._built.use(entry)
        self.unread.use(entry)
        return len(entry.blocks)

    def whole(self, index: int) -> int:
        """Cut a message into blocks; return how many there are.

        Raises:
            StillReadingError: It is long, and not all of it was read by now.
        """
        count = self.build(index)
        if self.entries[index].read_up_to >= 0:
            raise StillReadingError(index)
        return count

    def is_read(self, index: int) -> bool:
        """Whether no block of a message stands for what is not yet read."""
        entry = self.entries.known(index)
        return entry is None or entry.read_up_to < 0

    def take_read(self, index: int) -> tuple[int, int] | None:
        """Show what was read of a message by now; return the first block that is new, and how many are."""
        changed = self.entries[index].take_read()
        if changed is not None:
            self._relink(index)
            self.measure(index)
        return changed

    def prepare(self, index: int, number: int) -> int:
        """Lay a block out, if it is not; return its height."""
        entry = self.entries[index]
        block = entry.blocks[number]
        if block.lines is None and self.layout is not None:
            block.lines = self.layout.lines(block, entry.references)
            block.height = len(block.lines)
            entry.heights[number] = _with_gap(block, number, block.height)
            self.heights[index] = entry.heights.total + above(index)
            self._laid.append(block)
            self._want_colours(block)
        return entry.heights[number]

    def _want_colours(self, block: Block) -> None:
        """Note a fence that can be read as a whole; one piece is the whole."""
        code = block.code
        if code is not None and code.is_whole and not code.is_read and block.info and len(code.pieces) > 1:
            code.is_read = True
            self.uncoloured.append((code, block.info))

    def recolour(self, code: Code, colours: list[bytes]) -> Place | None:
        """Take the colours of a fence; return its first line, unless it is not here any more."""
        code.colours = colours
        places = [
            (index, number, 0)
            for index, entry in self.entries.made()
            for number, block in enumerate(entry.blocks)
            if block.code is code
        ]
        for index, number, _ in places:
            self.entries[index].blocks[number].lines = None
        return min(places, default=None)

    def relay(self, index: int, number: int) -> None:
        """Lay a block out again, whose content changed."""
        self.entries[index].blocks[number].lines = None
        self.prepare(index, number)

    def _relink(self, index: int) -> bool:
        """Drop the lines that may look different because a link was defined; return whether one was."""
        entry = self.entries[index]
        if len(entry.references) == entry.known_links:
            return False
        entry.known_links = len(entry.references)
        for block in entry.blocks:
            if "[" in block.source:
                block.lines = None
        return True

    def surround(self, place: Place, above: int, below: int) -> None:
        """Lay out so many lines above and below a place, and the block that it is in."""
        index, number, line = place
        number = min(max(number, 0), self.build(index) - 1)
        height = self.prepare(index, number)
        self.sweep(index, number, 1, below + line)
        self.sweep(index, number, -1, above + height)

    def sweep(self, index: int, number: int | None, step: int, lines: int) -> None:
        """Lay out blocks from a place on, forwards or backwards, until they fill so many lines."""
        while 0 <= index < len(self.entries):
            count = self.build(index)
            entry = self.entries[index]
            start = number if number is not None else (0 if step > 0 else count - 1)
            for block in range(start, count if step > 0 else -1, step):
                if lines <= 0:
                    return
                is_laid = entry.blocks[block].lines is not None  # nearly all are, with each frame
                lines -= entry.heights[block] if is_laid else self.prepare(index, block)
            index, number = index + step, None

    def trim(self) -> bool:
        """Forget what was laid out long ago; return whether anything was, which may be on the screen."""
        excess = len(self._laid) - KEPT_BLOCKS
        for _ in range(excess):
            self._laid.popleft().lines = None
        is_full = self.entries.made_count > KEPT_ENTRIES
        has_forgotten = is_full and self.entries.forget(KEPT_ENTRIES // 2)
        return self._built.forget() or excess > 0 or has_forgotten


def _is_same(old: Line, new: Line) -> bool:
    return old.segments == new.segments and old.text == new.text and old.is_wrapped == new.is_wrapped


def _with_rows_above(heights: list[int]) -> list[int]:
    """Return heights of messages from the first on, with the blank rows above each."""
    return heights[:1] + [height + above(1) for height in heights[1:]]


def _with_gap(block: Block, number: int, height: int) -> int:
    """Return a height with the blank row above, which a block without lines does not have."""
    return height + block.gap if number and height else height
