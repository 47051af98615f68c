"""Help screen: every command with its key, from the table of commands."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from rich.cells import cell_len
from textual import on
from textual.message import Message
from textual.widget import Widget
from textual.widgets import Input

from lmchat.text import safe_line
from lmchat.tui.commands import COMMANDS, Command, Scope, keys_of
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.field import Field
from lmchat.tui.widgets.keys_row import written
from lmchat.tui.widgets.line import MUTED, STRONG
from lmchat.tui.widgets.row_list import ListRow, RowList, words_as_rows

_PROMPT: tuple[tuple[str, str], ...] = (
    ("Enter", "Send; while an answer comes, queue it"),
    ("^J, Alt+Enter", "New line; also Shift+Enter where the terminal can tell"),
    ("↑", "In an empty prompt: earlier prompts"),
    ("/", "At the start of a line: commands; Tab completes them"),
    ("^Z", "Undo"),
)
_READING: tuple[tuple[str, str], ...] = (
    ("PageUp, PageDown", "Scroll, also from the prompt; what is read stays still"),
    ("Home, End", "To the beginning, to the end; from an empty prompt, too"),
    ("↑ ↓", "With a message focused: scroll by a line"),
    ("Wheel", "Scroll; at the end the answer is followed again"),
)
_FIND: tuple[tuple[str, str], ...] = (
    ("Enter, ↓", "Next hit"),
    ("↑, Shift+Enter", "Previous hit"),
    ("Tab", "Read on at the hit; there n and N go on and back"),
    ("Esc", "Leave; the words stay for the next time"),
)
_MOUSE: tuple[tuple[str, str], ...] = (
    ("Drag", "Select; beyond the edge the chat scrolls"),
    ("Twice, three times", "Select a word, a paragraph; a drag goes on by them"),
    ("Shift+drag", "The terminal's own selection, in most terminals"),
)
_ALSO = {Scope.MESSAGE: "; as a slash command, the last answer"}
"""What else commands act on, and how."""
_NUMBERED = "model_"
_KEY_WIDTH = 22
_NARROW_KEY_WIDTH = 14
_WIDE = 70


class HelpScreen(ListDialog[None]):
    """List of commands that can be read and filtered."""

    TITLE_TEXT = "Keys and commands"
    HINTS = (("↑ ↓", "scroll"),)

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        """Create the screen; `keys` are the configuration's overrides by command id."""
        super().__init__()
        self._keys = keys or {}

    def compose_content(self) -> Iterable[Widget]:
        yield Field(placeholder="Type a word or a key")
        yield RowList()

    def on_mount(self) -> None:
        self.call_after_refresh(self.draw)

    @on(Input.Changed)
    def filter_commands(self, event: Input.Changed) -> None:
        event.stop()
        self.draw()

    @on(Input.Submitted)
    def leave(self, event: Message) -> None:
        event.stop()
        self.dismiss(None)

    def draw(self) -> None:
        typed = self.query_one(Field).value.casefold().split()
        rows: list[ListRow] = []
        for heading, entries in self._groups():
            shown = [entry for entry in entries if all(word in " ".join(entry).casefold() for word in typed)]
            if shown:
                rows += [ListRow()] if rows else []
                rows.append(ListRow((((heading, STRONG),),), is_heading=True))
                rows += [_row(*entry, width=self.list.text_width) for entry in shown]
        if not rows:
            words = (
                f"No command has *{safe_line(self.query_one(Field).value, limit=30)}*. Backspace shows all."
            )
            rows = words_as_rows(words, self.list.text_width)
        self.list.show(rows)
        self.fit_list(len(rows))

    def _groups(self) -> Iterator[tuple[str, list[tuple[str, str, str]]]]:
        yield "The prompt", [(key, title, "") for key, title in _PROMPT]
        yield "Reading", [(key, title, "") for key, title in _READING]
        for scope in Scope:
            rows = [self._entry(command) for command in COMMANDS if _is_listed(command, scope)]
            yield scope.value + _ALSO.get(scope, ""), rows
        yield "Find in this session", [(key, title, "") for key, title in _FIND]
        yield "The mouse in the chat", [(key, title, "") for key, title in _MOUSE]

    def _entry(self, command: Command) -> tuple[str, str, str]:
        if command.command_id.startswith(_NUMBERED):
            return "Alt+1 … Alt+9", "Switch to that recent model", ""
        return written(keys_of(command, self._keys)), command.title, command.slash


def _is_listed(command: Command, scope: Scope) -> bool:
    is_later_number = command.command_id.startswith(_NUMBERED) and command.command_id != f"{_NUMBERED}1"
    return command.scope is scope and not is_later_number


def _row(keys: str, title: str, slash: str, *, width: int) -> ListRow:
    is_wide = width >= _WIDE
    first = keys or slash
    padding = " " * max((_KEY_WIDTH if is_wide else _NARROW_KEY_WIDTH) - cell_len(first), 1)
    right = ((slash, MUTED),) if is_wide and keys else ()
    return ListRow((((first + padding, STRONG), (title, "")),), right, is_heading=True)
