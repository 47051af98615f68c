"""Help screen: every command with its key, from the table of commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.cells import cell_len

from lmchat.text import safe_line
from lmchat.tui.commands import COMMANDS, Command, Scope, keys_of
from lmchat.tui.screens.dialog import ListDialog
from lmchat.tui.widgets.keys_row import written
from lmchat.tui.widgets.line import MUTED, STRONG
from lmchat.tui.widgets.row_list import ListRow

Entry = tuple[str, str, str]  # keys, meaning and slash command

_PROMPT: tuple[Entry, ...] = (
    ("Enter", "Send; queue it while an answer streams", ""),
    ("^J, Alt+Enter", "New line; also Shift+Enter if the terminal supports it", ""),
    ("↑", "In an empty prompt: earlier prompts", ""),
    ("/", "At the start of a line: commands; Tab completes them", ""),
    ("@", "Before a part of a file's name: files of this folder; Enter attaches one", ""),
    ("^Z", "Undo", ""),
)
_READING: tuple[Entry, ...] = (
    ("PageUp, PageDown", "Scroll, also from the prompt", ""),
    ("Home, End", "To the start or end; also from an empty prompt", ""),
    ("↑ ↓", "With a message focused: scroll by a line", ""),
    ("Wheel", "Scroll; at the end, follow the answer again", ""),
)
_FIND: tuple[Entry, ...] = (
    ("Enter, ↓", "Next hit", ""),
    ("↑, Shift+Enter", "Previous hit", ""),
    ("Tab", "Go to the hit; there use n and N", ""),
    ("Esc", "Close; the words are kept for next time", ""),
)
_MOUSE: tuple[Entry, ...] = (
    ("Drag", "Select; drag past the edge to scroll", ""),
    ("2 or 3 clicks", "Select a word, a paragraph", ""),
    ("Shift+drag", "The terminal's own selection, in most terminals", ""),
)
_ALSO = {
    Scope.MESSAGE: "; slash commands act on the last answer"
}  # what else commands act on, and how
_KEY_WIDTH = 22
_NARROW_KEY_WIDTH = 14
_WIDE = 70


class HelpScreen(ListDialog[None]):
    """List of commands that can be read and filtered."""

    HEADING = "Keys and commands"
    HINTS = (("↑ ↓", "scroll"),)
    PLACEHOLDER = "Type a word or a key"

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        """Create the screen; `keys` are the configuration's overrides by command id."""
        super().__init__()
        self._keys = keys or {}

    def action_take(self) -> None:
        self.dismiss(None)

    def draw(self) -> None:
        typed = self.typed.casefold().split()
        rows: list[ListRow] = []
        for heading, entries in self._groups():
            shown = [
                entry
                for entry in entries
                if all(word in " ".join(entry).casefold() for word in typed)
            ]
            if shown:
                rows += [ListRow()] if rows else []
                rows.append(ListRow((((heading, STRONG),),), is_heading=True))
                rows += [_row(*entry, width=self.list.text_width) for entry in shown]
        filtered = safe_line(self.typed, limit=30)
        self.show_rows(rows, nothing=f"No command has “{filtered}”. Backspace shows all.")

    def _groups(self) -> Iterator[tuple[str, list[Entry]]]:
        yield "The prompt", list(_PROMPT)
        yield "Reading", list(_READING)
        for scope in Scope:
            commands = [command for command in COMMANDS if command.scope is scope]
            entries = dict.fromkeys(map(self._entry, commands))  # nine of them are one
            yield scope.value + _ALSO.get(scope, ""), list(entries)
        yield "Find in this session", list(_FIND)
        yield "The mouse in the chat", list(_MOUSE)

    def _entry(self, command: Command) -> Entry:
        if command.command_id.startswith("model_"):
            return "Alt+1 … Alt+9", "Switch to a recent model by its number", ""
        return written(keys_of(command, self._keys)), command.title, command.slash


def _row(keys: str, title: str, slash: str, *, width: int) -> ListRow:
    is_wide = width >= _WIDE
    first = keys or slash
    padding = " " * max((_KEY_WIDTH if is_wide else _NARROW_KEY_WIDTH) - cell_len(first), 1)
    right = ((slash, MUTED),) if is_wide and keys else ()
    return ListRow((((first + padding, STRONG), (title, "")),), right, is_heading=True)
