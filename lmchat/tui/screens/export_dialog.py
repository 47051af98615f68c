"""Asks for the file of an export, and what is to be in it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from msgspec import Struct
from textual.binding import Binding, BindingType

from lmchat.tui.screens.ask_dialog import AskDialog
from lmchat.tui.widgets.keys_row import Hint

REASONING, BRANCHES = "--reasoning", "--branches"
"""As on the command line; they may stand in front of the file's name or behind it."""


class ExportWish(Struct, frozen=True, kw_only=True):
    """What to export where."""

    name: str
    """The file, as typed; empty where none is named."""
    with_reasoning: bool = False
    """With what the models thought."""
    with_branches: bool = False
    """With all versions of prompts and answers."""


class ExportDialog(AskDialog):
    """Dismisses with the words of a wish."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+r", "change('--reasoning')", show=False, priority=True),
        Binding("ctrl+b", "change('--branches')", show=False, priority=True),
    ]

    def __init__(self, wish: ExportWish, *, proposed: str) -> None:
        super().__init__("Export to which file?", value=wish.name or proposed, verb="export")
        self._extras = {REASONING: wish.with_reasoning, BRANCHES: wish.with_branches}

    def hints(self) -> Iterable[Hint]:
        return (*super().hints(), ("^R", "thoughts"), ("^B", "branches"))

    def on_mount(self) -> None:
        super().on_mount()
        self._tell()

    def action_change(self, extra: str) -> None:
        """Take something into the file, or leave it out."""
        self._extras[extra] = not self._extras[extra]
        self._tell()

    def show_problem(self, words: str) -> None:
        """Say why the name cannot be taken; where it can, what will be in the file."""
        if words:
            super().show_problem(words)
        else:
            self._tell()

    def accept(self, typed: str) -> None:
        """Leave with the name and what was chosen."""
        self.dismiss(" ".join([*(extra for extra, is_wanted in self._extras.items() if is_wanted), typed]))

    def _tell(self) -> None:
        words = {REASONING: "thoughts", BRANCHES: "other branches"}
        told = [
            f"{'with' if is_wanted else 'without'} {words[extra]}"
            for extra, is_wanted in self._extras.items()
        ]
        self.show_note(", ".join(told))


def wish_of(words: str) -> ExportWish:
    """Read what was typed behind `/export`: a file, and what is to be in it."""
    name, extras = words.strip(), set[str]()
    while True:
        first, _, behind = name.partition(" ")
        before, _, last = name.rpartition(" ")
        if first in (REASONING, BRANCHES):
            extras.add(first)
            name = behind.strip()
        elif last in (REASONING, BRANCHES):
            extras.add(last)
            name = before.strip()
        else:
            break
    return ExportWish(name=name, with_reasoning=REASONING in extras, with_branches=BRANCHES in extras)
