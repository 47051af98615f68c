"""Commands that the palette offers: those that apply now, and the user's presets and profiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from lmchat.commands.table import COMMANDS, Command, Scope
from lmchat.safe_text import safe_line
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.message_actions import MessageActions
from lmchat.tui.dialogs.palette import PaletteEntry

_ALSO_IN_CHAT = ("message.copy", "message.regenerate", "message.fork")
"""Commands on a message that also exist, under other names, for the last answer."""
_OF_THE_SESSION = ("message.tree", "message.undo")
"""Commands of a focused message that do not depend on it."""
_NAME_LENGTH = 40


def palette_entries(
    chat: Chat, messages: MessageActions, *, is_over_chat: bool
) -> list[PaletteEntry]:
    """Return the commands to offer; of those on a message, only what can be done with it now.

    With a focused message, its commands come first. Otherwise those on the last answer come last.
    If another screen covers the chat, no commands on a message are offered, and no presets and
    profiles.
    """
    general = [*_entries_of(Scope.CHAT), *_entries_of(Scope.APP)]
    if not is_over_chat:
        return general
    general += [PaletteEntry(command, command.title) for command in _configured(chat)]
    log = chat.widgets.log
    if chat.widgets.has_log_focus and log.focused_message is not None:
        # who types "copy" with a focused message means this message, not the last answer
        others = [entry for entry in general if entry.command.command_id != "copy"]
        return [*_message_entries(messages, "This message"), *others]
    return [*general, *_message_entries(messages, "Last answer", excluded=_ALSO_IN_CHAT)]


def _entries_of(scope: Scope) -> list[PaletteEntry]:
    """Return the commands of a scope that the palette lists, with their titles."""
    commands = [command for command in COMMANDS if command.scope is scope]
    return [PaletteEntry(command, command.title) for command in commands if command.is_offered]


def _message_entries(
    messages: MessageActions, subject: str, *, excluded: Sequence[str] = ()
) -> Iterator[PaletteEntry]:
    """Yield the commands that can do something with the focused message, else the last answer.

    Args:
        messages: What runs these commands.
        subject: Words for the message, as `Last answer`; the titles begin with them.
        excluded: Ids of commands to leave out.
    """
    for entry in _entries_of(Scope.MESSAGE):
        command_id = entry.command.command_id
        act = command_id.partition(".")[2]
        if command_id in excluded or messages.unavailable_reason(act):
            continue
        is_general = command_id in _OF_THE_SESSION
        yield entry if is_general else replace(entry, title=f"{subject}: {entry.title}")


def _configured(chat: Chat) -> Iterator[Command]:
    """Yield a command for each preset and profile of the configuration."""
    named = chat.workspace.named
    for name in named.presets():
        start = f"/p {name} "  # put into the prompt: a text for the preset may follow
        yield _command("preset", name, f"/p {name}", f"prompt_text.begin_command({start!r})")
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
