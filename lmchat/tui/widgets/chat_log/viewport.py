"""Viewport: the rows on the screen, and the only owner of the scroll position.

The position is an anchor in the text, or None while the end is followed. `_move` changes it, and
`reset` for other messages. Only `lay_out` computes the first row `top` from it: what is read keeps
its row whatever changes around it. Whoever changes the document, or lays out blocks of it, does so
within `anchored`. These methods move, each with its callers:

- `scroll_to_row`: keys, wheel, scroll bar, and a selection dragged over the edge
  (`ChatLog.watch_scroll_y`).
- `scroll_to_end` (`ChatLog.scroll_end`): End, the pill of new lines, a sent prompt, scrolling at
  the end.
- `scroll_to_message`: the focus moves to another message, or the selection grows by one.
- `scroll_to_place`: a hit, a bookmark, a message that is jumped to, or what is folded or unfolded.
- `set_cursor`, `step_cursor`: the focus moves; the end is followed only with the last message.
- `return_to`: back to what was remembered before a search or an unfolding.
- `stop_following`: the position stays, but new text no longer moves it.

`ChatLog.settle` copies `top` to Textual after every change.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, NamedTuple

from lmchat.domain.message import ChatMessage, Role
from lmchat.tui.widgets.chat_log.anchor import Anchor, anchor_at, relocate
from lmchat.tui.widgets.chat_log.blocks import Kind
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.layout.page import Page

COUNTED_ROWS = 600  # new rows that are laid out to be counted; the rest is estimated
_STATE_ROWS = 2  # rows of the state under an answer: they move down, so they are not new


class Viewport:
    """The window on a document: its height, its first row, and the message with the focus."""

    def __init__(self, document: Document, is_focused: Callable[[], bool] = lambda: False) -> None:
        self.document = document
        self.height = 1
        self.top = 0
        self._is_focused = is_focused
        self.reset()

    def reset(self) -> None:
        """Follow the end of other messages."""
        self.cursor: int | None = None  # the message that the message keys act on
        self._anchor: Anchor | None = None  # None while the end is followed
        self._seen: Anchor | None = None  # the last row that was on the screen
        self._remembered: dict[str, Anchor | None] = {}
        self._unfolded: Entry | None = None  # the message that was unfolded off the screen
        self.lay_out()

    # Layout

    @contextmanager
    def anchored(self) -> Iterator[None]:
        """Change the document or lay out blocks; what is read keeps its row on the screen."""
        self._update_anchor()
        yield
        self.lay_out()

    def _update_anchor(self) -> None:
        """Anchor what is on the screen."""
        document = self.document
        anchor = self._anchor
        if anchor is None or not len(document) or document.layout is None:
            return
        if document.position(relocate(document, anchor)) - anchor.offset != self.top:
            self._anchor = self._anchor_at_top()

    def lay_out(self) -> None:
        """Lay out the screen and a screenful around it, without moving what is read."""
        document = self.document
        height = self.height
        anchor = self._anchor
        if not len(document) or document.layout is None:
            self.top = 0
            return
        if anchor is None:
            document.sweep(len(document) - 1, None, -1, 2 * height)
            self.top = self.last_top
        else:
            place = relocate(document, anchor)
            offset = min(anchor.offset, height - 1)
            document.surround(place, height + offset, 2 * height)
            self._lay_out_unseen()
            self.top = max(min(document.position(place) - offset, self.last_top), 0)
            if anchor.block is None and anchor.row:  # it was not laid out then; it is now
                self._anchor = self._anchor_at_top()
        document.trim(self.top - height, self.top + 2 * height)

    def resize(self, height: int) -> None:
        if height != self.height:
            self.height = height
            self.lay_out()

    def set_page(self, page: Page, height: int) -> None:
        """Lay out all messages for another page; what was new stays new."""
        self.height = height
        has_new = self.count_new_lines() > 0
        self.document.set_page(page)
        self.lay_out()
        if not (has_new or self.is_following) and len(self.document):
            self._see_up_to(self._text_end)

    @property
    def is_following(self) -> bool:
        """Whether the end stays in view."""
        return self._anchor is None

    @property
    def last_top(self) -> int:
        return max(self.document.total - self.height, 0)

    @property
    def is_at_end(self) -> bool:
        return self.top >= self.last_top

    def shows(self, y: int, rows: int) -> bool:
        return y < self.top + self.height and y + rows > self.top

    def _anchor_at_top(self) -> Anchor:
        return anchor_at(self.document, self.document.locate(self.top))

    # Messages

    def prepend(self, earlier: Sequence[ChatMessage]) -> None:
        count = len(earlier)
        with self.anchored():
            if self.cursor is not None:
                self.cursor += count
            for anchor in (self._anchor, self._seen, *self._remembered.values()):
                if anchor is not None:
                    anchor.index += count
            self.document.prepend(earlier)

    async def parse_rest(self, changed: Callable[[Place], None]) -> None:
        """Parse what is left of long messages, step by step between keys and frames."""
        while (index := self.document.unparsed) is not None:
            await asyncio.sleep(self.document.step_s)
            entry = self.document.entries.known(index)
            if entry is not None and entry.parse(self.document.step_s):
                continue
            index = self.document.unparsed  # while it slept, messages may have come before it
            if index is not None:
                with self.anchored():
                    first_row = self.document.grow(index)
                changed(first_row)

    # Scrolling

    def _move(self, anchor: Anchor | None) -> None:
        """Lay out from an anchor; None follows the end."""
        if self._anchor is None and anchor is not None:
            self._see_up_to(self._text_end)  # lines that are added from now on are new
        self._anchor = anchor
        self.lay_out()

    def scroll_to_row(self, y: int) -> None:
        """Bring a row to the top of the screen; at the end, follow it."""
        is_end = y >= self.last_top
        self._move(None if is_end else anchor_at(self.document, self.document.locate(y)))
        self._keep_cursor_in_view()

    def scroll_to_end(self) -> None:
        self._move(None)
        self._keep_cursor_in_view()

    def stop_following(self) -> None:
        self._move(self._anchor_at_top())

    def scroll_to_place(self, place: Place, offset: int = 0) -> None:
        """Bring a place `offset` rows below the top of the screen; at the end, follow it."""
        index, number, row = place
        if number >= 0:
            number = min(number, self.document.build(index) - 1)
            row = min(row, self.document.prepare(index, number) - 1)
        self._move(anchor_at(self.document, Place(index, number, row), offset))
        if self.is_at_end:
            self._move(None)

    def _show_anchor(self, anchor: Anchor) -> None:
        self.scroll_to_place(relocate(self.document, anchor), anchor.offset)

    def scroll_to_message(self, index: int) -> None:
        """Scroll a message into view, by as little as possible."""
        document = self.document
        with self.anchored():
            document.sweep(index, 0, 1, self.height)
            document.sweep(index - 1, None, -1, self.height)
        top = document.heights.top(index)
        rows = document.heights[index]
        if top < self.top or rows >= self.height:
            self.scroll_to_place(Place(index, -1, 0))
        elif top + rows > self.top + self.height:
            self.scroll_to_row(top + rows - self.height)

    def remember(self, name: str) -> None:
        """Remember what is read now, for `return_to`."""
        self._remembered[name] = None if self.is_following else self._anchor_at_top()

    def return_to(self, name: str) -> None:
        """Show what was remembered, or follow the end again."""
        anchor = self._remembered.get(name)
        if anchor is None:
            self.scroll_to_end()
        else:
            self._show_anchor(anchor)

    # New lines below the screen

    def count_new_lines(self) -> int:
        """Return the number of lines that came since the end was on the screen."""
        if self.is_following or not len(self.document):
            self._seen = None
            return 0
        seen = self._seen or self._see_up_to(self._text_end)
        end = self.document.position(relocate(self.document, seen)) + 1
        on_screen = min(self.top + self.height, self._text_end)
        if on_screen > end:
            self._see_up_to(on_screen)
        return max(self._text_end - max(end, on_screen), 0)

    def _see_up_to(self, end: int) -> Anchor:
        place = self.document.locate(end - 1) if end > 0 else Place(0, -1, -1)
        self._seen = anchor_at(self.document, place)
        return self._seen

    def _lay_out_unseen(self) -> None:
        if self._seen is not None:
            index, number, _ = relocate(self.document, self._seen)
            self.document.sweep(index, max(number, 0), 1, COUNTED_ROWS)

    @property
    def _text_end(self) -> int:
        """The row after the last text, without the state under the last answer."""
        total = self.document.total
        last = self.document.entries[-1]
        is_answer = last.message is not None and last.message.role is Role.ASSISTANT
        if not is_answer or not len(last.heights):
            return total
        rows = last.heights[len(last.heights) - 1]
        is_state = last.blocks[-1].kind is Kind.MADE and rows <= _STATE_ROWS
        return total - rows if is_state else total

    # Focus

    def set_cursor(self, index: int) -> None:
        """Focus a message; the end is followed only while the last one has the focus."""
        self.cursor = index
        is_last = self.document.entries.message_from(index + 1, 1) is None
        if self.is_following and not is_last:
            self.stop_following()
        elif self.is_at_end and is_last:
            self._move(None)

    def focus_last(self) -> None:
        """Focus the last message if no message has the focus."""
        if self.cursor is None:
            self.cursor = self.document.entries.message_from(len(self.document) - 1, -1)

    def step_cursor(self, step: int, *, is_here: bool) -> bool:
        """Move the focus to a neighbour, or to the last message in view when the log gets it.

        Getting the focus moves no row; the next step up goes to where the message begins. Return
        False below the last message.
        """
        entries = self.document.entries
        first = entries.message_from(0, 1)
        if first is None or (step > 0 and not is_here):
            return False
        if self.cursor is None or not is_here:
            target = self._last_in_view()
        elif step < 0 and self._begins_above(self.cursor):
            target = self.cursor
        else:
            target = entries.message_from(self.cursor + step, step)
            if target is None and step > 0:
                if self.is_at_end:
                    self._move(None)
                return False

        if target is None:
            target = first
        self.set_cursor(target)
        if is_here or not self._begins_above(target):
            self.scroll_to_message(target)
        return True

    def extend_cursor(self, step: int) -> int | None:
        """Move the focus by a step, a large one to the end, and show its message; return it."""
        if self.cursor is None:
            return None
        direction = 1 if step > 0 else -1
        nearest = min(max(self.cursor + step, 0), len(self.document) - 1)
        target = self.document.entries.message_from(nearest, direction)
        if target is None:
            target = self.document.entries.message_from(nearest, -direction)
        if target is not None:
            self.set_cursor(target)
            self.scroll_to_message(target)
        return self.cursor

    def row_of(self, message_id: str) -> int | None:
        """Return the row of the screen on which a message begins; None if it is elsewhere."""
        index = self.document.entries.index_of(message_id)
        if index is None:
            return None
        row = self.document.heights.top(index) - self.top
        return row if 0 <= row < self.height else None

    def _last_in_view(self) -> int | None:
        entries = self.document.entries
        if self.is_following:
            return entries.message_from(len(entries) - 1, -1)
        bottom = self.document.locate(self.top + self.height - 1)
        return entries.message_from(bottom.message, -1)

    def _begins_above(self, index: int) -> bool:
        """Whether a message begins above the screen and ends on it or below."""
        top = self.document.heights.top(index)
        first = top + self.document.above(index)
        return first < self.top < top + self.document.heights[index]

    def _keep_cursor_in_view(self) -> None:
        """Focus the nearest message on the screen: keys must not act on what is not seen."""
        document = self.document
        if self.cursor is None or not len(document) or not self._is_focused():
            return
        first = document.locate(self.top).message
        last, number, _ = document.locate(self.top + self.height - 1)
        if number < 0:  # only the blank row above it is seen
            last -= 1

        target = None
        if self.cursor < first:
            target = document.entries.message_from(first, 1)
        elif self.cursor > last:
            target = document.entries.message_from(last, -1)
        if target is not None:
            self.cursor = target

    # Folding

    def toggle(self, attribute: Literal["is_folded", "is_source"]) -> None:
        """Change how the focused message is shown; its first row keeps its place on the screen.

        What unfolds off the screen is brought into view; folding it again shows what was read.
        """
        index = self.cursor
        if index is None:
            return
        entry = self.document.entries[index]
        is_in_view = attribute == "is_source" or self._fold_in_view(index)
        unfolds = attribute == "is_folded" and entry.is_folded
        folds = attribute == "is_folded" and not entry.is_folded
        if unfolds and not is_in_view:
            self._unfolded = entry
            self.remember("unfolding")
            self._flip(index, attribute)
            self.scroll_to_place(self._fold_rows(index)[0])
        elif folds and is_in_view and self._unfolded is entry:
            self._unfolded = None
            self._flip(index, attribute)
            self.return_to("unfolding")
        elif entry.is_streaming and self.is_following:
            self._flip(index, attribute)
            self.lay_out()
        else:
            anchor = self._anchor_of(index)
            self._flip(index, attribute)
            self._show_anchor(anchor)

    def _flip(self, index: int, attribute: Literal["is_folded", "is_source"]) -> None:
        entry = self.document.entries[index]
        setattr(entry, attribute, not getattr(entry, attribute))
        self.document.rebuild(index)

    def _anchor_of(self, index: int) -> Anchor:
        """Return an anchor for the first row of a message that is on the screen."""
        offset = self.document.heights.top(index) - self.top
        if offset < 0:
            return self._anchor_at_top()
        return anchor_at(self.document, Place(index, -1, 0), offset)

    def _fold_rows(self, index: int) -> list[Place]:
        """Return the rows that reasoning and files fold into; a system prompt has none."""
        document = self.document
        found = []
        for number in range(document.build(index)):
            block = document.entries[index].blocks[number]
            if not block.source:
                height = document.prepare(index, number)
                if any(line.action == "fold" for line in block.lines or ()):
                    found.append(Place(index, number, height - 1))
        return found

    def _fold_in_view(self, index: int) -> bool:
        """Whether a fold row or its unfolded reasoning is in view, or there is no such row."""
        with self.anchored():
            places = self._fold_rows(index)
        top = self.document.locate(self.top)
        if top.message == index and top.block >= 0:
            block = self.document.entries[index].blocks[top.block]
            if block.is_thought:
                return True
        return not places or any(self.shows(self.document.position(row), 1) for row in places)

    # The reading position over restarts

    @property
    def bookmark(self) -> str:
        """Message id, block and row at the top of the screen; empty at the end."""
        if self.is_at_end or not len(self.document):
            return ""
        index, number, row = self.document.locate(self.top)
        message = self.document.entries.message(index)
        return f"{message.message_id} {number} {row}" if message is not None else ""

    def go_to_bookmark(self, mark: str) -> bool:
        """Bring a bookmark to the top of the screen; return whether its message is there."""
        bookmark = parse_bookmark(mark)
        if bookmark is None:
            return False
        index = self.document.entries.index_of(bookmark.message_id)
        if index is None:
            return False
        self.scroll_to_place(Place(index, max(bookmark.number, -1), max(bookmark.row, 0)))
        return True


class Bookmark(NamedTuple):
    """A reading position that is saved with its session."""

    message_id: str
    number: int  # block
    row: int


def parse_bookmark(mark: str) -> Bookmark | None:
    """Return the bookmark that a text holds; None for anything else."""
    message_id, *numbers = mark.split(" ")
    are_numbers = all(number.removeprefix("-").isdecimal() for number in numbers)
    if not message_id or len(numbers) != 2 or not are_numbers:  # noqa: PLR2004 - block and row
        return None
    return Bookmark(message_id, int(numbers[0]), int(numbers[1]))
