"""Parser of typed lines: whether one is a slash command or a shell command, and which.

The name of a slash command has its slash, as `/title`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from msgspec import Struct

from lmchat.app.commands.table import SLASH_COMMANDS, Command
from lmchat.base.errors import WrongUse
from lmchat.base.matching import did_you_mean
from lmchat.base.safe_text import safe_line
from lmchat.core.config.settings import SamplingSettings

_TYPED_CHARS = 40  # limit for an unknown command in the error

_ALIASES: Mapping[str, str] = {
    **{alias: command.name for command in SLASH_COMMANDS for alias in command.aliases},
    # without a slash, in which case they may also be meant for the model
    "exit": "/quit",
    "quit": "/quit",
    "q": "/quit",
    ":q": "/quit",
}

_TAKE_WORDS_IN_PLAIN = ("message.edit", "sessions")  # where the chat has no list to choose from


class SlashCommand(Struct, frozen=True, kw_only=True):
    command: Command
    argument: str  # without blanks around it; empty if none was typed


def is_command(text: str, *, is_plain: bool = False) -> bool:
    """Whether a typed text is run as a slash command; otherwise it is sent as a message.

    It is one line, and starts with a command or with a slash and letters, which may be a mistyped
    command, or it is a word that ends other programs. These start a message: a path with a second
    slash, the name of a folder of `/`, and a command before words that it does not take. In the
    plain chat (`is_plain`), a few commands take other words.
    """
    if not (text.startswith("/") or text in _ALIASES) or "\n" in text:
        return False
    if parse_slash(text, is_plain=is_plain) is not None:
        return True
    name, words = _divided(text)
    is_message = words and _command_named(name) is not None
    return name[1:].isalpha() and not is_message and name[1:] not in _root_folders()


def message_notice(text: str, *, is_plain: bool = False) -> str:
    """Return why a text that starts with a command is sent as a message; "" for other texts."""
    if not text.startswith("/") or "\n" in text or is_command(text, is_plain=is_plain):
        return ""
    name, words = _divided(text)
    command = _command_named(name)
    if command is None or not words:
        return ""
    if name != command.name and _takes_words(command, is_plain=is_plain):
        return f"Words belong behind the whole name {command.name}, so this was sent as a message."
    return f"{name} takes no words, so this was sent as a message."


@cache
def _root_folders() -> frozenset[str]:
    """Return the names in `/`: `/etc` and `/home and garden?` are no mistyped commands.

    They are not looked at: a network folder among them may hang.
    """
    try:
        return frozenset(os.listdir(os.sep))  # noqa: PTH208 - names alone are needed
    except OSError:
        return frozenset()


def is_shell_command(text: str) -> bool:
    """Whether a typed text is `!COMMAND` on one line."""
    return text.startswith("!") and bool(text[1:].strip()) and "\n" not in text


def require_slash(line: str, *, help_by: str, is_plain: bool = False) -> SlashCommand:
    """Parse a slash command; raise `WrongUse` if it is unknown.

    `help_by` is the key or command that lists all commands in this front end.
    """
    slash = parse_slash(line, is_plain=is_plain)
    if slash is None:
        name, _ = _divided(line)
        typed = safe_line(name, limit=_TYPED_CHARS)
        named = [one.name for one in SLASH_COMMANDS if name[1:] in one.words.split()]
        known = (*(command.name for command in SLASH_COMMANDS), *_ALIASES)
        ending = f"; see {' or '.join(named)}." if named else did_you_mean(typed, known)
        next_step = f"{help_by} lists the commands. Begin with a space to send it as a message."
        if name[1:] in SamplingSettings.__struct_fields__:
            ending = "."
            next_step = f"Use: /set {name[1:]} VALUE"
        raise WrongUse(f"Unknown command: {typed}{ending}", next_step=next_step)
    return slash


def parse_slash(line: str, *, is_plain: bool = False) -> SlashCommand | None:
    """Parse `/name argument`; return None if no command has this name, or several could be meant.

    A name may be shortened only without an argument: before words, it may start a sentence. A
    command that takes no argument is meant only if none follows. An alias is replaced.
    """
    name, words = _divided(line)
    command = _command_named(name)
    if command is None:
        return None
    is_whole_name = command.name == _ALIASES.get(name, name)
    if words and not (is_whole_name and _takes_words(command, is_plain=is_plain)):
        return None
    if not is_whole_name and name[1:] in _root_folders():
        return None
    return SlashCommand(command=command, argument=words)


def _divided(line: str) -> tuple[str, str]:
    name, *words = line.split(maxsplit=1) or [""]
    return name, words[0].strip() if words else ""


def _command_named(name: str) -> Command | None:
    """Return the command with a name such as `/title`, else the only one that starts with it."""
    name = _ALIASES.get(name, name)
    candidates = [command for command in SLASH_COMMANDS if command.name.startswith(name)]
    for command in candidates:
        if command.name == name:
            return command
    return candidates[0] if len(candidates) == 1 else None


def _takes_words(command: Command, *, is_plain: bool) -> bool:
    return command.takes_argument or (is_plain and command.command_id in _TAKE_WORDS_IN_PLAIN)
