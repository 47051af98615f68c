"""A text input of one row, with a bar while it has the focus, and a short text at its right."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widgets import Input, Static

from lmchat.text import safe_text
from lmchat.tui.widgets.line import MUTED, content
from lmchat.tui.widgets.text_line import TextLine


class Field(Horizontal):
    """Posts Textual's `Input.Changed` and `Input.Submitted`."""

    input = query_one(Input)
    """What is typed into."""
    _note = query_one(".note", Static)

    def __init__(
        self,
        value: str = "",
        *,
        placeholder: str = "",
        is_masked: bool = False,
        id: str | None = None,  # noqa: A002 - Textual's name
    ) -> None:
        super().__init__(id=id)
        self._value, self._placeholder, self._is_masked = value, placeholder, is_masked

    def compose(self) -> ComposeResult:
        """The input and the text at its right."""
        yield TextLine(
            safe_text(self._value),
            placeholder=self._placeholder,
            password=self._is_masked,
            compact=True,
            select_on_focus=False,
        )
        yield Static("", classes="note")

    def on_mount(self) -> None:
        """Blink only where things may move."""
        self.input.cursor_blink = self.app.animation_level != "none"

    @property
    def value(self) -> str:
        """What is typed."""
        return self.input.value

    def show_note(self, words: str) -> None:
        """Say something at the right, in few words."""
        self._note.update(content(((words, MUTED),)))
