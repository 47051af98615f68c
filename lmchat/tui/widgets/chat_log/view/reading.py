"""Reading the log: which message has the focus, what its keys and clicks do, folding."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec import Struct
from textual import events
from textual.binding import BindingType

from lmchat.domain.message import ChatMessage
from lmchat.tui.commands import Scope, bindings
from lmchat.tui.messages import Post
from lmchat.tui.widgets.chat_log.anchor import Hold, find, note_around, take
from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.view.taking import TakingLog
from lmchat.tui.widgets.message_acts import why_not


class _Read(Struct):
    """What was read when something was unfolded elsewhere in its message."""

    entry: Entry
    """The message."""
    hold: Hold
    """The row that the screen began with."""
    was_following: bool
    """Whether the end was followed."""


class ReadingLog(TakingLog, can_focus=True):
    """A log that is read; what comes into it is the business of `ChatLog`."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.MESSAGE)]

    _read_before: _Read | None = None

    class UndoWanted(Post, namespace="chat_log"):
        """What was deleted last shall come back; no message needs to be left for that."""

    class FocusMoved(Post, namespace="chat_log"):
        """Another message has the focus: other keys are of use."""

    @property
    def focused_message(self) -> ChatMessage | None:
        """The message that the message keys act on."""
        return None if self._cursor is None else self.document.entries[self._cursor].message

    def cursor_moved(self) -> None:
        """Tell that another message has the focus."""
        self.post_message(self.FocusMoved())

    def focus_message(self, step: int) -> bool:
        """Move the focus to a neighbour, from elsewhere to the last one in view; False below the last one.

        What is read stays where it is when the focus comes; the next step up goes to where it begins.
        """
        is_here = self.screen.focused is self  # `has_focus` follows a message later
        first = self.document.entries.message_from(0, 1)
        if first is None or (step > 0 and not is_here):
            return False
        if self._cursor is None or not is_here:
            last = len(self.document) - 1 if self.is_following else self._last_in_view()
            found = self.document.entries.message_from(last, -1)
        elif step < 0 and self._is_read(self._cursor):
            found = self._cursor
        else:
            found = self.document.entries.message_from(self._cursor + step, step)
            if found is None and step > 0:
                self.is_following = self.is_at_end
                self.count_new_lines()
                return False
        found = first if found is None else found
        self.screen.set_focus(self, scroll_visible=False)
        self._set_cursor(found)
        if is_here or not self._is_read(found):
            self.show_entry(found)
        return True

    def _is_read(self, index: int) -> bool:
        """Whether the screen begins within a message."""
        top, y = self.document.heights.top(index), self.scroll_offset.y
        return top + int(index > 0) < y < top + self.document.heights[index]

    def _last_in_view(self) -> int:
        return self.document.locate(self.scroll_offset.y + self.size.height - 1)[0]

    def row_of(self, message_id: str) -> int | None:
        """Return the row of the screen on which a message begins, if it is there."""
        index = self.document.entries.place(message_id)
        row = -1 if index is None else self.document.heights.top(index) - self.scroll_offset.y
        return row if 0 <= row < self.size.height else None

    def show_message(self, message_id: str, *, row: int | None = None) -> bool:
        """Give a message the focus and bring it into view, on a row if one is named; False without it."""
        index = self.document.entries.place(message_id)
        if index is None:
            return False
        self._set_cursor(index)
        if row is None:
            self.show_entry(index)
        else:
            self.show_at((index, -1, 0), row)
        self.focus(scroll_visible=False)
        return True

    def on_focus(self, _event: events.Focus) -> None:
        """Give the focus to the last message if none has it."""
        self.focus_last()
        if not self.is_following and len(self.document):
            self._hold = self.grip()
        self.refresh()

    def focus_last(self) -> None:
        """Give the focus to the last message, if none has it."""
        if self._cursor is None:
            self._cursor = self.document.entries.message_from(len(self.document) - 1, -1)

    def on_blur(self, _event: events.Blur) -> None:
        """Take the bar away: the focus is elsewhere."""
        self.refresh()

    def _set_cursor(self, index: int) -> None:
        """Give the focus to a message; it stays in view: the end is followed with the last one alone."""
        self._cursor = index
        if self.is_following and self.document.entries.message_from(index + 1, 1) is not None:
            self.leave_end()
        elif self.is_at_end and not self.is_following:
            self.is_following = self.document.entries.message_from(index + 1, 1) is None
        if not self.is_following:
            self._hold = self.grip()
        self.count_new_lines()
        self.refresh()

    def hold_here(self) -> None:
        """Hold what has come to the top of the screen; the focus stays on what is seen."""
        super().hold_here()
        if self.screen.focused is self:
            self._keep_cursor_in_view()

    def scroll_end(self, **options: Any) -> None:
        """Follow the end again, with the focus on the last message."""
        super().scroll_end(**options)
        if self.screen.focused is self:
            self._keep_cursor_in_view()

    def _keep_cursor_in_view(self) -> None:
        """Give the focus to the nearest message on the screen: what keys do elsewhere is not seen."""
        document, top = self.document, self.scroll_offset.y
        if self._cursor is None or not len(document):
            return
        last, number, _ = document.locate(top + self.size.height - 1)
        first, last = document.locate(top)[0], last - int(number < 0)
        if self._cursor < first:
            found = self.document.entries.message_from(first, 1)
        else:
            found = self.document.entries.message_from(last, -1) if self._cursor > last else None
        if found is not None:
            self._cursor = found
            if not self.is_following:
                self._hold = self.grip()
            self.refresh()

    def grip(self, y: int | None = None) -> Hold:
        """Return what is to stay where it is: the focused message where it begins on the screen."""
        document, top = self.document, self.scroll_offset.y if y is None else y
        index = self._cursor
        if self.screen.focused is self and index is not None and document.entries[index].is_built:
            place = (index, 0, 0)
            offset = document.position(place) - top
            if 0 <= offset < self.size.height:
                return take(document, place, offset)
        return super().grip(y)

    def kept_places(self) -> list[Hold | None]:
        """Return what is to be found again, also what was read before something was unfolded."""
        return [*super().kept_places(), self._read_before.hold if self._read_before is not None else None]

    def take_other_messages(self) -> None:
        """Go back to nothing of other messages."""
        super().take_other_messages()
        self._read_before = None

    def action_message(self, name: str) -> None:
        """Do what a message key says, or ask for it."""
        if name == "undo":
            self.post_message(self.UndoWanted())
            return
        message = self.focused_message
        if message is None or self._cursor is None:
            return
        match name:
            case "fold" | "source" if not self._is_open(self._cursor) and why_not(
                name, message, is_busy=False
            ):
                self.post_message(self.Wanted(name, message))  # who hears of it says why not
            case "fold" | "source":
                self.toggle("is_folded" if name == "fold" else "is_source")
            case "copy":
                self.copy_next(self._cursor, message)
            case "copy_code":
                self.copy_code(self._cursor, message)
            case _:
                self.post_message(self.Wanted(name, message))

    def _is_open(self, index: int) -> bool:
        """Whether it is the answer that is on its way, which has more than its message tells."""
        return self.document.entries[index].is_open

    def toggle(self, attribute: str) -> None:
        """Turn a way of showing the focused message over; its first row stays where it is.

        What unfolds above or below the screen is brought there: it would not be seen that anything changed.
        Folding it again brings back what was read.
        """
        if self._cursor is None:
            return
        index, document = self._cursor, self.document
        entry = document.entries[index]
        is_unseen = attribute == "is_folded" and self._is_fold_unseen(index)
        is_back = attribute == "is_folded" and not entry.is_folded and self._is_in_fold(index)
        setattr(entry, attribute, not getattr(entry, attribute))
        offset = document.heights.top(index) - self.scroll_offset.y
        place = document.locate(self.scroll_offset.y) if offset < 0 else (index, -1, 0)
        hold = take(document, place, max(offset, 0))
        note_around(document, hold)
        was_following = self.is_following
        document.rebuild(index)
        if is_unseen and not entry.is_folded:
            self._read_before = _Read(entry, hold, was_following)
            self.show_at(self._fold_rows(index)[0])
        elif is_back and self._read_before is not None and self._read_before.entry is entry:
            self._read_again(self._read_before)
        elif entry.is_open and self.is_following:
            self.settle(changed=(index, -1, 0))
            self.refresh()
        else:
            self.show_at(find(document, hold), hold.offset)

    def _read_again(self, read: _Read) -> None:
        """Show what was read before a thought was unfolded."""
        self._read_before = None
        self.show_at(find(self.document, read.hold), read.hold.offset)
        if read.was_following:
            self.scroll_end()

    def _fold_rows(self, index: int) -> list[Place]:
        """Return where the rows stand that thought and files fold into; a system prompt has none."""
        document = self.document
        found = []
        for number in range(document.build(index)):
            block = document.entries[index].blocks[number]
            if not block.source:
                height = document.prepare(index, number)
                if any(line.action == "fold" for line in block.lines or ()):
                    found.append((index, number, height - 1))
        return found

    def _is_fold_unseen(self, index: int) -> bool:
        """Whether all rows that a message folds into are off the screen."""
        rows = [self.document.position(place) - self.scroll_offset.y for place in self._fold_rows(index)]
        return bool(rows) and not any(0 <= row < self.size.height for row in rows)

    def _is_in_fold(self, index: int) -> bool:
        """Whether the screen begins with what would be folded away, or with the row that it folds into."""
        at, number, _ = self.document.locate(self.scroll_offset.y)
        block = self.document.entries[at].blocks[number] if at == index and number >= 0 else None
        return block is not None and (block.is_thought or not self._is_fold_unseen(index))

    def on_click(self, event: events.Click) -> None:
        """Focus the message under the pointer; do what is written there, or ask for a link."""
        place = self._place_at(event.y)
        if place is None or self.document.entries[place[0]].message is None:
            return
        self._set_cursor(place[0])
        line, message = self.document.line(place), self.focused_message
        link, act = event.style.meta.get("link"), str(event.style.meta.get("act", ""))
        if act == "copy_code" and message is not None:
            self.copy_code(place[0], message, self.code_at(place))
        elif act:
            self.action_message(act)
        elif line is not None and line.action:
            self.action_message(line.action)
        elif link and message is not None:
            self.post_message(self.Wanted("links", message, str(link)))
