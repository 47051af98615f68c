"""A viewport in which text is selected: with the mouse, and message by message with keys."""

from __future__ import annotations

from typing import Any, ClassVar

from textual import events
from textual.message import Message
from textual.timer import Timer

from lmchat.domain.path import MessagePath
from lmchat.tui.intents import CopyText
from lmchat.tui.messages import Post
from lmchat.tui.widgets.chat_log.copying import copied
from lmchat.tui.widgets.chat_log.selection import Ends, Selected, Unit, ends_at, message_ends
from lmchat.tui.widgets.chat_log.view.found import FoundView

AGAIN_S = 0.5
"""Presses on one cell that follow each other so fast select a word, then a paragraph."""
SCROLL_EVERY_S = 0.05
"""While the pointer is held above or below, the log scrolls so often, by more lines the farther it is."""
_LEFT = 1


class DraggedView(FoundView, can_focus=True):
    """Knows what is selected; the selection stays with its words, whatever comes or is laid out anew."""

    ALLOW_SELECT: ClassVar[bool] = (
        False  # Textual's own ends at the edge of the screen, and knows cells, not words
    )

    class SelectionChanged(Post, namespace="chat_log"):
        """Something is selected where nothing was, or nothing any more."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.selected: Selected | None = None
        """What is selected."""
        self._pressed: Selected | None = None
        self._pointer = (0, 0)
        self._last_press: tuple[tuple[int, int], float, int] = ((-1, -1), 0.0, 0)
        self._was_dragged = False
        self._is_extending = False
        self._scroll_timer: Timer | None = None

    @property
    def selected_text(self) -> str:
        """What is selected: the source of what is selected whole, the words of what is not."""
        selected = self._take_selected()
        return "" if selected is None else copied(self.document, selected)

    def drop_selection(self) -> bool:
        """Select nothing any more; return whether anything was."""
        self._is_extending = False
        if self.selected is None:
            return False
        self._select(None)
        return True

    def copy_selection(self) -> bool:
        """Copy what is selected, and select it no more; return whether there was any text."""
        if self.selected is not None:
            self.read_all(self.selected.start.index, self.selected.end.index)
        text = self.selected_text
        if text:
            self.post_message(CopyText(text))
            self.drop_selection()
        return bool(text)

    def _select(self, selected: Selected | None) -> None:
        was, self.selected = self.selected, selected
        self.refresh()
        if (was is None) != (selected is None):
            self.post_message(self.SelectionChanged())

    def _take_selected(self) -> Selected | None:
        """Return what is selected as the log is laid out now; it ends where an end is not there any more."""
        if self.selected is not None:
            found = self.selected.found_again(self.document)
            if found is None:
                self._select(None)
            self.selected = found
        return self.selected

    def prepend(self, earlier: MessagePath) -> None:
        """Put messages above all others; the selection moves with its own."""
        for one in (self.selected, self._pressed):
            if one is not None:
                one.moved(len(earlier))
        super().prepend(earlier)

    def take_other_messages(self) -> None:
        """Select nothing in other messages."""
        super().take_other_messages()
        self._pressed = None
        self.drop_selection()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin a selection; with Shift held, go on with the one that is there."""
        if event.button != _LEFT or not len(self.document) or self._page is None:
            return
        self._was_dragged = False
        unit = self._unit_of(event)
        ends = self._ends_under(event.x, event.y, unit)
        if event.shift and self.selected is not None:
            self._pressed = Selected(self.selected.anchor, ends, self.selected.unit)
            self._select(self._pressed)
            self._was_dragged = True
        else:
            self._pressed = Selected(ends, ends, unit)
            self.drop_selection()
            if unit is not Unit.CHARACTER:
                self._select(self._pressed)
        self._pointer = event.x, event.y
        self.capture_mouse()

    def _unit_of(self, event: events.MouseDown) -> Unit:
        """Return what a press selects by: the second on a cell words, the third paragraphs."""
        cell, time_s, count = self._last_press
        is_again = cell == (event.x, event.y) and event.time - time_s < AGAIN_S and not event.shift
        count = count % Unit.PARAGRAPH + 1 if is_again else 1
        self._last_press = (event.x, event.y), event.time, count
        return Unit(count)

    def _ends_under(self, x: int, y: int, unit: Unit) -> Ends:
        """Return what a press on a cell selects; beyond the screen, what is at its edge."""
        document = self.document
        row = min(max(y, 0), self.size.height - 1) + self.scroll_offset.y
        if row >= document.total:
            row, x = document.total - 1, self.size.width
        return ends_at(document, document.locate(row), x - self._left - 1, unit)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Select up to the pointer."""
        if self._pressed is None:
            return
        if event.button != _LEFT:  # it was let go where nobody heard of it
            self._let_go()
            return
        if (event.x, event.y) == self._pointer:
            return
        self._pointer = event.x, event.y
        self._drag()
        self._scroll_while(not 0 <= event.y < self.size.height)

    def _drag(self) -> None:
        if self._pressed is None:
            return
        pressed = self._pressed.found_again(self.document)
        if pressed is None:
            self._let_go()
            return
        self._was_dragged, self._last_press = True, ((-1, -1), 0.0, 0)
        pressed.head = self._ends_under(*self._pointer, pressed.unit)
        self._pressed = pressed
        self._select(pressed)

    def _scroll_while(self, is_beyond: bool) -> None:
        if is_beyond and self._scroll_timer is None:
            self._scroll_timer = self.set_interval(SCROLL_EVERY_S, self._scroll_on)
        elif not is_beyond and self._scroll_timer is not None:
            self._scroll_timer.stop()
            self._scroll_timer = None

    def _scroll_on(self) -> None:
        """Scroll towards the pointer, and select what comes."""
        y, height = self._pointer[1], self.size.height
        lines = y if y < 0 else y - height + 1
        self.scroll_to(y=min(max(self.scroll_offset.y + lines, 0), self.max_scroll_y))
        self._drag()

    def on_mouse_up(self, _event: events.MouseUp) -> None:
        """Keep what is selected."""
        if self._pressed is not None:
            self._let_go()

    def _let_go(self) -> None:
        self._pressed = None
        self._scroll_while(False)
        self.release_mouse()

    def check_message_enabled(self, message: Message) -> bool:
        """Take the end of a drag for no click."""
        is_drag = isinstance(message, events.Click) and self._was_dragged
        return not is_drag and super().check_message_enabled(message)

    def on_blur(self, _event: events.Blur) -> None:
        """Extend no selection that one has turned away from."""
        self._is_extending = False

    def action_select(self, step: int) -> None:
        """Select the focused message, and with each step the next one; a large step goes to the end."""
        if self._cursor is None:
            return
        if not step:
            self._begin_extending()
            return
        first = self._cursor if self.selected is None else self.selected.anchor[0].index
        if self.selected is not None and self.selected.unit is not Unit.MESSAGE:
            first = self._cursor
        self._cursor = self._neighbour(self._cursor, step)
        self._select(Selected(message_ends(first), message_ends(self._cursor), Unit.MESSAGE))
        self.show_entry(self._cursor)

    def _begin_extending(self) -> None:
        """Select the focused message, so that ↑ and ↓ select more; done again, that ends."""
        if self._is_extending:
            self.drop_selection()
        elif self._cursor is not None:
            ends = message_ends(self._cursor)
            self._is_extending = True
            self._select(Selected(ends, ends, Unit.MESSAGE))

    def _neighbour(self, index: int, step: int) -> int:
        """Return the message that is a step further on, or with a large step the last one there is."""
        entries = self.document.entries
        if abs(step) > 1:
            found = entries.message_from(len(entries) - 1, -1) if step > 0 else entries.message_from(0, 1)
        else:
            found = entries.message_from(index + step, step)
        return index if found is None else found

    def action_scroll_up(self) -> None:
        """Scroll, or select one more."""
        if self._is_extending:
            self.action_select(-1)
        else:
            super().action_scroll_up()

    def action_scroll_down(self) -> None:
        """Scroll, or select one more."""
        if self._is_extending:
            self.action_select(1)
        else:
            super().action_scroll_down()
