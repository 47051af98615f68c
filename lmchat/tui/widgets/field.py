"""One-row text inputs: a plain line, and a field with a note at its right."""

from __future__ import annotations

from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.strip import Strip
from textual.widgets import Input, Static

from lmchat.safe_text import without_controls
from lmchat.tui.safe_strip import safe_strip
from lmchat.tui.widgets.line import MUTED, styled


class TextLine(Input):
    """Textual's input, which takes no control characters and paints nothing unsafe."""

    def on_mount(self) -> None:
        self.cursor_blink = self.app.animation_level != "none"

    def on_paste(self, event: events.Paste) -> None:
        """Replace control characters by visible ones; Textual then inserts the first line."""
        event.text = without_controls(event.text)

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
            compact=True,
            select_on_focus=False,
        )
        self._note = Static("", classes="note")

    def compose(self) -> ComposeResult:
        yield self.input
        yield self._note

    @property
    def value(self) -> str:
        return self.input.value

    def show_note(self, words: str) -> None:
        self._note.update(styled(words, MUTED))
