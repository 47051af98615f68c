"""Dialog for the file and the contents of an export."""

from __future__ import annotations

import re
from typing import ClassVar

from msgspec import Struct
from msgspec.structs import replace
from textual.binding import Binding, BindingType

from lmchat.tui.dialogs.ask_dialog import AskDialog, Attempt

_OPTION = r"^(--reasoning|--branches)(?: |$)|(?:^| )(--reasoning|--branches)$"
"""Option before the file's name (`--reasoning chat.md`) as group 1, or behind it as group 2."""


class ExportRequest(Struct, frozen=True, kw_only=True):
    """File and contents of an export."""

    name: str
    with_reasoning: bool = False
    with_branches: bool = False


def parse_export(words: str) -> ExportRequest:
    """Parse the argument of `/export`: a file's name, which may be empty, with options around it.

    An option is removed from the start or the end of the text while there is one.
    """
    name = words.strip()
    options = set[str]()
    while match := re.search(_OPTION, name):
        options.add(match[1] or match[2])
        name = (name[: match.start()] + name[match.end() :]).strip()
    return ExportRequest(
        name=name,
        with_reasoning="--reasoning" in options,
        with_branches="--branches" in options,
    )


class ExportDialog(AskDialog):
    """Question for the file and the contents of an export; its attempt gets an `ExportRequest`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "toggle_reasoning", priority=True),
        Binding("ctrl+b", "toggle_branches", priority=True),
    ]

    def __init__(self, request: ExportRequest, attempt: Attempt, *, proposed: str) -> None:
        super().__init__(
            "Export to which file?",
            value=request.name or proposed,
            verb="export",
            hints=(("^R", "reasoning"), ("^B", "branches")),
            attempt=attempt,
        )
        self._request = request

    def on_mount(self) -> None:
        self.show_problem("")

    def action_toggle_reasoning(self) -> None:
        self._request = replace(self._request, with_reasoning=not self._request.with_reasoning)
        self.show_problem("")

    def action_toggle_branches(self) -> None:
        self._request = replace(self._request, with_branches=not self._request.with_branches)
        self.show_problem("")

    def show_problem(self, words: str) -> None:
        """Show why the name is rejected; without words, what the file will contain."""
        if words:
            super().show_problem(words)
            return
        reasoning = "yes" if self._request.with_reasoning else "no"
        branches = "yes" if self._request.with_branches else "no"
        self.show_note(f"Reasoning: {reasoning}   Other branches: {branches}")

    def accept(self, typed: str) -> None:
        super().accept(replace(self._request, name=typed))
