"""The messages of a log: their blocks, the height of each, and which rows they take."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import chain

from lmchat.domain.message import ChatMessage, Role, ToolCallPart
from lmchat.domain.path import MessagePath
from lmchat.tui.widgets.chat_log.blocks import Block, Code, Heights, Line
from lmchat.tui.widgets.chat_log.entry import Entry, likely_heights
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.layout.page import Page

KEPT_LINES = 20_000
"""Laid-out lines that stay in memory: 10 to 20 MB."""
READ_CHARS = 2_000
"""Characters of a long message that are parsed at a time: up to 5 ms for lists in lists, 0.3 ms for prose."""

Place = tuple[int, int, int]
"""Message, block (-1: the blank row above the message), and row in the block with the blank row above."""
Searched = tuple[int, list[str], bool]
"""A message, the texts of its parts, and whether they are shown as they were written."""


class StillReadingError(Exception):
    """All of a long message was asked for, and not all of it is parsed."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index
        """Which message."""


class Entries:
    """The messages of a log. An `Entry` is made for those that are looked at, and for new ones."""

    def __init__(self, path: MessagePath | None = None) -> None:
        self._path = path or MessagePath()
        self._made: dict[int, Entry] = {}
        self._later: list[Entry] = []

    def __len__(self) -> int:
        return len(self._path) + len(self._later)

    def __getitem__(self, index: int) -> Entry:
        place = index + len(self) if index < 0 else index
        if place >= len(self._path):
            return self._later[place - len(self._path)]
        entry = self._made.get(place)
        if entry is None:
            message = self._path[place]
            entry = self._made[place] = Entry(message, switch=switch(self._path.model_before(place), message))
        return entry

    def append(self, entry: Entry) -> None:
        """Add one at the end."""
        self._later.append(entry)

    def prepend(self, earlier: MessagePath) -> list[int]:
        """Put messages before all others; return which of the known ones look different now."""
        count = len(earlier)
        self._path = self._path.after(earlier)
        self._made = {index + count: entry for index, entry in self._made.items()}
        return self.update_switches(0)

    def update_switches(self, first: int) -> list[int]:
        """Find the changes of model again from a message on; return which messages look different now."""
        changed = []
        for index, entry in list(self.made()):
            was = entry.switch
            if index >= first and entry.message is not None:
                entry.switch = switch(self.model_before(index), entry.message)
            changed += [index] if entry.switch != was else []
        return changed

    def made(self) -> Iterator[tuple[int, Entry]]:
        """Yield all entries that exist."""
        yield from self._made.items()
        yield from enumerate(self._later, len(self._path))

    def known(self, index: int) -> Entry | None:
        """Return an entry if it exists."""
        return self._made.get(index) if index < len(self._path) else self[index]

    def index(self, entry: Entry) -> int | None:
        """Return the place of an entry; None where it is gone."""
        return next((index for index, one in self.made() if one is entry), None)

    def forget(self, entries: Iterable[Entry]) -> None:
        """Reduce entries to their messages."""
        gone = {id(entry) for entry in entries if entry.message and not entry.is_changed}
        self._made = {index: entry for index, entry in self._made.items() if id(entry) not in gone}

    @property
    def first_id(self) -> str:
        """The id of the first message; empty where there is none."""
        message = self[0].message if len(self) else None
        return message.message_id if message else ""

    def likely_heights(self, width: int) -> list[int]:
        """Return the estimated heights of all messages."""
        return likely_heights(self._path.extents(), width) + [entry.estimate(width) for entry in self._later]

    def searched(self, first: int) -> Iterator[Searched]:
        """Yield all messages with their texts, from one on, and then those before it."""
        return map(self.search, chain(range(first, len(self)), range(first)))

    def search(self, index: int) -> Searched:
        """Return a message with all its texts, those of thoughts and calls too."""
        entry = self.known(index)
        if entry is None:
            return index, _texts_of(self._path[index]), _is_plain(self._path[index])
        is_plain = entry.is_source or (entry.message is not None and _is_plain(entry.message))
        if entry.is_open:
            return index, [part.text for part in entry.parts], is_plain
        return index, _texts_of(entry.message) if entry.message else [], is_plain

    def source(self, index: int) -> str:
        """Return the source text of a message."""
        entry = self.known(index)
        return self._path[index].text if entry is None else entry.source

    def message_from(self, index: int, step: int) -> int | None:
        """Return the next message from a place on, in steps of 1 or -1; notices are skipped."""
        while 0 <= index < len(self):
            entry = self.known(index)
            if entry is None or entry.message is not None:
                return index
            index += step
        return None

    def place(self, message_id: str) -> int | None:
        """Return the index of a message."""
        for number in range(len(self._later) - 1, -1, -1):
            message = self._later[number].message
            if message is not None and message.message_id == message_id:
                return len(self._path) + number
        return self._path.place(message_id)

    def model_before(self, index: int) -> str:
        """Return the model of the last answer before a message."""
        for number in range(min(index, len(self)) - len(self._path) - 1, -1, -1):
            message = self._later[number].message
            if message is not None and message.role is Role.ASSISTANT and message.model:
                return message.model
        return self._path.model_before(min(index, len(self._path)))

    def replace(self, index: int, message: ChatMessage) -> None:
        """Let an entry show another value of its message."""
        entry = self[index]
        entry.message = message
        if index < len(self._path):
            self._path = self._path.replaced(message)
        entry.switch = switch(self.model_before(index), message)


