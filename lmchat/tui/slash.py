"""What a line that begins with `/` means; pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from lmchat.tui.commands import COMMANDS, Command

ALIASES: Mapping[str, str] = {
    "/answer": "/retry",
    "/branch": "/fork",
    "/branches": "/tree",
    "/exit": "/quit",
    "/less": "/pager",
    "/open": "/file",
    "/q": "/quit",
    "/redo": "/retry",
    "/regen": "/retry",
    "/regenerate": "/retry",
    "/resume": "/continue",
    "/rename": "/title",
}
"""What people try, and what it is called here."""


class SlashCommand(Struct, frozen=True, kw_only=True):
    """A command as typed."""

    command: Command
    """Its row."""
    argument: str
    """What follows its name."""


def is_command(text: str) -> bool:
    """Whether what is typed is a command rather than a prompt."""
    return text.startswith("/") and "\n" not in text


def parse_slash(line: str) -> SlashCommand | None:
    """Read `/name argument`; None where no command has this name, an alias of it, or alone begins so."""
    typed, _, argument = line.strip().partition(" ")
    name = ALIASES.get(typed, typed)
    rows = [command for command in COMMANDS if command.slash]
    exact = [command for command in rows if command.slash.split(" ")[0] == name]
    begun = [command for command in rows if command.slash.split(" ")[0].startswith(name)]
    found = exact or (begun if len(begun) == 1 else [])
    return SlashCommand(command=found[0], argument=argument.strip()) if found else None
