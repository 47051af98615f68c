"""What a line that begins with `/` means; pure."""

from __future__ import annotations

from msgspec import Struct

from lmchat.tui.commands import COMMANDS, Command


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
    """Read `/name argument`; None where no command has this name or begins with it alone."""
    name, _, argument = line.strip().partition(" ")
    rows = [command for command in COMMANDS if command.slash]
    exact = [command for command in rows if command.slash.split(" ")[0] == name]
    begun = [command for command in rows if command.slash.split(" ")[0].startswith(name)]
    found = exact or (begun if len(begun) == 1 else [])
    return SlashCommand(command=found[0], argument=argument.strip()) if found else None