class LineCache:
    """LRU cache of laid-out blocks. A message without any such block goes back to its source text."""

    def __init__(self, kept_lines: int = KEPT_LINES) -> None:
        self._kept_lines = kept_lines
        self._blocks: OrderedDict[int, tuple[Block, Entry, int]] = OrderedDict()
        self._lines = 0

    def clear(self) -> None:
        """Forget all."""
        self._blocks.clear()
        self._lines = 0

    def add(self, entry: Entry, block: Block) -> None:
        """Note that a block was laid out."""
        _, _, lines = self._blocks.pop(id(block), (block, entry, 0))
        count = len(block.lines or []) + 1
        self._blocks[id(block)] = block, entry, count
        self._lines += count - lines

    def use(self, block: Block) -> None:
        """Note that a block is near the screen."""
        if id(block) in self._blocks:
            self._blocks.move_to_end(id(block))

    def evict(self) -> list[Entry]:
        """Where there are too many lines, drop half of them; return messages none of whose blocks is left."""
        if self._lines <= self._kept_lines:
            return []
        touched: dict[int, Entry] = {}
        while self._lines > self._kept_lines // 2:
            _, (block, entry, count) = self._blocks.popitem(last=False)
            self._lines -= count
            block.lines = None
            touched[id(entry)] = entry
        return [
            entry
            for entry in touched.values()
            if not entry.is_open and all(block.lines is None for block in entry.blocks)
        ]


