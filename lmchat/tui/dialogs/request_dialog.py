"""Dialog with the next request: as the text that the model reads, as JSON, or as a curl command."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from lmchat import units
from lmchat.chat.preview import FORMS, curl_command, json_text
from lmchat.errors import LMChatError
from lmchat.servers.request import TemplateText
from lmchat.servers.sending.prepared_request import PreparedRequest
from lmchat.tui.dialogs.text_dialog import TextDialog


class RequestDialog(TextDialog):
    """The next request in one of its `FORMS`."""

    HINTS = (("← →", "text, JSON, curl"), ("y", "copy"), ("o", "pager"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [
        # the focused `VerticalScroll` has its own ← and →
        Binding("left", "change(-1)", priority=True),
        Binding("right", "change(1)", priority=True),
        ("o", "open_pager"),
    ]

    def __init__(
        self,
        template_text: TemplateText | LMChatError,
        prepared: PreparedRequest,
        form: str,
        show_in_pager: Callable[[str], None],
    ) -> None:
        """`template_text` is the text behind the server's chat template, or why it is missing.

        `form` is one of `FORMS`, to begin with; "": the text, or JSON without it.
        """
        super().__init__("Next request")
        self._template_text = template_text
        self._prepared = prepared
        self._show_in_pager = show_in_pager
        first_form = "text"
        if isinstance(template_text, LMChatError) and template_text.kind == "unsupported":
            first_form = "json"
        self._form = form or first_form

    def on_mount(self) -> None:
        self.call_after_refresh(self._show_form)

    def _show_form(self) -> None:
        size = units.size_text(len(self._prepared.body), is_exact=True)
        match self._form, self._template_text:
            case "json", _:
                self.show(json_text(self._prepared), "JSON", size)
            case "curl", _:
                self.show(curl_command(self._prepared), "curl", size)
            # the form "text", or why it is missing
            case _, TemplateText(text=text, tokens=tokens):
                self.show(text, "text", units.counted(tokens, "token"))
            case _, LMChatError() as error:
                self.show(error.message_with_hint, "text")
        self.query_one(VerticalScroll).scroll_home(animate=False)

    def action_change(self, step: int) -> None:
        """Show the form `step` places after the shown one, in a ring."""
        self._form = FORMS[(FORMS.index(self._form) + step) % len(FORMS)]
        self._show_form()

    def action_open_pager(self) -> None:
        self._show_in_pager(self._shown)
