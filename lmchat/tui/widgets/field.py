"""One-row text inputs: a plain line, and a field with a note at its right."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widgets import Input, Static

from lmchat.safe_text import safe_text
from lmchat.tui.widgets.line import MUTED, styled


class TextLine(Input):
    """Textual's input, which takes no control characters."""

    def on_mount(self) -> None:
        self.cursor_blink = self.app.animation_level != "none"

    def on_paste(self, event: events.Paste) -> None:
        """Replace control characters by visible ones; Textual then inserts the first line."""
        event.text = safe_text(event.text)


class Field(Horizontal):
    """Input with a bar while focused, and a short note at its right."""

    input = query_one(Input)
    _note = query_one(".note", Static)

    def __init__(self, value: str = "", *, placeholder: str = "", is_masked: bool = False) -> None:
        super().__init__()
        self._value = value
        self._placeholder = placeholder
        self._is_masked = is_masked

    def compose(self) -> ComposeResult:
        yield TextLine(
            safe_text(self._value),
            placeholder=self._placeholder,
            password=self._is_masked,
            compact=True,
            select_on_focus=False,
        )
        yield Static("", classes="note")

    @property
    def value(self) -> str:
        return self.input.value

    def show_note(self, words: str) -> None:
        self._note.update(styled(words, MUTED))