class Document:
    """All messages with their heights: exact where they were laid out, estimates elsewhere."""

    def __init__(self) -> None:
        self.entries = Entries()
        self.heights = Heights()
        self.layout: Layout | None = None
        self.uncoloured: list[tuple[Code, str]] = []
        """Complete code fences of several blocks with their languages, to be highlighted as a whole."""
        self.cache = LineCache()
        self._unread: dict[int, Entry] = {}

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def total(self) -> int:
        """Rows of all messages."""
        return self.heights.total

    @property
    def width(self) -> int:
        """Cells of a line of text."""
        return self.layout.page.text_width if self.layout else 80

    def load(self, path: MessagePath) -> None:
        """Take these messages, and no others."""
        self.entries = Entries(path)
        self.uncoloured.clear()
        self.cache.clear()
        self._unread = {}
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
        """Add a message at the end; return its index."""
        self.entries.append(entry)
        self.heights.append(0)
        index = len(self.entries) - 1
        self.measure(index)
        return index

    def set_page(self, page: Page) -> None:
        """Lay everything out again on another page; all heights become estimates."""
        self.layout = Layout(page)
        self.cache.clear()
        self._estimate()

    def _estimate(self) -> None:
        """Forget all heights; those of the entries that exist are better estimates."""
        self.heights = Heights(_with_rows_above(self.entries.likely_heights(self.width)))
        for index, entry in self.entries.made():
            entry.forget()
            if entry.is_built:
                self.measure(index)

    def locate(self, y: int) -> Place:
        """Return the place of a row."""
        index, line = self.heights.find(y)
        entry = self.entries.known(index)
        if line < above(index) or entry is None or not len(entry.heights):
            return index, -1, line
        return index, *entry.heights.find(line - above(index))

    def position(self, place: Place) -> int:
        """Return the row of a place."""
        index, number, line = place
        top = self.heights.top(index)
        if number < 0:
            return top + line
        heights = self.entries[index].heights
        return top + above(index) + heights.top(min(number, len(heights))) + line

    def line(self, place: Place) -> Line | None:
        """Return the line at a place; None for a blank row and for a block that is not laid out."""
        index, number, row = place
        entry = self.entries[index]
        if not 0 <= number < len(entry.blocks):
            return None
        lines = entry.blocks[number].lines
        if lines is None:
            return None
        row -= entry.heights[number] - len(lines)
        return lines[row] if 0 <= row < len(lines) else None

    def rows(self, y: int, count: int) -> Iterator[tuple[Place, Line | None]]:
        """Yield rows from one on; None for blank rows. It ends with the document."""
        if not self.entries or y >= self.total:
            return
        index, number, row = self.locate(y)
        while count > 0 and index < len(self.entries):
            entry = self.entries[index]
            height = above(index) if number < 0 else entry.heights[number]
            lines = (entry.blocks[number].lines or []) if number >= 0 else []
            for line in range(row, min(height, row + count)):
                place = line - height + len(lines)
                yield (index, number, line), lines[place] if place >= 0 and lines else None
            count -= max(height - row, 0)
            number, row = number + 1, 0
            if number >= len(entry.heights):
                index, number = index + 1, -1

    def rebuild(self, index: int) -> None:
        """Make the blocks of a message again."""
        entry = self.entries[index]
        if entry.is_built:
            entry.build()
            self._relink(index)
            self._read_soon(entry)
        self.measure(index)

    def grow(self, index: int, *, is_exact: bool) -> Place:
        """Take up new text of a message; return the first row that looks different.

        With `is_exact` all new blocks are laid out, so that their heights are no estimates.
        """
        entry = self.entries[index]
        last, old = entry.first_open, None
        if last < len(entry.blocks):
            old = entry.blocks[last].lines
        start = new_from = entry.grow()
        self._read_soon(entry)
        if self._relink(index):
            start = 0  # blocks above are laid out again when they come near the screen
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
        pairs = enumerate(zip(old, new, strict=False))
        same = next((row for row, pair in pairs if not _is_same(*pair)), min(len(old), len(new)))
        new[:same] = old[:same]  # these are painted already
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
        """Make the blocks of a message if there are none; return how many there are."""
        entry = self.entries[index]
        if not entry.is_built:
            entry.build()
            self.measure(index)
        self._read_soon(entry)
        return len(entry.blocks)

    def whole(self, index: int) -> int:
        """Make the blocks of a message; return how many there are.

        Raises:
            StillReadingError: It is long, and not all of it is parsed.
        """
        count = self.build(index)
        if self.entries[index].read_up_to >= 0:
            raise StillReadingError(index)
        return count

    def is_read(self, index: int) -> bool:
        """Whether all of a message that is shown is parsed."""
        entry = self.entries.known(index)
        return entry is None or entry.read_up_to < 0

    def _read_soon(self, entry: Entry) -> None:
        """Let the long message that was looked at last be the next to be read."""
        if entry.unread is not None:
            self._unread.pop(id(entry), None)
            self._unread[id(entry)] = entry

    @property
    def is_reading(self) -> bool:
        """Whether some of a long message waits to be parsed, or to be shown."""
        return bool(self._unread)

    def read(self, entry: Entry | None = None) -> bool:
        """Parse a piece of a long message; return whether there is more of the same part."""
        if entry is None:
            entry = next((one for one in reversed(self._unread.values()) if one.unread is not None), None)
        part = entry.unread if entry is not None else None
        if part is not None:
            part.read(READ_CHARS)
        return part is not None and part.is_unread

    def being_read(self) -> list[int]:
        """Return the messages that were read from, and forget those that are complete."""
        found = [self.entries.index(entry) for entry in self._unread.values()]
        self._unread = {key: entry for key, entry in self._unread.items() if entry.unread is not None}
        return [index for index in found if index is not None]

    def take_read(self, index: int) -> tuple[int, int] | None:
        """Show what was parsed of a message; return the first new block and the number of new blocks."""
        changed = self.entries[index].take_read()
        if changed is not None:
            self._relink(index)
            self.measure(index)
        return changed

    def prepare(self, index: int, number: int) -> int:
        """Lay a block out if it is not; return its height."""
        entry = self.entries[index]
        block = entry.blocks[number]
        if block.lines is not None:
            self.cache.use(block)
        elif self.layout is not None:
            block.lines = self.layout.lines(block, entry.references)
            block.height = len(block.lines)
            entry.heights[number] = _with_gap(block, number, block.height)
            self.heights[index] = entry.heights.total + above(index)
            self.cache.add(entry, block)
            self._want_colours(block)
        return entry.heights[number]

    def _want_colours(self, block: Block) -> None:
        """Note a complete fence of several blocks."""
        code = block.code
        if code is not None and code.is_whole and not code.is_read and block.info and len(code.pieces) > 1:
            code.is_read = True
            self.uncoloured.append((code, block.info))

    def recolour(self, code: Code, colours: list[bytes]) -> Place | None:
        """Take the colours of a fence; return its first row, or None where it is gone."""
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
        """Lay a block out again whose content has changed."""
        self.entries[index].blocks[number].lines = None
        self.prepare(index, number)

    def _relink(self, index: int) -> bool:
        """Drop the lines that look different because a link was defined; return whether one was."""
        entry = self.entries[index]
        if len(entry.references) == entry.known_links:
            return False
        entry.known_links = len(entry.references)
        for block in entry.blocks:
            if "[" in block.source:
                block.lines = None
        return True

    def surround(self, place: Place, above: int, below: int) -> None:
        """Lay out the block of a place, and so many rows above and below the place."""
        index, number, line = place
        number = min(max(number, 0), self.build(index) - 1)
        height = self.prepare(index, number)
        self.sweep(index, number, 1, below + line)
        self.sweep(index, number, -1, above + height)

    def sweep(self, index: int, number: int | None, step: int, lines: int) -> None:
        """Lay out blocks from a place on, forwards or backwards, until they fill so many rows."""
        while 0 <= index < len(self.entries):
            count = self.build(index)
            start = number if number is not None else (0 if step > 0 else count - 1)
            for block in range(start, count if step > 0 else -1, step):
                if lines <= 0:
                    return
                lines -= self.prepare(index, block)
            index, number = index + step, None

    def trim(self) -> None:
        """Forget what was laid out long ago; what is near the screen was used last, and stays."""
        entries = self.cache.evict()
        for entry in entries:
            entry.unbuild()
        self.entries.forget(entries)


def above(index: int) -> int:
    """Return the number of blank rows above a message."""
    return int(index > 0)


def switch(previous: str, message: ChatMessage) -> str:
    """Return the model that answers from here on; empty where it is the same as before."""
    model = message.model if message.role is Role.ASSISTANT else ""
    return model if previous and model != previous else ""


def _texts_of(message: ChatMessage) -> list[str]:
    return [part.arguments if isinstance(part, ToolCallPart) else part.text for part in message.parts]


def _is_plain(message: ChatMessage) -> bool:
    return message.role is not Role.ASSISTANT


def _is_same(old: Line, new: Line) -> bool:
    return old.segments == new.segments and old.text == new.text and old.is_wrapped == new.is_wrapped


def _with_rows_above(heights: list[int]) -> list[int]:
    """Add the blank row above each message to its height."""
    return heights[:1] + [height + above(1) for height in heights[1:]]


def _with_gap(block: Block, number: int, height: int) -> int:
    """Return a height with the blank row above, which a block without lines does not have."""
    return height + block.gap if number and height else height
