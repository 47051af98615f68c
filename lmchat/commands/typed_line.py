"""Parser of typed lines: whether one is a slash command or a shell command, and which.

The name of a slash command has its slash, as `/title`.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from lmchat.commands.table import SLASH_COMMANDS, Command
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line

_TYPED_CHARS = 40  # limit for an unknown command in the error

_ALIASES: Mapping[str, str] = {
    "/answer": "/retry",
    "/branch": "/fork",
    "/branches": "/tree",
    "/bye": "/quit",
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
    argument: str  # without blanks around it; empty if none was typed


def is_command(text: str) -> bool:
    """Return whether a typed text is run as a slash command; otherwise it is sent as a message.

    It is one line, and begins with a known command or with a slash and letters, which may be a
    mistyped command. A path with a second slash, as in `/tmp/x is full`, begins a message, whether
    it exists or not: this is called for each key and must not wait for the disk.
    """
    if not text.startswith("/") or "\n" in text:
        return False
    return parse_slash(text) is not None or text.partition(" ")[0][1:].isalpha()


def is_shell_command(text: str) -> bool:
    """Return whether a typed text is a command for the user's shell: `!COMMAND` on one line."""
    return text.startswith("!") and bool(text[1:].strip()) and "\n" not in text


def require_slash(line: str, *, help_by: str) -> SlashCommand:
    """Parse a slash command like `parse_slash`; raise `WrongUse` if it is unknown.

    `help_by` is the key or command that lists all commands in this front end.
    """
    slash = parse_slash(line)
    if slash is None:
        typed = safe_line(line.partition(" ")[0], limit=_TYPED_CHARS)
        hint = f"{help_by} lists the commands. Begin with a space to send it as a message."
        raise WrongUse(f"Unknown command: {typed}.", hint=hint)
    return slash


def parse_slash(line: str) -> SlashCommand | None:
    """Parse `/name argument`; return None if no command has this name, or several could be meant.

    A name may be shortened while only one command begins so. If an argument follows a shortened
    name, this command must take one. An alias is replaced by the name of its command.
    """
    typed, _, argument = line.strip().partition(" ")
    command = _command_named(_ALIASES.get(typed, typed), has_argument=bool(argument))
    if command is None:
        return None
    return SlashCommand(command=command, argument=argument.strip())


def _command_named(name: str, *, has_argument: bool) -> Command | None:
    """Return the command with a name such as `/title`, else the only one that begins with it.

    `has_argument` says whether an argument follows: a shortened name then needs a command that
    takes one. In all other cases return None.
    """
    candidates = [command for command in SLASH_COMMANDS if command.name.startswith(name)]
    for command in candidates:
        if command.name == name:
            return command
    if len(candidates) != 1:
        return None
    command = candidates[0]
    if has_argument and not command.takes_argument:
        return None
    return command
