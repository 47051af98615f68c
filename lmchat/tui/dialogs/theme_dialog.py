"""Dialog with the themes: the one under the cursor is shown at once, on the whole screen."""

from __future__ import annotations

from collections.abc import Sequence

from textual import on
from textual.message import Message
from textual.theme import Theme

from lmchat.safe_text import safe_line
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.themes import short_name
from lmchat.tui.widgets.row_list import ListRow, RowList, text_row


class ThemeDialog(ListDialog[str | None]):
    """List of themes, each shown while the cursor is on it; returns the name of the taken one.

    Esc uses the old theme again, and returns None.
    """

    AUTO_FOCUS = ""
    HEADING = "Themes"
    HINTS = (("Enter", "use it"), ("↑ ↓", "show"))
    LEAVE = "keep the old one"

    def __init__(self, themes: Sequence[Theme], old_name: str) -> None:
        """Create the dialog; Esc returns to the theme `old_name`."""
        super().__init__()
        self._themes = themes
        self._old_name = old_name

    def draw(self) -> None:
        self.show_rows(list(map(_row, self._themes)), choose=self.app.theme)

    def action_move(self, by: int) -> None:
        super().action_move(by)
        self._show()

    def action_page(self, direction: int) -> None:
        super().action_page(direction)
        self._show()

    @on(RowList.Taken)
    def take_chosen(self, event: Message) -> None:
        """Show the theme that was clicked; only Enter takes it."""
        event.stop()
        self._show()

    def _show(self) -> None:
        self.app.theme = str(self.list.key)

    def action_take(self) -> None:
        self.dismiss(str(self.list.key))

    def action_leave(self) -> None:
        self.app.theme = self._old_name
        super().action_leave()


def _row(theme: Theme) -> ListRow:
    """Return the row of a theme: its name, and at the right its kind: dark, light or 16 colours."""
    words = "dark " if theme.dark else "light "
    if theme.ansi:
        words = "16 colours "
    name = safe_line(short_name(theme.name), limit=40)
    return text_row(f" {name}", right=words, key=theme.name)
