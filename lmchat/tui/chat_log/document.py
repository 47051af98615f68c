"""Messages of a log: their blocks, heights and rows.

Throughout the log, `index` is the number of a message, and `number` that of a block in a message.
Rows of the log are counted from its top; `y` is one of them. A message gets an `Entry` when it is
looked at. The entry is built, that is, cut into blocks, when it comes near the screen, and each
block is laid out when it does.
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import inf
from typing import NamedTuple

from lmchat.markdown.block import Block, Kind, Line
from lmchat.markdown.colours import Colours
from lmchat.markdown.highlighter import Highlighter
from lmchat.markdown.layout import Layout
from lmchat.markdown.wrap import Page
from lmchat.sessions.message import ChatMessage, FilePart, Role, ToolCallPart
from lmchat.tui.chat_log.entry import Entry, likely_height
from lmchat.tui.chat_log.heights import Heights

STREAM_WAIT_S = 0.15  # time that colours of a streaming answer wait for the frame of more text


class Highlighting:
    """Colours of the code in the log; without a highlighter, code stays plain."""

    def __init__(self, highlighter: Highlighter | None, show_frame: Callable[[], object]) -> None:
        """Create it; `show_frame` is called when colours are to be shown."""
        self.colours = Colours()
        self.is_streaming = False  # whether more text will arrive
        self._highlighter = highlighter
        self._show_frame = show_frame
        self._changed: list[Block] = []  # blocks whose colours have arrived and are not shown yet
        self._timer: TimerHandle | None = None  # runs to the frame that shows them

    @property
    def is_needed(self) -> bool:
        """Whether code waits for its colours, and there is a highlighter."""
        return self.colours.newest_request is not None and self._highlighter is not None

    async def run(self) -> None:
        """Get the colours of all code that waits, the newest first.

        When colours arrive, `show_frame` is called at once. While an answer streams, it is called
        up to `STREAM_WAIT_S` later: the next frame of the text may show the colours before.
        """
        highlighter = self._highlighter
        while highlighter is not None and (request := self.colours.newest_request):
            colours = await highlighter.colours(*request)
            self._changed += self.colours.put(request, colours)
            if self._changed and self._timer is None:
                wait_s = STREAM_WAIT_S if self.is_streaming else 0.0
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._show_frame)

    def drain(self) -> list[Block]:
        """Return the blocks whose colours arrived since the last call; cancel their frame."""
        blocks = self._changed
        self._changed = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return blocks

    def reset(self) -> None:
        """Forget the code of the session that was shown before; its colours stay in the cache."""
        self.drain()
        self.colours.drop_requests()
        self.is_streaming = False


KEPT_LINES = 20_000  # laid-out lines that stay in memory: 10 to 20 MB
_DEFAULT_WIDTH = 80  # for estimates until there is a page


class Place(NamedTuple):
    """A row of the log, by the numbers of its message and its block."""

    message: int
    block: int  # -1 for the blank row above the message, and where it is not cut into blocks
    row: int  # row in the block, or in the message if `block` is -1; blank rows above are counted


class Entries:
    """The messages of a log, each as an `Entry` or, before it was looked at, as it is saved."""

    def __init__(self, messages: Iterable[ChatMessage] = ()) -> None:
        self._items: list[ChatMessage | Entry] = list(messages)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Entry:
        """Return the entry of a message; it is made now unless there is one.

        A negative index counts from the end.
        """
        if index < 0:
            index += len(self._items)
        item = self._items[index]
        if isinstance(item, Entry):
            return item
        entry = Entry(item, new_model=self._new_model(index, item))
        entry.has_tool_messages = self._has_tool_messages(index)
        self._items[index] = entry
        return entry

    def append(self, entry: Entry) -> None:
        if entry.message is not None:
            entry.new_model = self._new_model(len(self), entry.message)
        self._items.append(entry)

    def prepend(self, earlier: Sequence[ChatMessage]) -> list[int]:
        """Put messages before all others.

        Return the indexes of the made entries whose `new_model` has changed.
        """
        self._items[:0] = earlier
        return self.update_new_models()

    def update_new_models(self) -> list[int]:
        """Set `new_model` of each made entry; return the indexes of those where it has changed."""
        changed = []
        for index, entry in self.made_entries():
            if entry.message is None:
                continue
            new_model = self._new_model(index, entry.message)
            if new_model != entry.new_model:
                entry.new_model = new_model
                changed.append(index)
        return changed

    def _new_model(self, index: int, message: ChatMessage) -> str:
        """Return the model of an answer if the answer before it is of another one, else nothing."""
        if message.role is not Role.ASSISTANT or not message.model:
            return ""
        for before in map(self.message, range(index - 1, -1, -1)):
            if before is not None and before.role is Role.ASSISTANT and before.model:
                return message.model if before.model != message.model else ""
        return ""

    def _has_tool_messages(self, index: int) -> bool:
        """Return whether a message is an answer with tool calls that were run.

        They were if the message of a tool, or a further answer, follows.
        """
        message = self.message(index)
        if message is None or message.role is not Role.ASSISTANT or not message.tool_calls:
            return False
        following = self.message(index + 1) if index + 1 < len(self) else None
        return following is not None and following.role in (Role.TOOL, Role.ASSISTANT)

    def made_entries(self) -> Iterator[tuple[int, Entry]]:
        """Return the index and the entry of each message that was looked at."""
        return ((index, item) for index, item in enumerate(self._items) if isinstance(item, Entry))

    def made_entry(self, index: int) -> Entry | None:
        """Return the entry of a message, without making one."""
        item = self._items[index]
        return item if isinstance(item, Entry) else None

    def message(self, index: int) -> ChatMessage | None:
        item = self._items[index]
        return item.message if isinstance(item, Entry) else item

    def forget(self, index: int) -> None:
        """Drop the blocks of an entry, and the entry too if its message is all that must be kept.

        A notice stays an entry, and so does an entry that `is_changed`.
        """
        entry = self[index]
        entry.unbuild()
        if entry.message is not None and not entry.is_changed:
            self._items[index] = entry.message

    def texts(self, index: int) -> list[str]:
        """Return all texts of a message.

        Reasoning is one of them, and so are the arguments of calls that have no message of a tool.
        Of an answer that streams, the texts are those so far. A notice has none.
        """
        entry = self.made_entry(index)
        message = self.message(index)
        if message is None:
            return []
        if entry is not None and entry.is_streaming:
            return [part.text for part in entry.parts]

        texts = []
        for part in message.parts:
            if isinstance(part, ToolCallPart):
                if not self._has_tool_messages(index):
                    texts.append(part.arguments)
            elif not isinstance(part, FilePart):
                texts.append(part.text)
        return texts

    def source(self, index: int) -> str:
        """Return the text of a message as it was written, without reasoning and calls."""
        item = self._items[index]
        return item.source if isinstance(item, Entry) else item.text

    def message_from(self, index: int, step: int) -> int | None:
        """Return the index of the first message that can be focused: no notice, and not blank.

        Messages are tried from `index` on in steps of 1 or -1. None: there is no such message.
        """
        while 0 <= index < len(self):
            if self.message(index) is not None and not self[index].is_blank:
                return index
            index += step
        return None

    def index_of(self, message_id: str) -> int | None:
        """Return the index of a message; the newest ones are compared first."""
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
        self.kept_lines = KEPT_LINES
        self._partly_parsed: list[Entry] = []  # entries of which a part is not parsed yet
        self._laid_out_lines = 0  # an upper bound; `drop_distant_lines` counts them

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def total(self) -> int:
        """Number of rows of the log."""
        return self.heights.total

    @property
    def width(self) -> int:
        return self.layout.page.text_width if self.layout else _DEFAULT_WIDTH

    def load(self, messages: Iterable[ChatMessage]) -> None:
        """Replace all messages by others, of which no row is laid out."""
        self.entries = Entries(messages)
        self._partly_parsed.clear()
        self._estimate()

    def prepend(self, earlier: Sequence[ChatMessage]) -> None:
        """Put messages before all others."""
        changed = self.entries.prepend(earlier)
        self._estimate()
        for index in changed:
            self.rebuild(index)

    def append(self, entry: Entry) -> int:
        """Add an entry at the end; return its index."""
        self.entries.append(entry)
        self.heights.append(0)
        index = len(self.entries) - 1
        self._measure(index)
        return index

    def set_page(self, page: Page) -> None:
        """Take another page: drop all lines, and estimate all heights.

        Lines are laid out again when they are needed.
        """
        self.layout = Layout(page)
        for _, entry in self.entries.made_entries():
            entry.forget()
        self._estimate()

    def _estimate(self) -> None:
        """Estimate the heights of all messages, block by block where they are built."""
        heights = []
        for index in range(len(self)):
            height = likely_height(self.entries.source(index), self.width)
            heights.append(height + self.gap_above(index))
        self.heights = Heights(heights)
        for index, _ in self.entries.made_entries():
            self._measure(index)

    # Rows and places

    def gap_above(self, index: int) -> int:
        """Return the blank rows above a message: none above the first and above calls of tools."""
        if index == 0:
            return 0
        message = self.entries.message(index)
        is_tool_call = message is not None and message.role is Role.TOOL
        return 0 if is_tool_call else 1

    def locate(self, y: int) -> Place:
        """Return the message, the block and the row in it that row `y` of the log belongs to.

        The block is -1 on the blank row above a message, and in messages without blocks.
        """
        index, row = self.heights.find(y)
        entry = self.entries.made_entry(index)
        gap = self.gap_above(index)
        if row < gap or entry is None or not len(entry.heights):
            return Place(index, -1, row)
        return Place(index, *entry.heights.find(row - gap))

    def position(self, place: tuple[int, int, int]) -> int:
        """Return the row of the log at which a place is; the reverse of `locate`.

        A block number after the last one means the end of the message.
        """
        index, number, row = place
        top = self.heights.top(index)
        if number < 0:
            return top + row
        heights = self.entries[index].heights
        return top + self.gap_above(index) + heights.top(min(number, len(heights))) + row

    def rows(self, y: int, count: int) -> Iterator[tuple[Place, Line | None]]:
        """Yield up to `count` rows from `y` on, each with its line.

        The line is None for blank rows, and where nothing is laid out. Messages near the screen are
        cut into blocks; of others, only the blank row above is among the rows.
        """
        if not self.entries or y >= self.total:
            return
        index, number, first_row = self.locate(y)  # the row in the first block
        while count > 0 and index < len(self.entries):
            entry = self.entries[index]
            height = self.gap_above(index)  # block -1 is the blank row above the message
            lines: list[Line] = []
            if number >= 0:
                height = entry.heights[number]
                lines = entry.blocks[number].lines or []

            blank_rows = height - len(lines)  # all of them where nothing is laid out
            for row in range(first_row, min(height, first_row + count)):
                line = lines[row - blank_rows] if row >= blank_rows else None
                yield Place(index, number, row), line
            count -= max(height - first_row, 0)

            first_row = 0
            number += 1
            if number >= len(entry.heights):
                index += 1
                number = -1

    # Blocks and their heights

    def build(self, index: int) -> int:
        """Cut a message into blocks unless that is done; return the number of its blocks."""
        entry = self.entries[index]
        if not entry.blocks:
            self._build_entry(entry)
            self._measure(index)
        return len(entry.blocks)

    def _build_entry(self, entry: Entry) -> int:
        """Cut an entry into blocks; return the number of the first one that changed.

        If there was no time to parse all of it, it is noted for `unparsed`.
        """
        first = entry.build(self.step_s)
        if entry.is_behind and not any(entry is other for other in self._partly_parsed):
            self._partly_parsed.append(entry)
        return first

    @property
    def unparsed(self) -> int | None:
        """The index of the newest message of which a part is not parsed yet; None without one."""
        # one whose blocks were dropped is parsed again when it comes near the screen
        self._partly_parsed = [
            entry for entry in self._partly_parsed if entry.is_behind and entry.blocks
        ]
        if not self._partly_parsed:
            return None
        for index in range(len(self.entries) - 1, -1, -1):
            if any(self.entries.made_entry(index) is entry for entry in self._partly_parsed):
                return index
        return None

    def rebuild(self, index: int) -> tuple[int, bool]:
        """Cut a message, which has changed, into blocks again.

        Return the number of the first block that changed, and whether a new link definition changed
        those above it. A message that was not cut into blocks yet is not cut now: return 0 and
        False.
        """
        entry = self.entries[index]
        first = 0
        is_linked = False
        if entry.blocks or entry.is_streaming:
            first = self._build_entry(entry)
            is_linked = self._drop_linked_lines(entry)
        self._measure(index)
        return first, is_linked

    def grow(self, index: int) -> Place:
        """Take up new text of a message; return the first row that looks different."""
        entry = self.entries[index]
        old_blocks = entry.blocks
        first, is_linked = self.rebuild(index)
        if is_linked:
            return Place(index, 0, 0)  # blocks above are laid out again when they are shown

        # blocks were only added or only dropped at the end: none has replaced another one
        if first >= min(len(old_blocks), len(entry.blocks)):
            return Place(index, first, 0)
        return Place(index, first, self._count_same_rows(index, first, old_blocks[first]))

    def _count_same_rows(self, index: int, number: int, old_block: Block) -> int:
        """Lay out a block that has replaced `old_block`; return how many rows still look the same.

        These are its first rows. They keep the old lines, which are painted already. If the old
        block was not laid out, there is nothing to compare: return 0.
        """
        entry = self.entries[index]
        old_lines = old_block.lines
        if old_lines is None or not entry.blocks or self.layout is None:
            return 0
        if old_block.kind is not Kind.MADE:  # a row of the log may still be shown, further down
            # it has left the log: `drop_lines` must not search it when its colours arrive
            old_block.lines = None
        lines = self.laid_out_block(index, number).lines or []
        same_count = _count_same_lines(old_lines, lines)
        lines[:same_count] = old_lines[:same_count]
        blank_rows = entry.heights[number] - len(lines)
        return blank_rows + same_count

    def _measure(self, index: int) -> None:
        """Set the height of a message, and estimate those of its blocks that have none."""
        entry = self.entries[index]
        if not entry.blocks:
            self.heights[index] = likely_height(entry.source, self.width) + self.gap_above(index)
            return
        for number in range(len(entry.heights), len(entry.blocks)):
            block = entry.blocks[number]
            entry.heights.append(_with_gap(block, number, block.estimate(self.width)))
        self.heights[index] = entry.heights.total + self.gap_above(index)

    def lay_out_block(self, index: int, number: int) -> int:
        """Lay a block out unless that is done; return its height with the blank row above it.

        Without a page, nothing is laid out, and the height is an estimate.
        """
        entry = self.entries[index]
        block = entry.blocks[number]
        if block.lines is None and self.layout is not None:
            block.lines = self.layout.lines(block, entry.references)
            block.height = len(block.lines)
            entry.heights[number] = _with_gap(block, number, block.height)
            self.heights[index] = entry.heights.total + self.gap_above(index)
            self._laid_out_lines += block.height
        return entry.heights[number]

    def laid_out_block(self, index: int, number: int) -> Block:
        """Lay a block out unless that is done; return the block."""
        self.lay_out_block(index, number)
        return self.entries[index].blocks[number]

    def lay_out_around(self, place: Place, rows_above: int, rows_below: int) -> None:
        """Lay out the block of a place, and at least these numbers of rows above and below it.

        The message of the place is cut into blocks; a place above its blocks counts as in the first
        of them.
        """
        number = min(max(place.block, 0), self.build(place.message) - 1)
        height = self.lay_out_block(place.message, number)
        # `lay_out_from` begins with this block, of which a part is above and a part below the place
        self.lay_out_from(place.message, number, 1, rows_below + place.row)
        self.lay_out_from(place.message, number, -1, rows_above + height)

    def lay_out_from(self, index: int, number: int | None, step: int, rows: int) -> None:
        """Lay out blocks until they fill a number of rows, downwards (`step` 1) or upwards (-1).

        The first of them is block `number` of message `index`. None is the first block of that
        message, or upwards its last one.
        """
        while 0 <= index < len(self.entries):
            count = self.build(index)
            if number is None:
                number = 0 if step > 0 else count - 1
            end = count if step > 0 else -1
            for current in range(number, end, step):
                if rows <= 0:
                    return
                rows -= self.lay_out_block(index, current)
            index += step
            number = None

    def drop_distant_lines(self, top: int, bottom: int) -> None:
        """Drop all lines but those of blocks between two rows of the log, if there are too many.

        Up to `kept_lines` laid-out lines, nothing is dropped. Of messages that are not between the
        rows, the entries are dropped too, except one that streams, and those that hold more than
        their message (`Entries.forget`).
        """
        if self._laid_out_lines <= self.kept_lines:
            return
        self._laid_out_lines = 0
        first = self.locate(top)
        last = self.locate(bottom)
        first_block = (first.message, first.block)
        last_block = (last.message, last.block)
        for index, entry in list(self.entries.made_entries()):
            for number, block in enumerate(entry.blocks):
                if first_block <= (index, number) <= last_block:
                    self._laid_out_lines += len(block.lines or ())
                else:
                    block.lines = None
            is_near = first.message <= index <= last.message
            if not is_near and not entry.is_streaming:
                self.entries.forget(index)

    def _drop_linked_lines(self, entry: Entry) -> bool:
        """Drop the lines that a new link definition may change; return whether there is a new one.

        These are the lines of all blocks with a `[`.
        """
        if len(entry.references) == entry.known_links:
            return False
        entry.known_links = len(entry.references)
        for block in entry.blocks:
            if "[" in block.source:
                block.lines = None
        return True

    def drop_lines(self, blocks: Iterable[Block]) -> Place | None:
        """Drop the lines of blocks that look different now, so that they are laid out again.

        Return the place of the first such block, or None if nothing was dropped. Blocks without
        lines, and those that have left the log, are ignored.
        """
        remaining = {id(block) for block in blocks if block.lines is not None}
        first_place: Place | None = None
        for index in range(len(self.entries) - 1, -1, -1):  # mostly, they are in the newest
            if not remaining:
                break
            entry = self.entries.made_entry(index)
            for number, block in enumerate(entry.blocks if entry else ()):
                if id(block) in remaining:
                    remaining.discard(id(block))
                    block.lines = None
                    place = Place(index, number, 0)
                    first_place = place if first_place is None else min(first_place, place)
        return first_place


def _count_same_lines(old: Sequence[Line], new: Sequence[Line]) -> int:
    """Return how many lines at the beginning look the same."""
    count = 0
    for before, after in zip(old, new, strict=False):
        has_same_text = before.text == after.text and before.is_wrapped == after.is_wrapped
        if not has_same_text or before.segments != after.segments:
            break
        count += 1
    return count


def _with_gap(block: Block, number: int, height: int) -> int:
    """Return the height of a block with the blank row above it.

    The first block has none, since the row above it belongs to the message, nor has an empty block.
    """
    has_gap = number > 0 and height > 0
    return height + block.gap if has_gap else height
