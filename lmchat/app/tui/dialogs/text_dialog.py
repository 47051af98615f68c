"""Dialogs that show a text, the next request, or the links of a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from lmchat.app.tui.dialogs.dialog import Dialog, ListDialog
from lmchat.app.tui.widgets.key_bar import Hint
from lmchat.app.tui.widgets.line import MUTED, cut_middle, paragraphs
from lmchat.app.tui.widgets.row_list import text_row
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS
from lmchat.core.chat.preview import curl_command, json_text
from lmchat.core.servers.sending.prepared_request import PreparedRequest

_FIGURE_CHARS = 60  # of one figure in the title
_END_CHARS = 30_000  # of each end of a long text: laying out 200,000 takes half a second


Text = str | Callable[[int], str | Content]
"""A text, or a function that makes it for a width in cells; a `Content` must be safe already."""


class TextDialog(Dialog):
    """Scrollable text, or one that is made for the width of the dialog; `y` copies it."""

    AUTO_FOCUS = GROWS = "VerticalScroll"
    HINTS: ClassVar[Sequence[Hint]] = (("y", "copy"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [("y", "copy_text"), ("enter", "leave")]

    def __init__(self, title: str, text: Text = "", figures: Sequence[str] = ()) -> None:
        """Figures are at the right of the title, and start a copy, unlike those of `show`."""
        super().__init__(title)
        self._text = text
        self._figures = figures
        self._head = f" {SIGNS.dot} ".join(figures)
        self._shown = ""

    def compose_content(self) -> Iterable[Widget]:
        with VerticalScroll(classes="text gap"):
            yield Static()

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def show(self, text: Text, *figures: str) -> None:
        """Show another text, and figures about it in the title, unless the dialog was left."""
        self._text = text
        self._figures = figures
        self._draw()

    def _draw(self) -> None:
        if self.can_show:
            scroll = self.query_one(VerticalScroll)
            width = scroll.content_region.width - scroll.styles.scrollbar_size_vertical
            shown = self._text if isinstance(self._text, str) else self._text(width)
            self._shown = str(shown)
            laid_out = paragraphs(_shortened(shown)) if isinstance(shown, str) else shown
            self.query_one(Static).update(laid_out)
            self.show_figures(*(safe_line(figure, limit=_FIGURE_CHARS) for figure in self._figures))

    def action_copy_text(self) -> None:
        head = f"{self._head}\n\n" if self._head else ""
        self.app.copy_to_clipboard(f"{head}{self._shown}")


def _shortened(text: str) -> str:
    """Return a text; if it is long, its two ends, and between them a line about the rest."""
    left_out = len(text) - 2 * _END_CHARS
    if left_out <= 0:
        return text
    note = f"… {units.counted(left_out, 'character')} more; a copy has all of them …"
    return f"{text[:_END_CHARS]}\n\n{note}\n\n{text[-_END_CHARS:]}"


class RequestDialog(TextDialog):
    """The next request in one of its forms."""

    HINTS = (("← →", "JSON, curl"), ("y", "copy"), ("o", "pager"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [
        # the focused `VerticalScroll` has its own ← and →
        Binding("left,right", "change", priority=True),
        ("o", "open_pager"),
    ]

    def __init__(
        self, prepared: PreparedRequest, form: str, show_in_pager: Callable[[str], None]
    ) -> None:
        super().__init__("Next request")
        self._prepared = prepared
        self._is_curl = form == "curl"
        self._show_in_pager = show_in_pager

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_form)

    def _show_form(self) -> None:
        size = units.size_text(len(self._prepared.body), is_exact=True)
        if self._is_curl:
            self.show(curl_command(self._prepared), "curl", size)
        else:
            self.show(json_text(self._prepared), "JSON", size)
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_change(self) -> None:
        self._is_curl = not self._is_curl
        self._show_form()

    def action_open_pager(self) -> None:
        self._show_in_pager(self._shown)


class LinksDialog(ListDialog):
    """List of links with their words and addresses; returns the address to open."""

    HEADING = "Links"
    HINTS = (("Enter", "open"), ("y", "copy"))
    BINDINGS: ClassVar[list[BindingType]] = [("y,c", "copy_link")]

    def __init__(self, links: Mapping[str, str]) -> None:
        super().__init__()
        self._links = links

    def draw(self) -> None:
        """Draw each link: its words, and below them its address, or only the address."""
        room = self.list.text_width - 2  # less the bar of the row and a free cell
        rows = []
        for address, text in self._links.items():
            shown_address = cut_middle(address, room)
            name = safe_line(text, limit=200)
            if name and name != safe_line(address):  # else the address says it all
                rows.append(text_row(name, key=address))
                rows.append(text_row(shown_address, MUTED, key=address))
            else:
                rows.append(text_row(shown_address, key=address))
        self.show_rows(rows, f"{len(self._links)}")

    def action_copy_link(self) -> None:
        self.app.copy_to_clipboard(str(self.list.key))
