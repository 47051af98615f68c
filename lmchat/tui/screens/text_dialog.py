"""A text to read: figures, links, details."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual import events
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from lmchat.text import safe_line, safe_text
from lmchat.tui.intents import CopyText
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.widgets.row_list import fit_scrollbar


class TextDialog(Dialog[None]):
    """Scrolls with the usual keys; `y` asks for a copy."""

    AUTO_FOCUS = "VerticalScroll"
    HINTS = (("y", "copy"), ("↑ ↓", "scroll"))
    BINDINGS = [Binding("y", "copy_text", show=False), Binding("enter", "leave", show=False)]  # noqa: RUF012 - as Textual declares it

    def __init__(self, title: str, text: str | Sequence[Content], *, note: str = "") -> None:
        """`text` is foreign text, or lines that have passed the filter; `note` stands at the right."""
        super().__init__()
        self._title, self._note = safe_line(title), safe_line(note)
        self._given = text

    def title_text(self) -> str:
        return self._title

    def compose_content(self) -> Iterable[Widget]:
        shown = (
            Content(safe_text(self._given))
            if isinstance(self._given, str)
            else Content("\n").join(self._given)
        )
        with VerticalScroll(classes="text gap"):
            yield Static(shown)

    def on_mount(self) -> None:
        fit_scrollbar(self.query_one(VerticalScroll))
        self.call_after_refresh(self.show_title, self._note)

    def on_resize(self, event: events.Resize) -> None:
        del event
        self.call_after_refresh(self._fit_text)

    def _fit_text(self) -> None:
        scroll = self.query_one(VerticalScroll)
        self.fit(scroll, scroll.query_one(Static).outer_size.height)

    def action_copy_text(self) -> None:
        """Ask for a copy."""
        text = self._given if isinstance(self._given, str) else "\n".join(line.plain for line in self._given)
        self.post_message(CopyText(text))
