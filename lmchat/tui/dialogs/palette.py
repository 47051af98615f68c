"""Command palette: the rows of `COMMANDS` that apply now, with their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct

from lmchat.commands.table import Command, keys_of
from lmchat.matching import FuzzyMatch, fuzzy_match
from lmchat.safe_text import safe_line
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.widgets.key_bar import written
from lmchat.tui.widgets.line import MUTED, highlighted
from lmchat.tui.widgets.row_list import NAME, ListRow

_WIDE = 70  # columns from which a row has both the key and the slash command


class PaletteEntry(Struct, frozen=True):
    """Command, and what it is called now."""

    command: Command
    title: str


class Palette(ListDialog[Command | None]):
    """List of commands with a fuzzy filter; returns the chosen one."""

    HEADING = "Commands"
    HINTS = (("Enter", "run it"), ("↑ ↓", "choose"))
    PLACEHOLDER = "Type part of a name"

    def __init__(
        self, entries: Sequence[PaletteEntry] = (), keys: Mapping[str, str] | None = None
    ) -> None:
        """Create the palette; `keys` are the configuration's overrides by command id."""
        super().__init__()
        self._entries = entries
        self._keys = keys or {}

    def draw(self) -> None:
        """Draw the commands that match the typed text, the best first; the cursor is on that one.

        A key may arrive while the dialog is being left; then nothing is drawn.
        """
        if not self.can_show:
            return
        typed = self.typed
        tried = [(entry, _match(typed, entry)) for entry in self._entries]
        matches = [(entry, found) for entry, found in tried if found is not None]
        matches.sort(key=lambda match: match[1].score, reverse=True)
        rows = [self._row(entry, found) for entry, found in matches]
        nothing = f"No command matches “{safe_line(typed, limit=30)}”. Backspace shows all."
        self.show_rows(rows, choose=rows[0].key if rows else None, nothing=nothing)

    def _row(self, entry: PaletteEntry, found: FuzzyMatch) -> ListRow:
        """Return the row of a command: its title, and its key and slash command at the right.

        On a narrow screen, only the first of these two is shown.
        """
        title = highlighted(entry.title, found.offsets, NAME)
        keys = written(keys_of(entry.command, self._keys))
        ways = [way for way in (keys, entry.command.slash) if way]
        if self.list.text_width < _WIDE:
            ways = ways[:1]
        right = f"{'   '.join(ways)} "
        return ListRow((((" ", ""), *title),), ((right, MUTED),), key=entry.command)

    def action_take(self) -> None:
        if isinstance(self.list.key, Command):
            self.dismiss(self.list.key)


def _match(typed: str, entry: PaletteEntry) -> FuzzyMatch | None:
    """Match the typed text with the title of an entry, or else with its slash command.

    A match with the slash command has no offsets, since only the title is highlighted. Return None
    without a match.
    """
    found = fuzzy_match(typed, entry.title)
    if found is not None:
        return found
    by_name = fuzzy_match(typed, entry.command.name)
    return None if by_name is None else FuzzyMatch(score=by_name.score, offsets=())
