"""Which slash commands a line could become; pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from lmchat.tui.commands import COMMANDS, Command


class Completion(Struct, frozen=True, kw_only=True):
    """The commands that fit what is typed, and the one that would be taken."""

    rows: tuple[Command, ...] = ()
    """Commands in the order of the table; none where no list is to be shown."""
    chosen: int = 0
    """Place of the chosen one."""

    @property
    def is_open(self) -> bool:
        """Whether there is something to choose."""
        return bool(self.rows)

    @property
    def command(self) -> Command:
        """The chosen command; only where the list is open."""
        return self.rows[self.chosen]

    def moved(self, by: int) -> Completion:
        """Choose a row further down or up; after the last comes the first."""
        return replace(self, chosen=(self.chosen + by) % len(self.rows))


CLOSED = Completion()
"""No list."""


def complete(text: str, commands: Sequence[Command] = COMMANDS) -> Completion:
    """Return what fits one word that begins with `/`: names that begin so, else names that hold it."""
    if not text.startswith("/") or any(char.isspace() for char in text):
        return CLOSED
    rows = [command for command in commands if command.slash]
    begun = tuple(command for command in rows if name_of(command).startswith(text))
    return Completion(rows=begun or tuple(command for command in rows if text[1:] in name_of(command)))


def name_of(command: Command) -> str:
    """`/model` of `/model [N]`."""
    return command.slash.partition(" ")[0]


def takes_argument(command: Command) -> bool:
    """Whether something may follow the name."""
    return " " in command.slash


def needs_argument(command: Command) -> bool:
    """Whether something must follow the name."""
    return takes_argument(command) and not command.slash.partition(" ")[2].startswith("[")
