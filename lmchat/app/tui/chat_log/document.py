"""Messages of a log: their blocks, heights and rows.

Throughout the log, `index` is the number of a message, `number` that of a block in a message, and
`y` a row of the log. An `Entry` is built (cut into blocks) and laid out when it comes near the
screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

from lmchat.app.markdown_lines.block import Block, Kind, Line
from lmchat.app.markdown_lines.layout import Layout
from lmchat.app.markdown_lines.page import Page
from lmchat.app.tui.chat_log.entry import Entry
from lmchat.app.tui.chat_log.excerpt import EXCERPT_ROWS, is_long
from lmchat.app.tui.chat_log.heights import Heights
from lmchat.core.sessions.message import ChatMessage, Role

_DEFAULT_WIDTH = 80  # cells, for estimates


class LogPosition(NamedTuple):
    """A row of the log, by the numbers of its message and block."""

    message_index: int
    number: int = -1  # of the block; -1 for a blank row above a message, or one not laid out
    # in the block, or in the message if `number` is -1; with blank rows above
    row: int = 0


def _entries_of(messages: Iterable[ChatMessage]) -> list[Entry]:
    """Tool messages behind an answer show its calls."""
    entries = [Entry(message) for message in messages]
    for entry, next_entry in pairwise(entries):
        if entry.message.role is Role.ASSISTANT and entry.message.tool_calls:
            entry.has_call_messages = next_entry.message.role is Role.TOOL
    return entries


def _name(entry: Entry, role_above: Role | None, model_above: str) -> None:
    """Name the model of an answer, unless its name is above the calls of its turn."""
    model = entry.message.model
    entry.is_switch = bool(model_above) and model_above != model
    is_named = entry.message.role is Role.ASSISTANT
    is_named = is_named and (role_above is not Role.TOOL or entry.is_switch)
    entry.name = model if is_named else ""


class Document:
    """All messages with their heights: exact where laid out, else estimates."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.heights = Heights()  # with the blank row above
        self.layout: Layout | None = None  # None before there is a page

    def __len__(self) -> int:
        return len(self.entries)

    @property
    def total(self) -> int:
        return self.heights.total

    def reset(self, messages: Iterable[ChatMessage], *, is_streaming: bool = False) -> None:
        """Lay nothing out; the last message may be streaming."""
        self.entries = _entries_of(messages)
        if is_streaming:
            self.entries[-1].is_streaming = True
        self._name_all()
        self._measure_all()

    def prepend(self, earlier: Sequence[ChatMessage]) -> None:
        # the last of `earlier` depends on the old first one
        old_first = [entry.message for entry in self.entries[:1]]
        self.entries[:0] = _entries_of([*earlier, *old_first])[: len(earlier)]
        first = len(earlier)
        self._name_all()
        self._measure_all()
        for index in range(first, len(self)):  # the first answer may have got or lost a rule
            if self.entries[index].message.model:
                self.rebuild(index)
                break

    def _name_all(self) -> None:
        role: Role | None = None
        model = ""
        for entry in self.entries:
            _name(entry, role, model)
            role = entry.message.role
            model = entry.message.model or model  # a prompt has no model

    def append(self, entry: Entry) -> int:
        """The entry above loses the offers below the last answer."""
        self.entries.append(entry)
        index = len(self.entries) - 1
        self._name_again(index)
        self.heights.append(self._height(index))
        if index and self.entries[index - 1].is_last:
            self.rebuild(index - 1)
        return index

    def _name_again(self, index: int) -> None:
        above = reversed(range(index))
        models = (self.entries[number].message.model for number in above)
        role = self.entries[index - 1].message.role if index else None
        _name(self.entries[index], role, next(filter(None, models), ""))

    def focusable_from(self, index: int, step: int) -> int | None:
        """Find a message that is not blank, from `index` down (`step` 1) or up (-1)."""
        while 0 <= index < len(self):
            if not self.entries[index].is_blank:
                return index
            index += step
        return None

    def index_of(self, message_id: str) -> int | None:
        for index in range(len(self) - 1, -1, -1):
            if self.entries[index].message.message_id == message_id:
                return index
        return None

    def set_page(self, page: Page) -> None:
        self.layout = Layout(page)
        for entry in self.entries:
            if entry.blocks:
                entry.forget()
        self._measure_all()

    def _measure_all(self) -> None:
        self.heights = Heights(self._height(index) for index in range(len(self)))

    def _height(self, index: int) -> int:
        """Return the height with the blank row above: exact, or an estimate."""
        entry = self.entries[index]
        rows = entry.heights.total
        # rows of its text, one more than its line ends, and three that the log adds
        if not entry.heights:
            width = self.layout.page.text_width if self.layout else _DEFAULT_WIDTH
            rows = 4 + entry.source.count("\n") + len(entry.source) // width
            if rows > EXCERPT_ROWS and is_long(entry.source):
                rows = EXCERPT_ROWS
        return rows + self.gap_above(index)

    # Rows and positions

    def gap_above(self, index: int) -> int:
        """0 above the first, calls, and blank answers."""
        entry = self.entries[index]
        return 0 if index == 0 or entry.message.role is Role.TOOL or entry.is_blank else 1

    def locate(self, y: int) -> LogPosition:
        """Return the position of row `y` of the log.

        The block is -1 on the blank row above a message, and in messages that are not laid out.
        """
        index, row = self.heights.find(y)
        heights = self.entries[index].heights
        gap = self.gap_above(index)
        if row < gap or not heights:
            return LogPosition(index, -1, row)
        return LogPosition(index, *heights.find(row - gap))

    def row_of(self, position: LogPosition) -> int:
        """Return the row of a position; a number after the last block is the end."""
        index, number, row = position
        top = self.heights.top(index)
        if number < 0:  # `row` counts from the top of the message
            return top + row
        heights = self.entries[index].heights
        return top + self.gap_above(index) + heights.top(min(number, len(heights))) + row

    def block(self, position: LogPosition) -> Block:
        return self.entries[position.message_index].blocks[position.number]

    def blank_rows(self, position: LogPosition) -> int:
        """Return 0 or 1, the blank rows above the lines of a block.

        The row above the first block belongs to the message. Blocks below a rule or the half row at
        the end of code have none.
        """
        blocks = self.entries[position.message_index].blocks
        block = blocks[position.number]
        if not (position.number and block.gap and block.lines):
            return 0
        number = position.number - 1
        while number and not blocks[number].lines:
            number -= 1
        above = blocks[number].lines
        return 0 if above and above[-1].is_end else 1

    def rows(self, y: int, count: int) -> Iterator[tuple[LogPosition, Line | None]]:
        """Yield up to `count` rows from `y` on; the line is None if blank or not laid out."""
        end = min(y + count, self.total)
        while y < end:
            position = self.locate(y)
            if position.number < 0:
                yield position, None
                y += 1
                continue
            # all rows of the block at once: locating each one costs as much as painting it;
            # `position.row` counts the blank row above
            lines: list[Line | None] = [None] * self.blank_rows(position)
            lines += self.block(position).lines or []
            end_row = min(len(lines), position.row + end - y)
            for row in range(position.row, end_row):
                yield position._replace(row=row), lines[row]
            y += max(len(lines) - position.row, 1)  # so that the loop ends

    # Blocks and their heights

    def lay_out(self, index: int) -> Sequence[Block]:
        entry = self.entries[index]
        if not entry.blocks:
            self._build(index)
        if self.layout is None:
            return entry.blocks
        for number in range(len(entry.heights), len(entry.blocks)):
            block = entry.blocks[number]
            if block.lines is None:  # else only a block above it has changed
                block.lines = self.layout.lay_out(block, entry.references)
            blank_rows = self.blank_rows(LogPosition(index, number, 0))
            entry.heights.append(len(block.lines) + blank_rows)
        self.heights[index] = self._height(index)
        return entry.blocks

    def rebuild(self, index: int) -> int:
        """Cut a changed message again and lay it out; return the first changed block.

        One that was not cut yet is far from the screen, and only gets a new estimate. One that
        streams is cut in any case, so that its text is parsed little by little.
        """
        entry = self.entries[index]
        if not (entry.blocks or entry.is_streaming):
            self.heights[index] = self._height(index)
            return 0
        first = self._build(index)
        self.lay_out(index)
        return first

    def _build(self, index: int) -> int:
        entry = self.entries[index]
        self._name_again(index)
        entry.is_last = index == len(self) - 1
        return entry.build()

    def toggle(self, index: int, attribute: Literal["is_collapsed", "is_source"]) -> None:
        entry = self.entries[index]
        setattr(entry, attribute, not getattr(entry, attribute))
        self.rebuild(index)

    def grow(self, index: int) -> LogPosition:
        """Lay out text that was added; return the first row that looks different."""
        entry = self.entries[index]
        old_blocks = entry.blocks
        first_changed = LogPosition(index, self.rebuild(index), 0)
        # blocks were only added or dropped at the end
        if first_changed.number >= min(len(old_blocks), len(entry.blocks)):
            return first_changed
        same_rows = self._keep_same_lines(first_changed, old_blocks[first_changed.number])
        return first_changed._replace(row=same_rows)

    def _keep_same_lines(self, position: LogPosition, old_block: Block) -> int:
        """Give the block that replaces `old_block` its lines as far as they look the same.

        While text streams, its last block is replaced with each frame, but most lines are the same,
        and are not painted again. Return the number of such rows, with the blank one above.
        """
        old_lines = old_block.lines or []
        lines = self.block(position).lines or []
        # Without lines, `lay_out_again` ignores it when its colours arrive. A row of the log
        # (`CUSTOM`) keeps them: it may only have moved down.
        if old_block.kind is not Kind.CUSTOM:
            old_block.lines = None
        same_count = 0
        for before, after in zip(old_lines, lines, strict=False):
            has_same_text = before.text == after.text and before.is_wrapped == after.is_wrapped
            if not has_same_text or before.segments != after.segments:
                break
            same_count += 1
        lines[:same_count] = old_lines[:same_count]
        return self.blank_rows(position) + same_count

    def lay_out_around(self, position: LogPosition, rows_above: int, rows_below: int) -> None:
        """Lay out the message of a position, and at least so many rows above and below it."""
        self.lay_out(position.message_index)
        row_in_message = self.row_of(position) - self.heights.top(position.message_index)
        self.lay_out_from(position.message_index, 1, rows_below + row_in_message)
        self.lay_out_from(position.message_index - 1, -1, rows_above - row_in_message)

    def lay_out_from(self, index: int, step: int, rows: int) -> None:
        """Lay out messages from `index` down (`step` 1) or up (-1) until they fill so many rows."""
        while 0 <= index < len(self.entries) and rows > 0:
            self.lay_out(index)
            rows -= self.heights[index]
            index += step

    def lay_out_again(self, blocks: Iterable[Block]) -> LogPosition | None:
        """Lay out blocks that look different now, such as code whose colours have arrived.

        Return the first position. Blocks without lines, and those that have left the log, are
        ignored.
        """
        remaining = {id(block) for block in blocks if block.lines is not None}
        first_position: LogPosition | None = None
        for index in range(len(self.entries) - 1, -1, -1):  # most are in the newest
            if not remaining:
                break
            entry = self.entries[index]
            found = [number for number, block in enumerate(entry.blocks) if id(block) in remaining]
            for number in found:
                remaining.discard(id(entry.blocks[number]))
                entry.blocks[number].lines = None
            if found:
                entry.heights.truncate(found[0])
                self.lay_out(index)
                first_position = LogPosition(index, found[0], 0)
        return first_position
