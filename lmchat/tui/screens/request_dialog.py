"""Dialog with the next request: as the text that the model gets, as JSON, or as a curl command."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from lmchat.domain.request import OutgoingRequest, TemplateText
from lmchat.errors import LMChatError
from lmchat.services.next_request import FORMS, curl_command, json_text, split_at_special_tokens
from lmchat.text import size_text
from lmchat.tui import formatting
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.widgets.line import MUTED, STRONG, LineWidget, paragraphs, styled
from lmchat.tui.widgets.row_list import fit_scrollbar

_SPECIAL = "bold $secondary"  # style of special tokens, which differ from other text by its weight
_NAMES = {"text": "Text", "json": "JSON", "curl": "curl"}
_END_CHARS = 30_000  # of each end of a long text: laying out 200,000 takes half a second
_MAX_COMMAND_BYTES = 1_000_000
"""A command with a larger body is not made: most clipboards and shells do not take its text."""


class RequestForm(Struct, frozen=True, kw_only=True):
    """One form of a request."""

    shown: Content
    text: str = ""  # what is copied and opened in the pager; empty if there is none
    figure: str = ""  # its size


class RequestDialog(Dialog[None]):
    """The next request in one of its `FORMS`; other keys show the others."""

    AUTO_FOCUS = "VerticalScroll"
    HEADING = "Next request"
    HINTS = (("← →", "other form"), ("y", "copy"), ("o", "pager"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "change(-1)", priority=True),
        Binding("right", "change(1)", priority=True),
        ("y", "copy_text"),
        ("o", "page"),
    ]

    def __init__(
        self,
        prompt: TemplateText | LMChatError,
        outgoing: OutgoingRequest,
        form: str,
        page: Callable[[str], None],
    ) -> None:
        """Show a request.

        Args:
            prompt: The text behind the server's chat template, or why there is none.
            outgoing: The request as it is sent.
            form: The form to begin with; empty for the text, or if there is none, the JSON.
            page: Opens a text in the pager.
        """
        super().__init__()
        is_unsupported = isinstance(prompt, LMChatError) and prompt.kind == "unsupported"
        self._form = form or ("json" if is_unsupported else "text")
        self._page = page
        self._forms = {
            "text": _text_form(prompt),
            "json": _json_form(outgoing),
            "curl": _curl_form(outgoing),
        }

    def compose_content(self) -> Iterable[Widget]:
        yield LineWidget(id="forms", classes="gap")
        with VerticalScroll(classes="text gap"):
            yield Static()

    def on_mount(self) -> None:
        fit_scrollbar(self.query_one(VerticalScroll))
        self._show_form()

    def on_resize(self) -> None:
        self.call_after_refresh(self._fit_text)

    def _fit_text(self) -> None:
        if self.can_act:
            scroll = self.query_one(VerticalScroll)
            self.fit(scroll, scroll.query_one(Static).outer_size.height)

    def _show_form(self) -> None:
        """Show the chosen form from its beginning, with its name among those of the others."""
        form = self._forms[self._form]
        names: list[Content] = []
        for name in FORMS:
            gap = "   " if names else ""
            style = STRONG if name == self._form else MUTED
            mark = f"{icons_for(self).fresh} " if name == self._form else "  "
            names.append(styled(f"{gap}{mark}{_NAMES[name]}", style))
        self.query_one("#forms", LineWidget).show(names, styled(form.figure, MUTED))
        scroll = self.query_one(VerticalScroll)
        scroll.query_one(Static).update(form.shown)
        scroll.scroll_home(animate=False)
        self.call_after_refresh(self._fit_text)

    def action_change(self, step: int) -> None:
        """Show the form `step` places after the shown one, in a ring."""
        self._form = FORMS[(FORMS.index(self._form) + step) % len(FORMS)]
        self._show_form()

    def action_copy_text(self) -> None:
        if text := self._forms[self._form].text:
            self.app.copy_to_clipboard(text)

    def action_page(self) -> None:
        if text := self._forms[self._form].text:
            self._page(text)


def _text_form(prompt: TemplateText | LMChatError) -> RequestForm:
    """Return the text that the model gets, with marked special tokens; or why there is none."""
    if isinstance(prompt, LMChatError):
        return RequestForm(shown=paragraphs(prompt.message_with_hint))
    shortened = replace(prompt, text=_shortened(prompt.text))
    parts = []
    for index, piece in enumerate(split_at_special_tokens(shortened)):
        is_special = index % 2 == 1
        parts.append(paragraphs(piece, _SPECIAL if is_special else ""))
    figure = formatting.counted(prompt.tokens, "token")
    return RequestForm(shown=Content("").join(parts), text=prompt.text, figure=figure)


def _json_form(outgoing: OutgoingRequest) -> RequestForm:
    text = json_text(outgoing)
    figure = size_text(len(outgoing.body), is_exact=True)
    return RequestForm(shown=paragraphs(_shortened(text)), text=text, figure=figure)


def _curl_form(outgoing: OutgoingRequest) -> RequestForm:
    """Return the command, or a sentence if it would be too long to be copied."""
    if len(outgoing.body) > _MAX_COMMAND_BYTES:
        size = size_text(len(outgoing.body), is_exact=True)
        sentence = f"This request has {size}, which is too much to copy as a command."
        hint = "In a shell: lmchat ask --dry-run=curl > request.sh"
        return RequestForm(shown=paragraphs(f"{sentence} {hint}"))
    text = curl_command(outgoing)
    return RequestForm(shown=paragraphs(_shortened(text)), text=text)


def _shortened(text: str) -> str:
    """Return a text, of a long one its ends, and between them a line about what is left out."""
    left_out = len(text) - 2 * _END_CHARS
    if left_out <= 0:
        return text
    note = f"… {formatting.tokens(left_out)} characters more; o opens all of them in the pager …"
    return f"{text[:_END_CHARS]}\n\n{note}\n\n{text[-_END_CHARS:]}"
