"""The reserved row above the prompt: it says that there is more below."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from lmchat.tui import formatting
from lmchat.tui.icons import signs_for
from lmchat.tui.messages import Post
from lmchat.tui.widgets.line import content


class Pill(Widget):
    """`↓ 6 new lines  End` at the right; empty where nothing is new."""

    class Pressed(Post):
        """The log shall go to its end."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._new_lines: int | None = None

    def show_new_lines(self, count: int | None) -> None:
        """Say how many lines are new; None at the end of the log, 0 where it was only left."""
        if count != self._new_lines:
            self._new_lines = count
            self.refresh()

    def render(self) -> Content:
        if self._new_lines is None:
            return Content("")
        arrow, count = signs_for(self).down_arrow, self._new_lines
        words = f"{formatting.tokens(count)} new line{'s' if count != 1 else ''}" if count else "more below"
        text = content(((f"{arrow} {words}", "$primary"), ("  ", ""), ("End", "bold")))
        return Content(" " * max(self.content_size.width - text.cell_length, 0)) + text

    def on_click(self) -> None:
        if self._new_lines is not None:
            self.post_message(self.Pressed())
