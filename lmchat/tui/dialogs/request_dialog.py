"""Dialog with the next request: as the text that the model reads, as JSON, or as a curl command."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from lmchat import units
from lmchat.errors import LMChatError
from lmchat.servers.request import OutgoingRequest, TemplateText
from lmchat.services.next_request import FORMS, curl_command, json_text
from lmchat.tui.dialogs.text_dialog import TextDialog
from lmchat.tui.widgets.line import paragraphs
from lmchat.units import size_text

_END_CHARS = 30_000  # of each end of a long text: laying out 200,000 takes half a second


class RequestDialog(TextDialog):
    """The next request in one of its `FORMS`."""

    HINTS = (("← →", "text, JSON, curl"), ("y", "copy"), ("o", "pager"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "change(-1)", priority=True),
        Binding("right", "change(1)", priority=True),
        ("o", "page"),
    ]

    def __init__(
        self,
        template_text: TemplateText | LMChatError,
        outgoing: OutgoingRequest,
        form: str,
        page: Callable[[str], None],
    ) -> None:
        """Show a request.

        Args:
            template_text: The text behind the server's chat template, or why it is missing.
            outgoing: The request as it is sent.
            form: The form to begin with; empty for the text, or if the server has none, the JSON.
            page: Opens a text in the pager.
        """
        super().__init__("Next request", "")
        self._template_text = template_text
        self._outgoing = outgoing
        self._page = page
        first_form = "text"
        if isinstance(template_text, LMChatError) and template_text.kind == "unsupported":
            first_form = "json"  # the server cannot give the text
        self._form = form or first_form
        self._figures = ("", "")  # name and size of the shown form

    def on_mount(self) -> None:
        self._show_form()

    def on_resize(self) -> None:
        self.call_after_refresh(self._show_figures)

    def _show_figures(self) -> None:
        if self.can_show:
            self.show_title(*self._figures)

    def _show_form(self) -> None:
        """Show the chosen form from its beginning, with its name and its size in the title."""
        figure = size_text(len(self._outgoing.body), is_exact=True)
        match self._form:
            case "json":
                name = "JSON"
                self._text = json_text(self._outgoing)
                shown = paragraphs(_shortened(self._text))
            case "curl":
                name = "curl"
                self._text = curl_command(self._outgoing)
                shown = paragraphs(_shortened(self._text))
            case _:
                name = "text"
                shown, figure = self._use_template_text(self._template_text)
        self._figures = (name, figure)
        self._show_figures()
        scroll = self.query_one(VerticalScroll)
        scroll.query_one(Static).update(shown)
        scroll.scroll_home(animate=False)

    def _use_template_text(self, template_text: TemplateText | LMChatError) -> tuple[Content, str]:
        """Take the text for copy and pager; return it as it is shown, and its size in words.

        Without a text, return why there is none, and an empty text.
        """
        if isinstance(template_text, LMChatError):
            self._text = ""
            return paragraphs(template_text.message_with_hint), ""
        self._text = template_text.text
        shown = paragraphs(_shortened(template_text.text))
        return shown, units.counted(template_text.tokens, "token")

    def action_change(self, step: int) -> None:
        """Show the form `step` places after the shown one, in a ring."""
        self._form = FORMS[(FORMS.index(self._form) + step) % len(FORMS)]
        self._show_form()

    def action_copy_text(self) -> None:
        if self._text:
            super().action_copy_text()

    def action_page(self) -> None:
        if self._text:
            self._page(self._text)


def _shortened(text: str) -> str:
    """Return a text, of a long one its ends, and between them a line about what is left out."""
    left_out = len(text) - 2 * _END_CHARS
    if left_out <= 0:
        return text
    note = f"… {units.tokens(left_out)} characters more; o opens all of them in the pager …"
    return f"{text[:_END_CHARS]}\n\n{note}\n\n{text[-_END_CHARS:]}"
