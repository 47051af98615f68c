"""List of themes; the chosen one is shown live."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.message import Message
from textual.theme import Theme

from lmchat.text import safe_line
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.theme_files import low_contrast
from lmchat.tui.themes import short_name
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import NAME, ListRow, RowList


class ThemeDialog(ListDialog[str | None]):
    """Shows each theme while the cursor is on it; returns the name of the chosen one."""

    AUTO_FOCUS = ""
    HEADING = "Themes"
    HINTS = (("Enter", "use it"), ("↑ ↓", "show"))
    LEAVE = "keep the old one"

    def __init__(self, themes: Sequence[Theme], chosen: str) -> None:
        super().__init__()
        self._themes = themes
        self._before = chosen

    def draw(self) -> None:
        rows = []
        for theme in self._themes:
            weak = low_contrast(theme)
            about = "16 colours" if theme.ansi else "dark" if theme.dark else "light"
            words = f"low contrast: {weak}   {about} " if weak else f"{about} "
            name = safe_line(short_name(theme.name), limit=40)
            rows.append(ListRow((((f" {name}", NAME),),), ((words, MUTED),), key=theme.name))
        self.show_rows(rows, choose=self.app.theme)

    def action_move(self, by: int) -> None:
        super().action_move(by)
        self._show()

    def action_page(self, direction: int) -> None:
        super().action_page(direction)
        self._show()

    @on(RowList.Taken)
    def take_chosen(self, event: Message) -> None:
        event.stop()
        self._show()

    def _show(self) -> None:
        self.app.theme = str(self.list.key)

    def action_take(self) -> None:
        self.dismiss(str(self.list.key))

    def action_leave(self) -> None:
        self.app.theme = self._before
        super().action_leave()
