"""Dialog that asks into which file a session is exported, and shows what Enter will write."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace
from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Input, Static

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.widgets.field import Field
from lmchat.app.tui.widgets.line import MUTED, STRONG, StyledText, content, cut_middle
from lmchat.base.errors import WrongUse
from lmchat.base.units import SIGNS
from lmchat.core.formats.exports import EXPORT_FORMATS
from lmchat.core.formats.exports.render import form_of
from lmchat.core.library.library import ExportAs

_WORDS = {"md": "Markdown", "txt": "text"}  # else the ending in capitals
_FOLDER_CELLS = 24
# columns from which all formats are shown
_WIDE = 16 + sum(5 + len(_WORDS.get(one, one.upper())) for one in EXPORT_FORMATS)


class ExportDialog(AskDialog):
    """Question for a file; the ending of its name is the format."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("tab", "next_format", priority=True),
        Binding("ctrl+r", "switch('with_reasoning')", priority=True),
        Binding("ctrl+u", "clear", priority=True),
        Binding("ctrl+b", "switch('with_branches')", priority=True),
    ]

    def __init__(
        self,
        name: str,
        write: Callable[[str, ExportAs], Awaitable[object]],
        contents: ExportAs,
        *,
        folder: str,
        figure: str,
    ) -> None:
        """`name` and `contents` are those at first; `write` is an `Attempt` that gets both.

        `folder` is that of names without one, as it is shown; empty if it is not known. `figure`
        says in a word or two what is exported.
        """
        super().__init__(
            "Export this session",
            value=name,
            verb="export",
            attempt=lambda typed: write(typed, self._contents),
        )
        self._contents = contents
        self._folder = folder
        self._figure = figure

    def compose_content(self) -> Iterable[Widget]:
        yield Field(self._value)
        yield Static(classes="words", id="export-choices")
        yield Static(classes="problem")

    def on_mount(self) -> None:
        self._go_before_ending()

    def on_resize(self) -> None:
        self.call_after_refresh(self.draw)

    @property
    def _input(self) -> Input:
        return self.query_one(Input)

    @property
    def _form(self) -> str:
        """The format that the name asks for; empty for an unknown ending."""
        try:
            return form_of(Path(self._input.value.strip()))
        except WrongUse:
            return ""

    @on(Input.Changed)
    def draw(self) -> None:
        if not self.can_show:
            return
        self.show_figures(self._figure)
        name = self._input.value.strip()
        has_folder = "/" in name or os.sep in name or name.startswith("~")
        folder = "" if has_folder or not self._folder else cut_middle(self._folder, _FOLDER_CELLS)
        self.query_one(Field).show_note(f"in {folder}" if folder else "")
        is_json = self._form == "json"
        choices = self.query_one("#export-choices", Static)
        formats: list[StyledText] = []
        for one in EXPORT_FORMATS:
            word = _WORDS.get(one, one.upper())
            if one == self._form:
                formats += [(f"{SIGNS.ready} {word}", ""), ("   ", "")]
            elif choices.size.width >= _WIDE:
                formats += [(f"{SIGNS.off} {word}", MUTED), ("   ", "")]
        reasoning = "included" if self._contents.with_reasoning or is_json else "left out"
        versions = "all" if self._contents.with_branches or is_json else "those shown"
        rows = [
            _choice("Tab", "format", formats),
            _choice("^R", "reasoning", [(reasoning, "")]),
            _choice("^B", "versions", [(versions, "")]),
        ]
        choices.update(Content("\n").join(rows))

    def _go_before_ending(self) -> None:
        field = self._input
        field.cursor_position = len(field.value) - len(Path(field.value).suffix)

    def action_next_format(self) -> None:
        """Give the name the ending of the next format; a folder has none."""
        forms = [*EXPORT_FORMATS]
        name = self._input.value.strip()
        form = self._form
        if name.endswith(("/", os.sep)) or not Path(name).name:
            return
        next_form = forms[(forms.index(form) + 1) % len(forms)] if form else forms[0]
        stem = name.removesuffix(Path(name).suffix) if form else name
        self._input.value = f"{stem}.{next_form}"
        self._go_before_ending()

    def action_clear(self) -> None:
        """Clear also the ending, behind the cursor: another name may have its own."""
        self._input.clear()

    def action_switch(self, part: str) -> None:
        is_included = getattr(self._contents, part)
        self._contents = replace(self._contents, **{part: not is_included})
        self.draw()


def _choice(key: str, word: str, value: list[StyledText]) -> Content:
    return content(((f"{key:<5}", STRONG), (f"{word:<11}", MUTED), *value)).rstrip()
