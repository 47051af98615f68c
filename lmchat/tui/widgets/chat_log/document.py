"""All messages of a log: which lines there are, where they stand, which must be laid out now."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from lmchat.domain.message import ChatMessage, Role, ToolCallPart
from lmchat.domain.path import STRETCH, MessagePath
from lmchat.tui.widgets.chat_log.blocks import Block, Code, Line
from lmchat.tui.widgets.chat_log.entry import Entry, likely_heights
from lmchat.tui.widgets.chat_log.heights import Heights
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.layout.page import Page

__all__ = ["KEPT_BLOCKS", "KEPT_ENTRIES", "Document", "Place"]

Searched = tuple[int, list[str], bool]
"""A message, the texts of its parts, and whether they are shown as they were written."""
_NOTICE = ChatMessage(message_id="", role=Role.SYSTEM, parts=(), created_at=datetime.min.replace(tzinfo=UTC))
"""Stands in the path for a notice, which stays an entry."""
_TOGETHER_CHARS = 30_000
"""Messages are looked through together until they are so long."""


class Entries:
    """A path of messages that are made into entries one by one, and a list of what came lately."""

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
        """Add one at the end; what came long before it is packed."""
        self._later.append(entry)
        if len(self._later) > 3 * STRETCH:
            self._pack(self._later[:STRETCH])

    def _pack(self, oldest: list[Entry]) -> None:
        """Put the oldest of the list at the end of the path, up to what is still on its way."""
        messages: list[ChatMessage] = []
        for entry in oldest:
            if entry.is_open:
                break
            if entry.message is None or entry.is_built or entry.is_changed:
                self._made[len(self._path) + len(messages)] = entry
            messages.append(entry.message or _NOTICE)
        self._path = self._path.added(*messages)
        del self._later[: len(messages)]

    def prepend(self, earlier: MessagePath) -> list[int]:
        """Put what was read later before all; return which of the first ones look different now."""
        count = len(earlier)
        self._path = self._path.after(earlier)
        self._made = {index + count: entry for index, entry in self._made.items()}
        changed = []
        for index, entry in self.made():
            was, entry.switch = entry.switch, self.switch_at(index)
            changed += [index] if entry.switch != was else []
        return changed

    def made(self) -> Iterator[tuple[int, Entry]]:
        """Yield those that are more than a message by now."""
        yield from self._made.items()
        yield from enumerate(self._later, len(self._path))

    def index(self, entry: Entry) -> int | None:
        """Return where an entry is; None where it is not among these any more."""
        return next((index for index, one in self.made() if one is entry), None)

    @property
    def first_id(self) -> str:
        """The id of the first message; empty where there is none."""
        message = self[0].message if len(self) else None
        return message.message_id if message else ""

    @property
    def made_count(self) -> int:
        """How many of the path are more than a message."""
        return len(self._made)

    def likely_heights(self, width: int) -> list[int]:
        """Return the heights that all may have."""
        return likely_heights(self._path.extents(), width) + [entry.estimate(width) for entry in self._later]

    def texts(self, index: int) -> list[str]:
        """Return all that a search looks through in one: thoughts and calls, too."""
        if index < len(self._path) and index not in self._made:
            return texts_of(self._path[index])
        entry = self[index]
        if entry.is_open:
            return [part.text for part in entry.parts]
        return texts_of(entry.message) if entry.message else []

    def searched(self, first: int) -> Iterator[Searched]:
        """Yield all with what a search looks through, from one on, and then those before it."""
        count = len(self._path)
        yield from self._searched(first, count)
        for index in range(count, len(self)):
            yield index, self.texts(index), self.is_plain(index)
        yield from self._searched(0, min(first, count))

    def _searched(self, start: int, stop: int) -> Iterator[Searched]:
        for index, message in enumerate(self._path[start:stop], start):
            texts = self.texts(index) if index in self._made else texts_of(message)
            yield index, texts, self.is_plain(index) if index in self._made else _is_plain(message)

    def is_plain(self, index: int) -> bool:
        """Whether one is shown as it was written, and not as Markdown."""
        entry = self.known(index)
        if entry is None:
            return _is_plain(self._path[index])
        return entry.is_source or (entry.message is not None and _is_plain(entry.message))

    def source(self, index: int) -> str:
        """Return what is said in one."""
        is_plain = index < len(self._path) and index not in self._made
        return self._path[index].text if is_plain else self[index].source

    def known(self, index: int) -> Entry | None:
        """Return one that is more than a message by now."""
        return self._made.get(index) if index < len(self._path) else self[index]

    def is_message(self, index: int) -> bool:
        """Whether one is more than a notice."""
        entry = self.known(index)
        return entry is None or entry.message is not None

    def message_from(self, index: int, step: int) -> int | None:
        """Return the next message from a place on, in steps of 1 or -1; notices are passed over."""
        while 0 <= index < len(self):
            if self.is_message(index):
                return index
            index += step
        return None

    def place(self, message_id: str) -> int | None:
        """Return where a message is, the newest first."""
        for number in range(len(self._later) - 1, -1, -1):
            message = self._later[number].message
            if message is not None and message.message_id == message_id:
                return len(self._path) + number
        return self._path.place(message_id)

    def model_before(self, index: int) -> str:
        """Return the model of the last answer before an entry."""
        for number in range(min(index, len(self)) - len(self._path) - 1, -1, -1):
            message = self._later[number].message
            if message is not None and (model := model_of(message)):
                return model
        return self._path.model_before(min(index, len(self._path)))

    def switch_at(self, index: int) -> str:
        """Return the model that answers from an entry on, empty where it is the same as before."""
        message = self[index].message
        return switch(self.model_before(index), message) if message else ""

    def replace(self, index: int, message: ChatMessage) -> None:
        """Let an entry show another value of its message."""
        entry = self[index]
        entry.message = message
        if index < len(self._path):
            self._path = self._path.replaced(message)
        entry.switch = self.switch_at(index)

    def forget(self, kept: int) -> bool:
        """Let those that were made first be messages again, all but so many; return whether any was."""
        old = list(self._made.items())[: max(len(self._made) - kept, 0)]
        plain = [index for index, entry in old if entry.message and not entry.is_changed]
        for index in plain:
            del self._made[index]
        return bool(plain)


def texts_of(message: ChatMessage) -> list[str]:
    """Return all that a message holds, part by part."""
    return [part.arguments if isinstance(part, ToolCallPart) else part.text for part in message.parts]


def _is_plain(message: ChatMessage) -> bool:
    return message.role is not Role.ASSISTANT


def model_of(message: ChatMessage) -> str:
    """Return who answered; empty for what is no answer."""
    return message.model if message.role is Role.ASSISTANT else ""


def switch(previous: str, message: ChatMessage) -> str:
    """Return the model that answers from here on, empty where it is the same as before."""
    model = model_of(message)
    return model if previous and model != previous else ""


def together(messages: Iterable[Searched]) -> Iterator[list[Searched]]:
    """Yield some messages at a time: most hold nothing, and that is seen of all of them at once."""
    some: list[Searched] = []
    size = 0
    for one in messages:
        some.append(one)
        size += sum(map(len, one[1]))
        if size > _TOGETHER_CHARS:
            yield some
            some, size = [], 0
    if some:
        yield some


Place = tuple[int, int, int]
"""Entry, block (-1 for the blank row above the entry), and line in the block with the blank row above it."""


class Rows:
    """All messages with their heights, from which it is known what stands on a row."""

    def __init__(self) -> None:
        self.entries = Entries()
        self.heights = Heights()
        self.layout: Layout | None = None

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def total(self) -> int:
        """Lines of all of it."""
        return self.heights.total

    @property
    def width(self) -> int:
        """Cells of a line of text."""
        return self.layout.page.text_width if self.layout else 80

    def locate(self, y: int) -> Place:
        """Return what stands on a line."""
        index, line = self.heights.find(y)
        entry = self.entries[index]
        if line < above(index) or not len(entry.heights):
            return index, -1, line
        return index, *entry.heights.find(line - above(index))

    def position(self, place: Place) -> int:
        """Return the line on which something stands."""
        index, number, line = place
        top = self.heights.top(index)
        if number < 0:
            return top + line
        heights = self.entries[index].heights
        return top + above(index) + heights.top(min(number, len(heights))) + line

    def line(self, place: Place) -> Line | None:
        """Return the line at a place; None for a blank row and for what is not laid out."""
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
        """Yield so many lines from one on; None for blank rows. It ends with the document."""
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


def above(index: int) -> int:
    """Return the blank rows above a message."""
    return int(index > 0)


KEPT_CHARS = 500_000
"""Characters of all messages that stay cut into blocks."""


class Built:
    """Messages in the order in which they were cut into blocks."""

    def __init__(self) -> None:
        self._entries: deque[tuple[Entry, int]] = deque()
        self._chars = 0
        self._in_use: dict[int, Entry] = {}

    def add(self, entry: Entry) -> None:
        """Note a message that is cut into blocks."""
        chars = len(entry.source)
        self._entries.append((entry, chars))
        self._chars += chars

    def use(self, entry: Entry) -> None:
        """Note a message that is looked at: what is near the screen is kept, however long it is."""
        self._in_use[id(entry)] = entry

    def forget(self) -> bool:
        """Where there is too much, let half of it be messages again; return whether any are."""
        in_use, self._in_use = self._in_use, {}
        if self._chars <= KEPT_CHARS:
            return False
        has_forgotten = False
        for _ in range(len(self._entries)):
            if self._chars <= KEPT_CHARS // 2:
                break
            entry, chars = self._entries.popleft()
            self._chars -= chars
            if id(entry) in in_use:
                self._entries.append((entry, chars))
                self._chars += chars
            elif entry.is_changed:
                self._entries.append((entry, 0))
            else:
                _unbuild(entry)
                has_forgotten = True
        return has_forgotten


def _unbuild(entry: Entry) -> None:
    entry.parts.clear()
    entry.blocks.clear()
    entry.heights.truncate(0)


READ_CHARS = 2_000
"""So many characters are cut into blocks at a time: that takes up to 5 ms, and 0.3 ms for prose."""


class StillReadingError(Exception):
    """All of a long message was asked for, and not all of it is cut into blocks."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index
        """Which message."""


class Unread:
    """Messages in the order in which they were looked at, as long as some of their text waits."""

    def __init__(self) -> None:
        self._entries: dict[int, Entry] = {}

    def __bool__(self) -> bool:
        return bool(self._entries)

    def use(self, entry: Entry) -> None:
        """Note a message that is looked at: where it is long, it is the next to be read."""
        if entry.unread is not None:
            self._entries.pop(id(entry), None)
            self._entries[id(entry)] = entry

    def entries(self) -> list[Entry]:
        """Return all that are being read, and forget those that have been."""
        found = list(self._entries.values())
        self._entries = {id(entry): entry for entry in found if entry.unread is not None}
        return found

    def read(self) -> bool:
        """Read a piece; return whether there is more of the same part."""
        entry = next((one for one in reversed(self._entries.values()) if one.unread is not None), None)
        return entry is not None and self.read_of(entry)

    def read_of(self, entry: Entry) -> bool:
        """Read a piece of a message; return whether there is more of the same part."""
        part = entry.unread
        if part is not None:
            part.read(READ_CHARS)
        return part is not None and part.is_unread


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
