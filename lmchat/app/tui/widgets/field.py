"""One-row text inputs: a plain line, and a field with a note at its right."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.strip import Strip
from textual.widgets import Input, Static
from textual.widgets.input import Selection

from lmchat.app.tui.line_filters import safe_strip
from lmchat.app.tui.widgets.line import MUTED, styled
from lmchat.app.tui.widgets.text_steps import step
from lmchat.base.safe_text import without_controls


class TextLine(Input):
    """Input that takes no control characters and paints nothing unsafe.

    Its steps are those of the prompt, but a masked value tells nothing of its words.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("alt+left,alt+b", "cursor_left_word"),
        ("alt+right,alt+f", "cursor_right_word"),
        ("alt+shift+left", "cursor_left_word(True)"),
        ("alt+shift+right", "cursor_right_word(True)"),
        ("ctrl+backspace,alt+backspace", "delete_left_word"),  # Textual deletes to the right
        ("alt+d,ctrl+delete,alt+delete", "delete_right_word"),
        ("ctrl+home", "home"),
        ("ctrl+end", "end"),
        ("ctrl+shift+home", "home(True)"),
        ("ctrl+shift+end", "end(True)"),
    ]

    def on_mount(self) -> None:
        self.cursor_blink = self.app.animation_level != "none"

    def on_paste(self, event: events.Paste) -> None:
        """Put all lines on one, as Textual inserts the first; make control characters visible."""
        event.text = " ".join(filter(None, without_controls(event.text).splitlines()))

    def action_cursor_left(self, select: bool = False) -> None:
        if select or self.selection.is_empty:
            self._go_to(step(self.value, self.cursor_position, -1), select=select)
        else:
            super().action_cursor_left()

    def action_cursor_right(self, select: bool = False) -> None:
        if select or self.selection.is_empty:
            self._go_to(step(self.value, self.cursor_position, 1), select=select)
        else:
            super().action_cursor_right()

    def action_cursor_left_word(self, select: bool = False) -> None:
        self._go_to(self._word_end(-1), select=select)

    def action_cursor_right_word(self, select: bool = False) -> None:
        self._go_to(self._word_end(1), select=select)

    def action_delete_left(self) -> None:
        self._delete_to(step(self.value, self.cursor_position, -1))

    def action_delete_right(self) -> None:
        self._delete_to(step(self.value, self.cursor_position, 1))

    def action_delete_left_word(self) -> None:
        self._delete_to(self._word_end(-1))

    def action_delete_right_word(self) -> None:
        self._delete_to(self._word_end(1))

    def _word_end(self, direction: int) -> int:
        if self.password:
            return 0 if direction < 0 else len(self.value)
        return step(self.value, self.cursor_position, direction, by_words=True)

    def _go_to(self, position: int, *, select: bool) -> None:
        start = self.selection.start if select else position
        self.selection = Selection(start, position)

    def _delete_to(self, position: int) -> None:
        if self.selection.is_empty:
            self.delete(*sorted((position, self.cursor_position)))
        else:
            self.delete_selection()

    def render_line(self, y: int) -> Strip:
        return safe_strip(super().render_line(y))


class Field(Horizontal):
    """Input with a bar while focused, and a short note at its right."""

    def __init__(self, value: str = "", *, placeholder: str = "", is_masked: bool = False) -> None:
        super().__init__()
        self.input = TextLine(
            without_controls(value),
            placeholder=placeholder,
            password=is_masked,
            select_on_focus=False,
        )
        self._note = Static("", classes="note")

    def compose(self) -> ComposeResult:
        yield self.input
        yield self._note

    @property
    def value(self) -> str:
        return self.input.value

    def show_note(self, text: str) -> None:
        self._note.update(styled(text, MUTED))
