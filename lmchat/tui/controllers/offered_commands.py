"""Commands that the palette offers: those that apply now, and the user's presets and profiles."""

from __future__ import annotations

from collections.abc import Iterator

from lmchat.commands.table import BY_ID, COMMANDS, Command, Scope
from lmchat.safe_text import safe_line
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.message_actions import MessageActions
from lmchat.tui.dialogs.commands_dialog import CommandRow, row_of

_ALSO_IN_CHAT = ("message.copy", "message.regenerate", "message.fork")
"""Commands on a message that also exist, under other names, for the last answer."""
_OF_THE_SESSION = ("message.tree", "message.undo")
"""Commands of a focused message that do not depend on it."""
_NAME_LENGTH = 40


def palette_entries(
    chat: Chat, messages: MessageActions, *, is_over_chat: bool
) -> list[CommandRow]:
    """Return the commands to offer; of those on a message, only what can be done with it now.

    With a focused message, its commands come first. Otherwise those on the last answer come last.
    If another screen covers the chat, no commands on a message are offered, and no presets and
    profiles.
    """
    keys = chat.workspace.settings.keys
    offered = [command for command in COMMANDS if command.is_offered]
    general = [
        row_of(command, keys) for command in offered if command.scope in (Scope.CHAT, Scope.APP)
    ]
    if not is_over_chat:
        return general
    general += _configured(chat)
    is_focused = chat.widgets.has_log_focus and chat.widgets.log.focused_message is not None
    subject = "This message" if is_focused else "Last answer"
    of_message = [
        row_of(command, keys, "" if command.command_id in _OF_THE_SESSION else subject)
        for command in offered
        if command.scope is Scope.MESSAGE
        and (is_focused or command.command_id not in _ALSO_IN_CHAT)
        and not messages.unavailable_reason(command.command_id.removeprefix("message."))
    ]
    if not is_focused:
        return [*general, *of_message]
    # who types "copy" with a focused message means this message, not the last answer
    return [*of_message, *(one for one in general if one.command is not BY_ID["copy"])]


def _configured(chat: Chat) -> Iterator[CommandRow]:
    """Yield an entry for each preset and profile of the configuration."""
    settings = chat.workspace.settings
    for name in settings.prompts:
        yield _entry("preset", name, f"/p {name}", f"ask_for_preset({name!r})")
    for name in settings.profiles:
        yield _entry("profile", name, f"/profile {name}", f"use_profile({name!r})")


def _entry(kind: str, name: str, slash: str, action: str) -> CommandRow:
    """Return the entry of a preset or a profile."""
    title = f"{kind.capitalize()}: {safe_line(name, limit=_NAME_LENGTH)}"
    command = Command(
        command_id=f"{kind}.{name}",
        keys="",
        label=kind,
        title=title,
        scope=Scope.CHAT,
        action=action,
    )
    return CommandRow(title, slash=safe_line(slash, limit=_NAME_LENGTH), command=command)
