"""A message that waits above the prompt until the turn ends."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.content import Content

from lmchat.text import safe_line
from lmchat.tui.commands import Scope, bindings
from lmchat.tui.icons import signs_for
from lmchat.tui.messages import Post
from lmchat.tui.widgets.line import MUTED, Line, content, fit


class QueueCard(Line, can_focus=True):
    """`next  Which herbs go with them?   ↑ edit  Del remove`; after a failure it is `held`."""

    BINDINGS: ClassVar[list[BindingType]] = [*bindings(Scope.QUEUE)]

    class Edit(Post):
        """It shall go back into the prompt."""

        index: int
        """Its place in the queue."""

    class Remove(Post):
        """It shall not be sent."""

        index: int
        """Its place in the queue."""

    def __init__(self, index: int, text: str, *, is_held: bool = False) -> None:
        super().__init__()
        self._index, self._text, self._is_held = index, safe_line(text), is_held

    def show_entry(self, text: str, *, is_held: bool) -> None:
        """Show another message at this place."""
        self._text, self._is_held = safe_line(text), is_held
        self.refresh()

    def action_queue(self, what: str) -> None:
        """Post what the key means."""
        self.post_message(self.Edit(self._index) if what == "edit" else self.Remove(self._index))

    def render(self) -> Content:
        """Return the row; the hint goes before the text is cut to nothing."""
        signs, width = signs_for(self), self.content_size.width
        word = ("held", "$warning") if self._is_held else ("next", MUTED)
        left = content((word, ("  ", ""), (self._text, "")))
        hint = content(
            (
                (signs.up_arrow, f"bold {MUTED}"),
                (" edit  ", MUTED),
                ("Del", f"bold {MUTED}"),
                (" remove", MUTED),
            )
        )
        return fit([left], hint if width >= 2 * hint.cell_length - 2 else Content(""), width, signs.cut)
