"""Dialog with the links of a message."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.binding import Binding, BindingType

from lmchat.text import safe_line
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.line import MUTED, cut_middle
from lmchat.tui.widgets.row_list import NAME, ListRow


class LinksDialog(ListDialog[str | None]):
    """Links by address with their words; returns the address to open."""

    AUTO_FOCUS = ""
    HEADING = "Links"
    HINTS = (("Enter", "open"), ("y", "copy"))
    BINDINGS: ClassVar[list[BindingType]] = [Binding("y,c", "copy_link", show=False)]

    def __init__(self, links: Mapping[str, str]) -> None:
        super().__init__()
        self._links = links

    def draw(self) -> None:
        room, sign = self.list.text_width - 2, icons_for(self).cut
        rows = []
        for address, words in self._links.items():
            parts = [(cut_middle(safe_line(address), room, sign), NAME)]
            name = safe_line(words, limit=200)
            if name and name != safe_line(address):
                parts = [(name, NAME), (parts[0][0], MUTED)]
            rows += [ListRow(((part,),), key=address) for part in parts]
        self.show_rows(rows, f"{len(self._links)}")

    def action_take(self) -> None:
        if self.list.key is not None:
            self.dismiss(str(self.list.key))

    def action_copy_link(self) -> None:
        if self.list.key is not None:
            self.app.copy_to_clipboard(str(self.list.key))
