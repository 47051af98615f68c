"""Dialog with the themes."""

from __future__ import annotations

from collections.abc import Sequence

from textual.theme import Theme

from lmchat.app.tui.dialogs.dialog import ListDialog
from lmchat.app.tui.themes import short_name
from lmchat.app.tui.widgets.row_list import text_row
from lmchat.base.safe_text import safe_line


class ThemeDialog(ListDialog):
    """List of themes; the screen has the one under the cursor. Returns the name of the taken one.

    Esc uses the old theme again.
    """

    HEADING = "Themes"
    HINTS = (("Enter", "use it"), ("↑ ↓", "choose"))
    LEAVE = "keep the old one"

    def __init__(self, themes: Sequence[Theme], old_name: str) -> None:
        super().__init__()
        self._themes = themes
        self._old_name = old_name

    def draw(self) -> None:
        rows = [
            text_row(
                f" {safe_line(short_name(theme.name), limit=40)}",
                right="16 colours " if theme.ansi else "dark " if theme.dark else "light ",
                key=theme.name,
            )
            for theme in self._themes
        ]
        self.show_rows(rows, choose=self.app.theme)

    def show_choice(self) -> None:
        super().show_choice()
        self.app.theme = str(self.list.key)

    def action_leave(self) -> None:
        self.app.theme = self._old_name
        super().action_leave()
