"""Messages to the dispatcher that belong to no widget, their base class, and keys of commands."""

from __future__ import annotations

from inspect import get_annotations
from typing import Any, ClassVar, dataclass_transform

from textual.binding import Binding, BindingType
from textual.message import Message

from lmchat.app.commands.table import COMMANDS, Scope


@dataclass_transform()
class AppMessage(Message):
    """Message that takes its annotated attributes as arguments.

    No dataclass: to define one takes 0.2 ms, and its `repr` could bring values into a log.
    """

    IS_LATEST_ENOUGH: ClassVar[bool] = False  # one takes the place of others that still wait
    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._names = (*cls._names, *get_annotations(cls))

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        # the last attributes may be in `named`
        self.__dict__.update(zip(self._names, values, strict=False), **named)

    def can_replace(self, message: Message) -> bool:
        return self.IS_LATEST_ENOUGH and type(message) is type(self)


class RunCommand(AppMessage):
    """Request to run a command of the table."""

    command_id: str
    argument: str = ""


class ShowChat(AppMessage):
    """Request to show the chat in place of the welcome screen."""

    is_typed: bool = False  # as something is typed; else the user has left the page


class ReadSessions(AppMessage):
    """Request to read the list of sessions again: another lmchat may have started some."""


class ShowChanges(AppMessage):
    """Request to show what has changed: stats, list of sessions, row of keys."""

    IS_LATEST_ENOUGH = True


def bindings(scope: Scope) -> list[BindingType]:
    """Return the bindings of the widget or app that has the commands of a scope.

    A command without an `action` of that widget calls `LMChatApp.action_run`. One without a key
    gets the name of a key that no keyboard has, for the configuration to give it another.
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
