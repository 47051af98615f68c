"""Dialog with the next request: as JSON, or as a curl command."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from lmchat import units
from lmchat.chat.preview import curl_command, json_text
from lmchat.servers.sending.prepared_request import PreparedRequest
from lmchat.tui.dialogs.text_dialog import TextDialog


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
        """Show the other form."""
        self._is_curl = not self._is_curl
        self._show_form()

    def action_open_pager(self) -> None:
        self._show_in_pager(self._shown)
