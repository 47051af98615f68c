"""One question: with an input (a title, a file name, an address), or to be answered with yes."""

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
    """Dismisses with what was typed; says under the input why something cannot be taken."""

    def __init__(
        self,
        title: str,
        *,
        text: str = "",
        value: str = "",
        verb: str = "take it",
        check: Callable[[str], str] | None = None,
    ) -> None:
        """`check` returns why a text cannot be taken, or nothing; it is asked on Enter."""
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
        """Return what there is to know, the input, and room for why it cannot be taken."""
        if self._text:
            yield Static(content(((self._text, MUTED),)), classes="words gap")
        yield Field(self._value)
        yield Static("", classes="verdict gap")

    def on_mount(self) -> None:
        self.add_class("-small")
        self._has_input = True
        self.add_typed(self._early)

    def on_key(self, event: events.Key) -> None:
        """Take what was typed before the input had the focus: it lets no letter pass that it was given."""
        if event.is_printable and event.character:
            event.stop()
            self.add_typed(event.character)

    def add_typed(self, text: str) -> None:
        """Add to what is typed, also before the input is there."""
        if self._has_input:
            self.query_one(Input).insert_text_at_cursor(text)
        else:
            self._early += text

    def show_problem(self, words: str) -> None:
        """Say why what was typed cannot be taken."""
        self._say(f"! {safe_line(words)}" if words else "", "$error")

    def show_note(self, words: str) -> None:
        """Say what becomes of what was typed."""
        self._say(safe_line(words), MUTED)

    def _say(self, words: str, style: str) -> None:
        if self.can_show:
            self.query_one(".verdict", Static).update(content(((words, style),)))

    @on(Input.Changed)
    def forget_problem(self, event: Input.Changed) -> None:
        """What was said was about another text."""
        event.stop()
        self.show_problem("")

    @on(Input.Submitted)
    def take(self, event: Input.Submitted) -> None:
        """Leave with the text, if it can be taken."""
        event.stop()
        typed = event.value.strip()
        problem = self._check(typed) if self._check else "" if typed else "Type something, or leave with Esc."
        if problem:
            self.show_problem(problem)
        else:
            self.accept(typed)

    def accept(self, typed: str) -> None:
        """Do with what was typed what it was asked for."""
        self.dismiss(typed)


class ConfirmDialog(Dialog[bool | None]):
    """Dismisses with True on Enter, with None on Esc."""

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
        """Leave with yes."""
        self.dismiss(True)


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
