"""Dialogs with one question: a text input, or yes and no."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import ClassVar

from msgspec import Struct
from textual import events, on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Input, Static

from lmchat.text import safe_line, safe_text
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.keys_row import Hint
from lmchat.tui.widgets.line import MUTED, content


class AskDialog(Dialog[str | None]):
    """Text question; returns the text, and shows under the input why a text is rejected."""

    def __init__(
        self,
        title: str,
        *,
        text: str = "",
        value: str = "",
        verb: str = "take it",
        check: Callable[[str], str] | None = None,
    ) -> None:
        """Create the dialog; on Enter, `check` returns why a text is rejected, or nothing."""
        super().__init__()
        self._title, self._text = safe_line(title), safe_text(text)
        self._value, self._early = value, ""
        self._has_input = False
        self._check = check
        self._verb = verb

    def title_text(self) -> str:
        return self._title

    def hints(self) -> Iterable[Hint]:
        return (("Enter", self._verb),)

    def compose_content(self) -> Iterable[Widget]:
        if self._text:
            yield Static(content(((self._text, MUTED),)), classes="words gap")
        yield Field(self._value)
        yield Static("", classes="verdict gap")

    def on_mount(self) -> None:
        self.add_class("-small")
        self._has_input = True
        self.add_typed(self._early)

    def on_key(self, event: events.Key) -> None:
        """Add keys that were typed before the input had the focus."""
        if event.is_printable and event.character:
            event.stop()
            self.add_typed(event.character)

    def add_typed(self, text: str) -> None:
        if self._has_input:
            self.query_one(Input).insert_text_at_cursor(text)
        else:
            self._early += text

    def show_problem(self, words: str) -> None:
        self._say(f"! {safe_line(words)}" if words else "", "$error")

    def show_note(self, words: str) -> None:
        self._say(safe_line(words), MUTED)

    def _say(self, words: str, style: str) -> None:
        if self.can_show:
            self.query_one(".verdict", Static).update(content(((words, style),)))

    @on(Input.Changed)
    def forget_problem(self, event: Input.Changed) -> None:
        event.stop()
        self.show_problem("")

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        event.stop()
        typed = event.value.strip()
        problem = self._check(typed) if self._check else "" if typed else "Type something, or leave with Esc."
        if problem:
            self.show_problem(problem)
        else:
            self.accept(typed)

    def accept(self, typed: str) -> None:
        self.dismiss(typed)


class ConfirmDialog(Dialog[bool | None]):
    """Yes-or-no question; returns True on Enter and None on Esc."""

    AUTO_FOCUS = ""
    leave_word = "no"
    BINDINGS = [Binding("enter", "confirm", show=False)]  # noqa: RUF012 - as Textual declares it

    def __init__(self, title: str, *, text: str = "", verb: str = "yes") -> None:
        super().__init__()
        self._title, self._text, self._verb = safe_line(title), safe_text(text), verb

    def title_text(self) -> str:
        return self._title

    def hints(self) -> Iterable[Hint]:
        return (("Enter", self._verb),)

    def compose_content(self) -> Iterable[Widget]:
        yield Static(content(((self._text, ""),)), classes="words gap")

    def on_mount(self) -> None:
        self.add_class("-small")

    def action_confirm(self) -> None:
        self.dismiss(True)


REASONING, BRANCHES = "--reasoning", "--branches"
"""Options as on the command line, before or after the file's name."""


class ExportWish(Struct, frozen=True, kw_only=True):
    """File and contents of an export."""

    name: str
    with_reasoning: bool = False
    with_branches: bool = False


class ExportDialog(AskDialog):
    """Question for the file and the contents of an export; returns them as words."""

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
        self._extras[extra] = not self._extras[extra]
        self._tell()

    def show_problem(self, words: str) -> None:
        """Show why the name is rejected, or else what the file will contain."""
        if words:
            super().show_problem(words)
        else:
            self._tell()

    def accept(self, typed: str) -> None:
        self.dismiss(" ".join([*(extra for extra, is_wanted in self._extras.items() if is_wanted), typed]))

    def _tell(self) -> None:
        words = {REASONING: "thoughts", BRANCHES: "other branches"}
        told = [
            f"{'with' if is_wanted else 'without'} {words[extra]}"
            for extra, is_wanted in self._extras.items()
        ]
        self.show_note(", ".join(told))


def wish_of(words: str) -> ExportWish:
    """Parse the argument of `/export`."""
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
