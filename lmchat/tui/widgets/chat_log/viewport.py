"""Viewport: the rows on the screen, which stay where they are whatever changes around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from lmchat.domain.message import ChatMessage, Role
from lmchat.tui.widgets.chat_log.anchor import Anchor, anchor_at, row_now
from lmchat.tui.widgets.chat_log.blocks import Kind
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.layout.page import Page

COUNTED_LINES = 600  # new lines that are laid out to be counted; the rest is estimated
_STATE_ROWS = 2  # of the state under an answer, with the blank row above: they move down, they are not new


class Viewport:
    """The window on a document: its height, its first row `top`, and `cursor`, the message with the focus.

    This is the only owner of the scroll position and of the cursor. The position changes when the user has
    scrolled (`scroll_by_user`), when something is brought into view (`show_at`, `show_entry`, `follow`), and
    in `lay_out`, which keeps the anchored text where it is. The widget copies `top` to Textual.
    """

    def __init__(self, document: Document, is_focused: Callable[[], bool] = lambda: False) -> None:
        self.document = document
        self.height = 1
        self.top = 0
        self.is_following = True  # whether the end stays in view
        self.cursor: int | None = None  # the message that the message keys act on
        self._is_focused = is_focused
        self.reset()

    def reset(self) -> None:
        self.is_following, self.cursor = True, None
        self._anchor: Anchor | None = None
        self._seen: Anchor | None = None
        self._kept: dict[str, Anchor | None] = {}
        self._unfolded: Entry | None = None

    # Layout

    def lay_out(self) -> None:
        """Lay out the screen and a screenful around it, without moving what is read."""
        document, height = self.document, self.height
        if not len(document):
            self.top = 0
            return
        if self.is_following:
            document.sweep(len(document) - 1, None, -1, 2 * height)
            self.top = self.last_top
        else:
            anchor = self._anchor = self._anchor or self._grip()
            place, offset = row_now(document, anchor), min(anchor.offset, height - 1)
            document.surround(place, height + offset, 2 * height)
            self._lay_out_unseen()
            self.top = max(min(document.position(place) - offset, self.last_top), 0)
            if anchor.block is None and anchor.row:  # it was not laid out then; it is now
                self._hold()
        document.trim(self.top - height, self.top + 2 * height)

    def take_page(self, page: Page) -> None:
        has_new = self.count_new_lines() > 0
        self.document.set_page(page)
        self.lay_out()
        if not (has_new or self.is_following) and len(self.document):
            self._see_up_to(self._text_end)

    @property
    def last_top(self) -> int:
        return max(self.document.total - self.height, 0)

    @property
    def is_at_end(self) -> bool:
        return self.top >= self.last_top

    def shows(self, y: int, rows: int) -> bool:
        return y < self.top + self.height and y + rows > self.top

    # Anchors

    def keep_still(self) -> None:
        """Anchor what is on the screen; to be called before anything changes."""
        document, anchor = self.document, self._anchor
        if self.is_following or not len(document) or document.layout is None:
            return
        if anchor is None or document.position(row_now(document, anchor)) - anchor.offset != self.top:
            self._hold()

    def _hold(self) -> None:
        if not self.is_following and len(self.document):
            self._anchor = self._grip()

    def _grip(self) -> Anchor:
        return anchor_at(self.document, self.document.locate(self.top))

    def keep(self, name: str) -> None:
        """Remember what is read now, for `go_back`."""
        self._kept[name] = None if self.is_following or not len(self.document) else self._grip()

    def go_back(self, name: str) -> None:
        """Show what was kept, or follow the end again."""
        anchor = self._kept.get(name)
        if anchor is None:
            self.follow()
        else:
            self._show_anchor(anchor)

    def prepend(self, earlier: Sequence[ChatMessage]) -> None:
        self.keep_still()
        if self.cursor is not None:
            self.cursor += len(earlier)
        anchors = [self._anchor, self._seen, *self._kept.values()]
        for anchor in {id(one): one for one in anchors if one is not None}.values():
            anchor.index += len(earlier)
        self.document.prepend(earlier)

    def rebuild(self, index: int) -> None:
        self.keep_still()
        self.document.rebuild(index)

    # Scrolling

    def scroll_by_user(self, y: int) -> None:
        self.top = y
        if self.is_at_end:
            self.is_following = True
        elif self.is_following:
            self.leave_end()
        if not self.is_following:
            self._hold()
            self.lay_out()
            self._hold()
        self._keep_cursor_in_view()

    def follow(self) -> None:
        self.is_following = True
        self.lay_out()
        self._keep_cursor_in_view()

    def leave_end(self) -> None:
        """Stop following: lines that are added are new."""
        self.is_following = False
        self._see_up_to(self._text_end)

    def show_at(self, place: Place, offset: int = 0) -> None:
        """Bring a place so many rows below the top of the screen; at the end, follow it."""
        if self.is_following:
            self.leave_end()
        index, number, line = place
        if number >= 0:
            number = min(number, self.document.build(index) - 1)
            line = min(line, self.document.prepare(index, number) - 1)
        self._anchor = anchor_at(self.document, (index, number, line), offset)
        self.lay_out()
        self.is_following = self.is_at_end

    def _show_anchor(self, anchor: Anchor) -> None:
        self.show_at(row_now(self.document, anchor), anchor.offset)

    def show_entry(self, index: int) -> None:
        """Scroll a message into view, by as little as possible."""
        document = self.document
        document.sweep(index, 0, 1, self.height)
        document.sweep(index - 1, None, -1, self.height)
        self.lay_out()
        top, rows = document.heights.top(index), document.heights[index]
        if top < self.top or rows >= self.height:
            self.show_at((index, -1, 0))
        elif top + rows > self.top + self.height:
            self.scroll_by_user(top + rows - self.height)

    # New lines below the screen

    def count_new_lines(self) -> int:
        """Return the number of lines that came since the end was on the screen."""
        if self.is_following or not len(self.document):
            self._seen = None
            return 0
        seen = self._seen or self._see_up_to(self._text_end)
        end = self.document.position(row_now(self.document, seen)) + 1
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
            index, number, _ = row_now(self.document, self._seen)
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
            self.leave_end()
        elif self.is_at_end and not self.is_following:
            self.is_following = is_last
        self._hold()

    def focus_last(self) -> None:
        """Focus the last message if none has the focus."""
        if self.cursor is None:
            self.cursor = self.document.entries.message_from(len(self.document) - 1, -1)
        self._hold()

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
                self.is_following = self.is_at_end
                return False
        found = first if found is None else found
        self.set_cursor(found)
        if is_here or not self._begins_within(found):
            self.show_entry(found)
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
            self.show_entry(found)
        return self.cursor

    def row_of(self, message_id: str) -> int | None:
        """Return the row of the screen on which a message begins, if it is there."""
        index = self.document.entries.place(message_id)
        row = -1 if index is None else self.document.heights.top(index) - self.top
        return row if 0 <= row < self.height else None

    def _begins_within(self, index: int) -> bool:
        top = self.document.heights.top(index)
        return top + int(index > 0) < self.top < top + self.document.heights[index]

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
        is_back = attribute == "is_folded" and is_in_view and self._unfolded is entry and not entry.is_folded
        if not is_in_view and entry.is_folded:
            self._unfolded = entry
            self.keep("unfolding")
        setattr(entry, attribute, not getattr(entry, attribute))
        document.rebuild(index)
        if not is_in_view and not entry.is_folded:
            self.show_at(self._fold_rows(index)[0])
        elif is_back:
            self._unfolded = None
            self.go_back("unfolding")
        elif not (entry.is_open and self.is_following):
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
        is_within = at == index and number >= 0 and self.document.entries[at].blocks[number].is_thought
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
        index = self.document.entries.place(message_id)
        if index is not None:
            self.show_at((index, max(number, -1), max(row, 0)))
        return index is not None


def parse_bookmark(mark: str) -> tuple[str, int, int] | None:
    """Return message id, block and row; None for anything else. Older versions stored two more numbers."""
    message_id, *numbers = mark.split(" ")
    is_one = len(numbers) in (2, 4) and all(one.removeprefix("-").isdecimal() for one in numbers)
    return (message_id, int(numbers[0]), int(numbers[1])) if is_one and message_id else None
