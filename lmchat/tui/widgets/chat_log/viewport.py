"""Viewport: the rows on the screen, and the only owner of the scroll position.

The position is an anchor in the text, or None while the end is followed. `_move` alone changes it, and
`reset` for other messages; `update_anchor` and `lay_out` at most describe the same position by another
anchor. Only `lay_out` computes the first row `top` from it: what is read keeps its row whatever changes
around it. These methods move, each with its callers:

- `scroll_to_row`: keys, wheel, scroll bar, and a selection dragged over the edge (`ChatLog.watch_scroll_y`).
- `scroll_to_end` (`ChatLog.scroll_end`): End, the pill of new lines, a sent prompt, scrolling at the end.
- `scroll_to_message`: the focus moves to another message, or the selection grows by one.
- `scroll_to_place`: a hit, a bookmark, a message that is jumped to, or what is folded or unfolded.
- `set_cursor`, `step_cursor`: the focus moves; the end is followed only with the last message.
- `return_to`: back to what was remembered before a search or an unfolding.
- `stop_following`: the position stays, but new text no longer moves it.

`ChatLog.settle` calls `lay_out` after every change, and copies `top` to Textual.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Literal

from lmchat.domain.message import ChatMessage, Role
from lmchat.tui.widgets.chat_log.anchor import Anchor, anchor_at, relocate
from lmchat.tui.widgets.chat_log.blocks import Kind
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.layout.page import Page

COUNTED_LINES = 600  # new lines that are laid out to be counted; the rest is estimated
_STATE_ROWS = (
    2  # of the state under an answer, with the blank row above: they move down, they are not new
)


class Viewport:
    """The window on a document: its height, its first row `top`, and `cursor`, the message with the focus."""

    def __init__(self, document: Document, is_focused: Callable[[], bool] = lambda: False) -> None:
        self.document = document
        self.height = 1
        self.top = 0
        self.cursor: int | None = None  # the message that the message keys act on
        self._is_focused = is_focused
        self.reset()

    def reset(self) -> None:
        self.cursor = None
        self._anchor: Anchor | None = None  # None while the end is followed
        self._seen: Anchor | None = None
        self._remembered: dict[str, Anchor | None] = {}
        self._unfolded: Entry | None = None

    # Layout

    def lay_out(self) -> None:
        """Lay out the screen and a screenful around it, without moving what is read."""
        document, height = self.document, self.height
        if not len(document):
            self.top = 0
            return
        anchor = self._anchor
        if anchor is None:
            document.sweep(len(document) - 1, None, -1, 2 * height)
            self.top = self.last_top
        else:
            place, offset = relocate(document, anchor), min(anchor.offset, height - 1)
            document.surround(place, height + offset, 2 * height)
            self._lay_out_unseen()
            self.top = max(min(document.position(place) - offset, self.last_top), 0)
            if anchor.block is None and anchor.row:  # it was not laid out then; it is now
                self._anchor = self._anchor_at_top()
        document.trim(self.top - height, self.top + 2 * height)

    def set_page(self, page: Page) -> None:
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

    # Anchors

    def update_anchor(self) -> None:
        """Anchor what is on the screen; to be called before the document changes."""
        document, anchor = self.document, self._anchor
        if anchor is None or not len(document) or document.layout is None:
            return
        if document.position(relocate(document, anchor)) - anchor.offset != self.top:
            self._anchor = self._anchor_at_top()

    def _anchor_at_top(self) -> Anchor:
        return anchor_at(self.document, self.document.locate(self.top))

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

    def prepend(self, earlier: Sequence[ChatMessage]) -> None:
        self.update_anchor()
        if self.cursor is not None:
            self.cursor += len(earlier)
        for anchor in (self._anchor, self._seen, *self._remembered.values()):
            if anchor is not None:
                anchor.index += len(earlier)
        self.document.prepend(earlier)

    async def parse_rest(self, changed: Callable[[Place], None]) -> None:
        """Parse what is left of long messages, step by step between keys and frames."""
        while (index := self.document.unparsed) is not None:
            await asyncio.sleep(self.document.step_s)
            entry = self.document.entries.known(index)
            if entry is not None and entry.parse(self.document.step_s):
                continue
            index = self.document.unparsed  # messages may have come before it meanwhile
            if index is not None:
                self.update_anchor()
                changed(self.document.grow(index))

    def rebuild(self, index: int) -> None:
        self.update_anchor()
        self.document.rebuild(index)

    # Scrolling

    def _move(self, anchor: Anchor | None) -> None:
        """Lay out from an anchor; None follows the end."""
        if self._anchor is None and anchor is not None:
            self._see_up_to(self._text_end)  # lines that are added from now on are new
        self._anchor = anchor
        self.lay_out()

    def scroll_to_row(self, y: int) -> None:
        """Bring a row to the top of the screen; at the end, follow it."""
        self._move(
            None if y >= self.last_top else anchor_at(self.document, self.document.locate(y))
        )
        self._keep_cursor_in_view()

    def scroll_to_end(self) -> None:
        self._move(None)
        self._keep_cursor_in_view()

    def stop_following(self) -> None:
        self._move(self._anchor_at_top())

    def scroll_to_place(self, place: Place, offset: int = 0) -> None:
        """Bring a place so many rows below the top of the screen; at the end, follow it."""
        index, number, line = place
        if number >= 0:
            number = min(number, self.document.build(index) - 1)
            line = min(line, self.document.prepare(index, number) - 1)
        self._move(anchor_at(self.document, (index, number, line), offset))
        if self.is_at_end:
            self._move(None)

    def _show_anchor(self, anchor: Anchor) -> None:
        self.scroll_to_place(relocate(self.document, anchor), anchor.offset)

    def scroll_to_message(self, index: int) -> None:
        """Scroll a message into view, by as little as possible."""
        document = self.document
        document.sweep(index, 0, 1, self.height)
        document.sweep(index - 1, None, -1, self.height)
        self.lay_out()
        top, rows = document.heights.top(index), document.heights[index]
        if top < self.top or rows >= self.height:
            self.scroll_to_place((index, -1, 0))
        elif top + rows > self.top + self.height:
            self.scroll_to_row(top + rows - self.height)

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
        place = self.document.locate(end - 1) if end > 0 else (0, -1, -1)
        self._seen = anchor = anchor_at(self.document, place)
        return anchor

    def _lay_out_unseen(self) -> None:
        if self._seen is not None:
            index, number, _ = relocate(self.document, self._seen)
            self.document.sweep(index, max(number, 0), 1, COUNTED_LINES)

    @property
    def _text_end(self) -> int:
        """The row after the last text: the state under the last answer does not count."""
        last = self.document.entries[-1]
        if last.message is None or last.message.role is not Role.ASSISTANT or not len(last.heights):
            return self.document.total
        rows = last.heights[len(last.heights) - 1]
        is_state = last.blocks[-1].kind is Kind.MADE and rows <= _STATE_ROWS
        return self.document.total - (rows if is_state else 0)

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
        """Focus the last message if none has the focus."""
        if self.cursor is None:
            self.cursor = self.document.entries.message_from(len(self.document) - 1, -1)

    def step_cursor(self, step: int, *, is_here: bool) -> bool:
        """Move the focus to a neighbour, or, when the log gets the focus, to the last message in view.

        That moves no row; the next step up goes to where the message begins. False below the last one.
        """
        entries = self.document.entries
        first = entries.message_from(0, 1)
        if first is None or (step > 0 and not is_here):
            return False
        if self.cursor is None or not is_here:
            last = self.document.locate(self.top + self.height - 1)[0]
            found = entries.message_from(len(entries) - 1 if self.is_following else last, -1)
        elif step < 0 and self._begins_within(self.cursor):
            found = self.cursor
        else:
            found = entries.message_from(self.cursor + step, step)
            if found is None and step > 0:
                if self.is_at_end:
                    self._move(None)
                return False
        found = first if found is None else found
        self.set_cursor(found)
        if is_here or not self._begins_within(found):
            self.scroll_to_message(found)
        return True

    def extend_cursor(self, step: int) -> int | None:
        """Move the focus by a step, a large one to the end, and bring its message into view; return it."""
        if self.cursor is None:
            return None
        target = min(max(self.cursor + step, 0), len(self.document) - 1)
        direction, message_from = 1 if step > 0 else -1, self.document.entries.message_from
        found = message_from(target, direction)
        if found is None:
            found = message_from(target, -direction)
        if found is not None:
            self.set_cursor(found)
            self.scroll_to_message(found)
        return self.cursor

    def row_of(self, message_id: str) -> int | None:
        """Return the row of the screen on which a message begins, if it is there."""
        index = self.document.entries.index_of(message_id)
        row = -1 if index is None else self.document.heights.top(index) - self.top
        return row if 0 <= row < self.height else None

    def _begins_within(self, index: int) -> bool:
        top = self.document.heights.top(index)
        return top + self.document.above(index) < self.top < top + self.document.heights[index]

    def _keep_cursor_in_view(self) -> None:
        """Focus the nearest message on the screen: what keys do elsewhere is not seen."""
        document = self.document
        if self.cursor is None or not len(document) or not self._is_focused():
            return
        last, number, _ = document.locate(self.top + self.height - 1)
        first, last = document.locate(self.top)[0], last - int(number < 0)
        if self.cursor < first:
            found = document.entries.message_from(first, 1)
        else:
            found = document.entries.message_from(last, -1) if self.cursor > last else None
        self.cursor = self.cursor if found is None else found

    # Folding

    def toggle(self, attribute: Literal["is_folded", "is_source"]) -> None:
        """Change how the focused message is shown; its first row on the screen stays where it is.

        What unfolds off the screen is brought into view, and folding it again brings back what was read.
        """
        index, document = self.cursor, self.document
        if index is None:
            return
        entry = document.entries[index]
        offset = document.heights.top(index) - self.top
        place = document.locate(self.top) if offset < 0 else (index, -1, 0)
        anchor = anchor_at(document, place, max(offset, 0))
        is_in_view = attribute == "is_source" or self._fold_in_view(index)
        is_back = (
            attribute == "is_folded"
            and is_in_view
            and self._unfolded is entry
            and not entry.is_folded
        )
        if not is_in_view and entry.is_folded:
            self._unfolded = entry
            self.remember("unfolding")
        setattr(entry, attribute, not getattr(entry, attribute))
        document.rebuild(index)
        if not is_in_view and not entry.is_folded:
            self.scroll_to_place(self._fold_rows(index)[0])
        elif is_back:
            self._unfolded = None
            self.return_to("unfolding")
        elif not (entry.is_streaming and self.is_following):
            self._show_anchor(anchor)

    def _fold_rows(self, index: int) -> list[Place]:
        """Return the rows that reasoning and files fold into; a system prompt has none."""
        document = self.document
        found = []
        for number in range(document.build(index)):
            block = document.entries[index].blocks[number]
            if not block.source:
                height = document.prepare(index, number)
                if any(line.action == "fold" for line in block.lines or ()):
                    found.append((index, number, height - 1))
        return found

    def _fold_in_view(self, index: int) -> bool:
        """Whether a fold row, or unfolded reasoning at the top, is on the screen, or there is no such row."""
        rows = [self.document.position(place) for place in self._fold_rows(index)]
        at, number, _ = self.document.locate(self.top)
        is_within = (
            at == index and number >= 0 and self.document.entries[at].blocks[number].is_thought
        )
        return is_within or not rows or any(self.shows(row, 1) for row in rows)

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
        message_id, number, row = parse_bookmark(mark) or ("", 0, 0)
        index = self.document.entries.index_of(message_id)
        if index is not None:
            self.scroll_to_place((index, max(number, -1), max(row, 0)))
        return index is not None


def parse_bookmark(mark: str) -> tuple[str, int, int] | None:
    """Return message id, block and row; None for anything else. Older versions stored two more numbers."""
    message_id, *numbers = mark.split(" ")
    is_one = len(numbers) in (2, 4) and all(one.removeprefix("-").isdecimal() for one in numbers)
    return (message_id, int(numbers[0]), int(numbers[1])) if is_one and message_id else None
