"""Command palette: the rows of `COMMANDS` that apply now, with their keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from lmchat.commands.table import COMMANDS, Command, Scope, keys_of
from lmchat.matching import FuzzyMatch, fuzzy_match
from lmchat.safe_text import safe_line
from lmchat.tui.dialogs.dialog import ListDialog
from lmchat.tui.dialogs.model_picker import highlighted
from lmchat.tui.screen import ChatScreen
from lmchat.tui.widgets.key_bar import written
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import NAME, ListRow

_ALSO_IN_CHAT = ("message.copy", "message.regenerate", "message.fork")
"""Commands on a message that also exist, under other names, for the last answer."""
_OF_THE_SESSION = ("message.tree", "message.undo")
"""Commands of a focused message that do not depend on it."""
_WIDE = 70  # columns from which a row has both the key and the slash command
_NAME_LENGTH = 40


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


def palette_entries(chat: ChatScreen | None) -> list[PaletteEntry]:
    """Return the commands to offer; of those on a message, only what can be done with it now.

    With a focused message, its commands come first. Otherwise those on the last answer come last.
    `chat` is None if another screen covers the chat: then no commands on a message are offered, and
    no presets and profiles.
    """
    general = [*_entries_of(Scope.CHAT), *_entries_of(Scope.APP)]
    if chat is None:
        return general
    general += [PaletteEntry(command, command.title) for command in _configured(chat)]
    log = chat.widgets.log
    if chat.widgets.has_log_focus and log.focused_message is not None:
        # who types "copy" with a focused message means this message, not the last answer
        others = [entry for entry in general if entry.command.command_id != "copy"]
        return [*_message_entries(chat, "This message"), *others]
    return [*general, *_message_entries(chat, "Last answer", excluded=_ALSO_IN_CHAT)]


def _entries_of(scope: Scope) -> list[PaletteEntry]:
    """Return the commands of a scope that the palette lists, with their titles."""
    commands = [command for command in COMMANDS if command.scope is scope]
    return [PaletteEntry(command, command.title) for command in commands if command.is_offered]


def _message_entries(
    chat: ChatScreen, subject: str, *, excluded: Sequence[str] = ()
) -> Iterator[PaletteEntry]:
    """Yield the commands that can do something with the focused message, else the last answer.

    Args:
        chat: The chat screen.
        subject: Words for the message, as `Last answer`; the titles begin with them.
        excluded: Ids of commands to leave out.
    """
    for entry in _entries_of(Scope.MESSAGE):
        command_id = entry.command.command_id
        act = command_id.partition(".")[2]
        if command_id in excluded or chat.messages.unavailable_reason(act):
            continue
        is_general = command_id in _OF_THE_SESSION
        yield entry if is_general else replace(entry, title=f"{subject}: {entry.title}")


def _configured(chat: ChatScreen) -> Iterator[Command]:
    """Yield a command for each preset and profile of the configuration."""
    named = chat.workspace.named
    for name in named.presets():
        start = f"/p {name} "  # put into the prompt: a text for the preset may follow
        yield _command("preset", name, f"/p {name}", f"slash({start!r})")
    for name in named.profiles():
        yield _command("profile", name, f"/profile {name}", f"use_profile({name!r})")


def _command(kind: str, name: str, slash: str, action: str) -> Command:
    """Return a row of the table of commands for a preset or a profile."""
    title = f"{kind.capitalize()}: {safe_line(name, limit=_NAME_LENGTH)}"
    return Command(
        command_id=f"{kind}.{name}",
        keys="",
        label=kind,
        title=title,
        scope=Scope.CHAT,
        action=action,
        slash=safe_line(slash, limit=_NAME_LENGTH),
    )
