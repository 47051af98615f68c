"""Help screen: every command with its key, from the table of commands."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from lmchat.commands.table import COMMANDS, Command, Scope, keys_of
from lmchat.safe_text import safe_line
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.widgets.key_bar import written
from lmchat.tui.widgets.line import MUTED, STRONG, StyledTexts
from lmchat.tui.widgets.row_list import ListRow, heading_row


class HelpEntry(NamedTuple):
    """Keys, what they do, and the slash command."""

    keys: str
    title: str
    slash: str = ""


_PROMPT: tuple[HelpEntry, ...] = (
    HelpEntry("Enter", "Send; queue it while an answer streams"),
    HelpEntry("^J, Alt+Enter", "New line; also Shift+Enter if the terminal supports it"),
    HelpEntry("↑", "In an empty prompt: earlier prompts"),
    HelpEntry("/", "At the start of a line: commands; Tab completes them"),
    HelpEntry("@", "A file by a part of its name"),
    HelpEntry("!", "At the start of a line: a command of your shell"),
    HelpEntry("^Z", "Undo"),
)
_READING: tuple[HelpEntry, ...] = (
    HelpEntry("PageUp, PageDown", "Scroll, also from the prompt"),
    HelpEntry("Home, End", "To the start or end; also from an empty prompt"),
    HelpEntry("↑ ↓", "With a message focused: scroll by a line"),
    HelpEntry("Wheel", "Scroll; at the end, follow the answer again"),
)
_FIND: tuple[HelpEntry, ...] = (
    HelpEntry("Enter, ↓", "Next hit"),
    HelpEntry("↑, Shift+Enter", "Previous hit"),
    HelpEntry("Tab", "Go to the hit; there use n and N"),
    HelpEntry("Esc", "Close; the words are kept for next time"),
)
_MOUSE: tuple[HelpEntry, ...] = (
    HelpEntry("Drag", "Select; drag past the edge to scroll"),
    HelpEntry("2 or 3 clicks", "Select a word, a paragraph"),
    HelpEntry("Shift+drag", "The terminal's own selection, in most terminals"),
)
_NOTES = {Scope.MESSAGE: "; slash commands act on the last answer"}
_KEY_WIDTH = 22  # cells
_NARROW_KEY_WIDTH = 14
_WIDE = 70  # columns from which a row has both the key and the slash command


class HelpScreen(ListDialog[None]):
    """List of keys and commands that can be read and filtered."""

    HEADING = "Keys and commands"
    HINTS = (("↑ ↓", "scroll"),)
    PLACEHOLDER = "Type a word or a key"

    def __init__(self, keys: Mapping[str, str] | None = None) -> None:
        """Create the screen; `keys` are the configuration's overrides by command id."""
        super().__init__()
        self._keys = keys or {}

    def action_take(self) -> None:
        """Close the help on Enter: there is no row to choose."""
        self.dismiss(None)

    def draw(self) -> None:
        """Draw the entries that have all typed words, in their groups below headings."""
        typed_words = self.typed.casefold().split()
        rows: list[ListRow] = []
        for heading, entries in self._groups():
            matches = [entry for entry in entries if _has_words(entry, typed_words)]
            if not matches:
                continue
            if rows:
                rows.append(ListRow())
            rows.append(heading_row(heading, STRONG))
            rows += [_row(entry, width=self.list.text_width) for entry in matches]
        filtered = safe_line(self.typed, limit=30)
        self.show_rows(rows, nothing=f"No command has “{filtered}”. Backspace shows all.")

    def _groups(self) -> Iterator[tuple[str, Sequence[HelpEntry]]]:
        """Yield the headings of the help in order, each with its entries."""
        yield "The prompt", _PROMPT
        yield "Reading", _READING
        for scope in Scope:
            commands = [command for command in COMMANDS if command.scope is scope]
            # without doubles: the nine commands for recent models have one entry
            entries = dict.fromkeys(map(self._entry, commands))
            yield f"{scope}{_NOTES.get(scope, '')}", list(entries)
        yield "Find in this session", _FIND
        yield "The mouse in the chat", _MOUSE

    def _entry(self, command: Command) -> HelpEntry:
        """Return the entry of a command; the same one for all nine recent models."""
        if command.command_id.startswith("model_"):
            return HelpEntry("Alt+1 … Alt+9", "Switch to a recent model by its number")
        keys = written(keys_of(command, self._keys))
        return HelpEntry(keys, command.title, command.slash)


def _has_words(entry: HelpEntry, words: Sequence[str]) -> bool:
    """Return whether each word, in small letters, is somewhere in an entry."""
    text = " ".join(entry).casefold()
    return all(word in text for word in words)


def _row(entry: HelpEntry, *, width: int) -> ListRow:
    """Return the row of an entry: keys, what they do, and on a wide screen the slash command.

    A command without keys has its slash command in their place. `width` is in cells. The row
    begins at the left edge, as a heading does: no row of the help can be chosen.
    """
    is_wide = width >= _WIDE
    first = entry.keys or entry.slash
    key_width = _KEY_WIDTH if is_wide else _NARROW_KEY_WIDTH
    padding = " " * max(key_width - cell_len(first), 1)
    right: StyledTexts = ()
    if is_wide and entry.keys:
        right = ((entry.slash, MUTED),)
    return ListRow((((first + padding, STRONG), (entry.title, "")),), right, is_heading=True)
