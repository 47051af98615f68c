"""Rows of the table of commands as bindings of Textual."""

from __future__ import annotations

from textual.binding import Binding, BindingType

from lmchat.commands.table import COMMANDS, Scope


def bindings(scope: Scope) -> list[BindingType]:
    """Return the bindings of the widget or app that has the commands of a scope.

    The key of a command without an `action` of that widget calls `LMChatApp.action_run`. A command
    without a key gets the name of a key that no keyboard has, so that the configuration can give it
    another.
    """
    return [
        Binding(
            command.keys or f"none-of-{command.command_id}",
            command.action or f"app.run({command.command_id!r})",
            command.label,
            show=False,
            priority=command.is_priority,
            id=command.command_id,
        )
        for command in COMMANDS
        if command.scope is scope
    ]
