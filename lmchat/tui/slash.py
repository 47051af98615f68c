"""Slash commands as typed."""

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
"""Names from other programs."""


class SlashCommand(Struct, frozen=True, kw_only=True):
    """Typed slash command."""

    command: Command
    argument: str


def is_command(text: str) -> bool:
    """Return whether a text is a command: one line that names one, or is a single word of letters.

    Everything else is a message, as a path (`/tmp/x is full, why?`) and every paste of several lines.
    """
    if not text.startswith("/") or "\n" in text:
        return False
    return text[1:].strip().isalpha() or parse_slash(text) is not None


def parse_slash(line: str) -> SlashCommand | None:
    """Parse `/name argument`; None where no command has this name or alias.

    The beginning of a name will do where no other name begins so; before other words only where the command
    takes an argument.
    """
    typed, _, argument = line.strip().partition(" ")
    name = ALIASES.get(typed, typed)
    rows = [command for command in COMMANDS if command.slash]
    exact = [command for command in rows if command.name == name]
    begun = [command for command in rows if command.name.startswith(name)]
    if not exact and (len(begun) != 1 or (argument and not begun[0].takes_argument)):
        return None
    return SlashCommand(command=(exact or begun)[0], argument=argument.strip())
