"""One-row text inputs: a plain line, a field with a note at its right, the session filter."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.getters import query_one
from textual.widgets import Input, Static

from lmchat.safe_text import safe_text
from lmchat.tui.actions import LeaveFilter
from lmchat.tui.widgets.line import MUTED, styled


class TextLine(Input):
    """Textual's input, into which no control character gets."""

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
        """Show words at the right; empty ones remove them."""
        self._note.update(styled(words, MUTED))


class SessionFilter(TextLine):
    """Filter of the session list; Esc clears it."""

    BINDINGS: ClassVar[list[BindingType]] = [("escape", "leave(False)"), ("down", "leave(True)")]

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)

    def begin(self) -> None:
        """Show and focus it."""
        self.display = True
        self.screen.set_focus(self)  # at once: the next key must reach it

    def action_leave(self, is_kept: bool) -> None:
        """Post `LeaveFilter`, with which the list gets the focus.

        Unless the filter `is_kept` and has text, clear and hide it before.
        """
        is_kept = is_kept and bool(self.value)
        if not is_kept:
            self.display = False
            self.value = ""
        self.post_message(LeaveFilter(is_kept))
