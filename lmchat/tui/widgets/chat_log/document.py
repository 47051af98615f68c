"""Messages of a log: their blocks, heights and rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf

from lmchat.domain.message import ChatMessage, FilePart, Role, ToolCallPart
from lmchat.tui.widgets.chat_log.blocks import Block, Code, Heights, Kind, Line
from lmchat.tui.widgets.chat_log.entry import Entry, likely_height
from lmchat.tui.widgets.chat_log.layout.block import Layout
from lmchat.tui.widgets.chat_log.layout.page import Page

KEPT_LINES = 20_000  # laid-out lines that stay in memory: 10 to 20 MB

# message, block (-1: the blank row above the message), and row in the block with the blank row above
Place = tuple[int, int, int]


class Entries:
    """The messages of a log. An `Entry` is made for those that are looked at, and for new ones."""

    def __init__(self, messages: Iterable[ChatMessage] = ()) -> None:
        self._items: list[ChatMessage | Entry] = list(messages)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Entry:
        item = self._items[index]
        if isinstance(item, Entry):
            return item
        self._items[index] = entry = Entry(item, switch=self._switch(index, item))
        entry.has_tool_messages = self._has_tool_messages(index)
        return entry

    def append(self, entry: Entry) -> None:
        if entry.message is not None:
            entry.switch = self._switch(len(self), entry.message)
        self._items.append(entry)

    def prepend(self, earlier: Sequence[ChatMessage]) -> list[int]:
        self._items[:0] = earlier
        return self.update_switches()

    def update_switches(self) -> list[int]:
        """Find the changes of model again; return which messages look different now."""
        changed = []
        for index, entry in self.made():
            was = entry.switch
            if entry.message is not None:
                entry.switch = self._switch(index, entry.message)
            changed += [index] if entry.switch != was else []
        return changed

    def _switch(self, index: int, message: ChatMessage) -> str:
        if message.role is not Role.ASSISTANT or not message.model:
            return ""
        before = map(self.message, range(index - 1, -1, -1))
        models = (
            one.model
            for one in before
            if one is not None and one.role is Role.ASSISTANT and one.model
        )
        return message.model if next(models, message.model) != message.model else ""

    def _has_tool_messages(self, index: int) -> bool:
        message, following = (
            self.message(index),
            self.message(index + 1) if index + 1 < len(self) else None,
        )
        has_calls = (
            message is not None and message.role is Role.ASSISTANT and bool(message.tool_calls)
        )
        return has_calls and following is not None and following.role in (Role.TOOL, Role.ASSISTANT)

    def made(self) -> Iterator[tuple[int, Entry]]:
        return ((index, item) for index, item in enumerate(self._items) if isinstance(item, Entry))

    def known(self, index: int) -> Entry | None:
        item = self._items[index]
        return item if isinstance(item, Entry) else None

    def message(self, index: int) -> ChatMessage | None:
        item = self._items[index]
        return item.message if isinstance(item, Entry) else item

    def forget(self, index: int) -> None:
        """Reduce an entry to its message, unless it is shown in another way than that alone would be."""
        entry = self[index]
        entry.unbuild()
        if entry.message is not None and not entry.is_changed:
            self._items[index] = entry.message

    def texts(self, index: int) -> tuple[list[str], bool]:
        """Return all texts of a message, also reasoning and calls, and whether they are plain text."""
        entry, message = self.known(index), self.message(index)
        if message is None:
            return [], True
        is_plain = message.role is not Role.ASSISTANT or (entry is not None and entry.is_source)
        if entry is not None and entry.is_streaming:
            return [part.text for part in entry.parts], is_plain
        parts = [
            one
            for one in message.parts
            if not (isinstance(one, ToolCallPart) and self._has_tool_messages(index))
        ]
        texts = (part for part in parts if not isinstance(part, FilePart))
        return [
            part.arguments if isinstance(part, ToolCallPart) else part.text for part in texts
        ], is_plain

    def source(self, index: int) -> str:
        item = self._items[index]
        return item.source if isinstance(item, Entry) else item.text

    def message_from(self, index: int, step: int) -> int | None:
        """Return the next message from a place on, in steps of 1 or -1; what only made calls is skipped."""
        while 0 <= index < len(self):
            if self.message(index) is not None and not self[index].is_blank:
                return index
            index += step
        return None

    def index_of(self, message_id: str) -> int | None:
        for index in range(len(self) - 1, -1, -1):
            message = self.message(index)
            if message is not None and message.message_id == message_id:
                return index
        return None


class Document:
    """All messages with their heights: exact where laid out, estimates elsewhere."""

    def __init__(self, *, step_s: float = inf) -> None:
        self.step_s = step_s  # CPU time after which the rest of a message is left for later
        self.entries = Entries()
        self.heights = Heights()
        self.layout: Layout | None = None
        # complete code fences of several blocks with their languages, to be highlighted as a whole
        self.unhighlighted: list[tuple[Code, str]] = []
        self._behind: list[Entry] = []  # of which a part is still to be parsed
        self.kept_lines = KEPT_LINES
        self._laid_out = 0

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def total(self) -> int:
        return self.heights.total

    @property
    def width(self) -> int:
        return self.layout.page.text_width if self.layout else 80

    def load(self, messages: Iterable[ChatMessage]) -> None:
        self.entries = Entries(messages)
        self.unhighlighted.clear()
        self._behind.clear()
        self._estimate()

    def prepend(self, earlier: Sequence[ChatMessage]) -> None:
        changed = self.entries.prepend(earlier)
        self._estimate()
        for index in changed:
            self.rebuild(index)

    def append(self, entry: Entry) -> int:
        self.entries.append(entry)
        self.heights.append(0)
        index = len(self.entries) - 1
        self._measure(index)
        return index

    def set_page(self, page: Page) -> None:
        self.layout = Layout(page)
        for _, entry in self.entries.made():
            entry.forget()
        self._estimate()

    def _estimate(self) -> None:
        """Estimate the heights of all messages."""
        texts = enumerate(map(self.entries.source, range(len(self))))
        self.heights = Heights(
            likely_height(text, self.width) + self.above(index) for index, text in texts
        )
        for index, _ in self.entries.made():
            self._measure(index)

    # Rows and places

    def above(self, index: int) -> int:
        """Return the number of blank rows above a message; tool calls stand directly below their answer."""
        message = self.entries.message(index)
        return int(index > 0 and (message is None or message.role is not Role.TOOL))

    def locate(self, y: int) -> Place:
        index, line = self.heights.find(y)
        entry = self.entries.known(index)
        above = self.above(index)
        if line < above or entry is None or not len(entry.heights):
            return index, -1, line
        return index, *entry.heights.find(line - above)

    def position(self, place: Place) -> int:
        index, number, line = place
        top = self.heights.top(index)
        if number < 0:
            return top + line
        heights = self.entries[index].heights
        return top + self.above(index) + heights.top(min(number, len(heights))) + line

    def rows(self, y: int, count: int) -> Iterator[tuple[Place, Line | None]]:
        """Yield up to `count` rows; None for blank rows."""
        if not self.entries or y >= self.total:
            return
        index, number, row = self.locate(y)
        while count > 0 and index < len(self.entries):
            entry = self.entries[index]
            height = self.above(index) if number < 0 else entry.heights[number]
            lines = (entry.blocks[number].lines or []) if number >= 0 else []
            for line in range(row, min(height, row + count)):
                place = line - height + len(lines)
                yield (index, number, line), lines[place] if place >= 0 and lines else None
            count -= max(height - row, 0)
            number, row = number + 1, 0
            if number >= len(entry.heights):
                index, number = index + 1, -1

    # Blocks and their heights

    def build(self, index: int) -> int:
        entry = self.entries[index]
        if not entry.blocks:
            self._parse(entry)
            self._measure(index)
        return len(entry.blocks)

    def _parse(self, entry: Entry) -> int:
        first = entry.build(self.step_s)
        if entry.is_behind and not any(entry is known for known in self._behind):
            self._behind.append(entry)
        return first

    @property
    def unparsed(self) -> int | None:
        """The newest message of which a part is still to be parsed."""
        self._behind = [entry for entry in self._behind if entry.is_behind and entry.blocks]
        for index in range(len(self.entries) - 1, -1, -1) if self._behind else ():
            if any(self.entries.known(index) is entry for entry in self._behind):
                return index
        return None

    def rebuild(self, index: int) -> tuple[int, bool]:
        """Make the blocks of a message again.

        Returns the first that is another one, and whether those above look different: a link was defined.
        """
        entry, first, is_linked = self.entries[index], 0, False
        if entry.blocks or entry.is_streaming:
            first = self._parse(entry)
            is_linked = self._relink(entry)
        self._measure(index)
        return first, is_linked

    def grow(self, index: int) -> Place:
        """Take up new text of a message; return the first row that looks different."""
        entry = self.entries[index]
        was = entry.blocks
        first, is_linked = self.rebuild(index)
        for block in entry.blocks[
            max(first - 2, 0) : first
        ]:  # the last one of Markdown is among them
            self._want_colours(block)
        if is_linked:
            return index, 0, 0  # blocks above are laid out again when they come near the screen
        old = was[first].lines if first < len(was) else None
        if old is None or not entry.blocks or self.layout is None:
            return index, first, 0
        if was[first].kind is not Kind.MADE:
            was[first].lines = None  # it is gone: its colours are not waited for
        self.prepare(index, first)
        new = entry.blocks[first].lines or []
        pairs = enumerate(zip(old, new, strict=False))
        same = next((row for row, pair in pairs if not _is_same(*pair)), min(len(old), len(new)))
        new[:same] = old[:same]  # these are painted already
        return index, first, entry.heights[first] - len(new) + same

    def _measure(self, index: int) -> None:
        entry = self.entries[index]
        if not entry.blocks:
            self.heights[index] = likely_height(entry.source, self.width) + self.above(index)
            return
        for number in range(len(entry.heights), len(entry.blocks)):
            block = entry.blocks[number]
            entry.heights.append(_with_gap(block, number, block.estimate(self.width)))
        self.heights[index] = entry.heights.total + self.above(index)

    def prepare(self, index: int, number: int) -> int:
        """Lay a block out unless it is; return its height."""
        entry = self.entries[index]
        block = entry.blocks[number]
        if block.lines is None and self.layout is not None:
            block.lines = self.layout.lines(block, entry.references)
            block.height = len(block.lines)
            entry.heights[number] = _with_gap(block, number, block.height)
            self.heights[index] = entry.heights.total + self.above(index)
            self._laid_out += block.height
            self._want_colours(block)
        return entry.heights[number]

    def laid_out(self, index: int, number: int) -> Block:
        self.prepare(index, number)
        return self.entries[index].blocks[number]

    def surround(self, place: Place, above: int, below: int) -> None:
        """Lay out the rows around a place."""
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

    def trim(self, top: int, bottom: int) -> None:
        """Keep only the lines between two rows once too many are laid out."""
        if self._laid_out <= self.kept_lines:
            return
        self._laid_out, first, last = 0, self.locate(top)[:2], self.locate(bottom)[:2]
        for index, entry in list(self.entries.made()):
            for number, block in enumerate(entry.blocks):
                if first <= (index, number) <= last:
                    self._laid_out += len(block.lines or ())
                else:
                    block.lines = None
            if not (first[0] <= index <= last[0] or entry.is_streaming):
                self.entries.forget(index)

    def _relink(self, entry: Entry) -> bool:
        """Drop the lines that a new link definition changes; return whether there was one."""
        if len(entry.references) == entry.known_links:
            return False
        entry.known_links = len(entry.references)
        for block in entry.blocks:
            if "[" in block.source:
                block.lines = None
        return True

    # Colours of code

    def _want_colours(self, block: Block) -> None:
        """Note a complete fence of several blocks."""
        code = block.code
        if (
            code is not None
            and code.is_whole
            and not code.is_read
            and block.info
            and len(code.pieces) > 1
        ):
            code.is_read = True
            self.unhighlighted.append((code, block.info))

    def set_colours(self, code: Code, colours: list[bytes]) -> list[Block]:
        """Take the colours of a fence; return its blocks."""
        code.colours = colours
        return [
            block
            for _, entry in self.entries.made()
            for block in entry.blocks
            if block.code is code
        ]

    def drop_lines(self, blocks: Iterable[Block]) -> Place | None:
        """Drop the lines of blocks that look different now; return the first row of those still shown."""
        wanted = {id(block) for block in blocks if block.lines is not None}
        first: Place | None = None
        for index in range(len(self.entries) - 1, -1, -1):  # mostly, the newest is meant
            if not wanted:
                break
            entry = self.entries.known(index)
            for number, block in enumerate(entry.blocks if entry else ()):
                if id(block) in wanted:
                    wanted.discard(id(block))
                    block.lines = None
                    first = min(first or (index, number, 0), (index, number, 0))
        return first


def _is_same(old: Line, new: Line) -> bool:
    return (
        old.segments == new.segments and old.text == new.text and old.is_wrapped == new.is_wrapped
    )


def _with_gap(block: Block, number: int, height: int) -> int:
    """Return a height with the blank row above; a block without lines has none."""
    return height + block.gap if number and height else height
