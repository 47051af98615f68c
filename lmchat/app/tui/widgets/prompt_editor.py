"""Editor of a text of several lines: cursor, words and deletion by whole signs."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import BindingType
from textual.geometry import Offset
from textual.strip import Strip
from textual.widgets import TextArea

from lmchat.app.tui.line_filters import safe_strip
from lmchat.app.tui.widgets.text_steps import step

NEWLINE_KEYS = ("ctrl+j", "alt+enter", "shift+enter")


class PromptEditor(TextArea):
    """Text area in which keys move by what people see as one sign.

    A TextArea would take keys such as Ctrl+K and Ctrl+E: the screen's bindings for these have
    `priority`. `history` is Textual's: what can be undone.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        (",".join(NEWLINE_KEYS), "break_line"),
        ("alt+left,alt+b", "cursor_word_left"),
        ("alt+right,alt+f", "cursor_word_right"),
        ("alt+shift+left", "cursor_word_left(True)"),
        ("alt+shift+right", "cursor_word_right(True)"),
        ("alt+d,ctrl+delete", "delete_word_right"),
        ("ctrl+home", "cursor_text_start"),
        ("ctrl+end", "cursor_text_end"),
        ("ctrl+shift+home", "cursor_text_start(True)"),
        ("ctrl+shift+end", "cursor_text_end(True)"),
    ]

    def on_mount(self) -> None:
        self.let_cursor_blink()

    def let_cursor_blink(self, *, is_on: bool = True) -> None:
        """Blink unless the user wants no motion; else the cursor stays visible."""
        self.cursor_blink = is_on and self.app.animation_level != "none"

    def render_line(self, y: int) -> Strip:
        return safe_strip(super().render_line(y))

    def insert_at_cursor(self, text: str) -> None:
        """Put it in place of the selection, and go behind it."""
        self.replace(text, *self.selection, maintain_selection_offset=False)

    def action_undo(self) -> None:
        super().action_undo()
        # Else what is typed next would be undone together with an earlier edit. Textual would then
        # wrap the wrong lines, and could not draw the text.
        self.history.checkpoint()

    def action_redo(self) -> None:
        super().action_redo()
        self.history.checkpoint()

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """Scroll to the cursor, unless undo or redo has removed its line and not moved it yet.

        Textual would raise an error, when its scroll bar comes or goes.
        """
        if self.cursor_location[0] >= self.document.line_count:
            return Offset(0, 0)
        return super().scroll_cursor_visible(center, animate)

    def action_break_line(self) -> None:
        self.insert_at_cursor("\n")

    def action_cursor_text_start(self, select: bool = False) -> None:
        self.move_cursor((0, 0), select=select)

    def action_cursor_text_end(self, select: bool = False) -> None:
        self.move_cursor(self.document.end, select=select)

    def action_cursor_line_start(self, select: bool = False) -> None:
        """Go to the start of the row; from there, to that of the line, which may have more rows."""
        before = self.cursor_location
        super().action_cursor_line_start(select)
        if self.cursor_location == before:
            self.move_cursor((before[0], 0), select=select)

    def action_cursor_line_end(self, select: bool = False) -> None:
        """Go to the end of the row; from there, to that of the line."""
        before = self.cursor_location
        super().action_cursor_line_end(select)
        if self.cursor_location == before:
            row, _column = before
            self.move_cursor((row, len(self.document[row])), select=select)

    def get_cursor_left_location(self, *, by_words: bool = False) -> tuple[int, int]:
        row, column = self.cursor_location
        if column:
            return row, step(self.document[row], column, -1, by_words=by_words)
        return (row - 1, len(self.document[row - 1])) if row else (0, 0)

    def get_cursor_right_location(self, *, by_words: bool = False) -> tuple[int, int]:
        row, column = self.cursor_location
        line = self.document[row]
        if column < len(line):
            return row, step(line, column, 1, by_words=by_words)
        return (row + 1, 0) if row + 1 < self.document.line_count else (row, column)

    def get_cursor_word_left_location(self) -> tuple[int, int]:
        return self.get_cursor_left_location(by_words=True)

    def get_cursor_word_right_location(self) -> tuple[int, int]:
        return self.get_cursor_right_location(by_words=True)

    def action_delete_word_right(self) -> None:
        """Delete the selection, or else as far as the cursor would go: Textual keeps signs."""
        start, end = self.selection
        if start == end:
            end = self.get_cursor_word_right_location()
        self.delete(start, end, maintain_selection_offset=False)

    def move_cursor(
        self,
        location: tuple[int, int],
        select: bool = False,
        center: bool = False,
        record_width: bool = True,
    ) -> None:
        """Move to the beginning of a sign, within which ↑ and ↓ may lead."""
        super().move_cursor(self._before_sign(location), select, center, record_width)

    def get_target_document_location(self, event: events.MouseEvent) -> tuple[int, int]:
        return self._before_sign(super().get_target_document_location(event))

    def _before_sign(self, location: tuple[int, int]) -> tuple[int, int]:
        row, column = location
        line = self.document[row]
        if column >= len(line):
            return location
        return row, step(line, step(line, column, 1), -1)

    def action_delete_to_start_of_line(self) -> None:
        """Delete to the start of a line, or the line break before it; Textual stops at a row."""
        row, column = self.cursor_location
        if column:
            self.delete((row, 0), (row, column), maintain_selection_offset=False)
        else:
            self.action_delete_left()
