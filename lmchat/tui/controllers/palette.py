"""The command palette and the help: lists of commands that run the chosen one."""

from __future__ import annotations

from collections.abc import Callable

from lmchat.commands.table import COMMANDS, Command, Scope
from lmchat.tui.controllers.server_search import ServerSearch
from lmchat.tui.dialogs.commands_dialog import (
    CommandItem,
    CommandsDialog,
    help_groups,
    item_of,
    named_items,
)
from lmchat.tui.messages import RunCommand
from lmchat.tui.screen_services import ScreenServices

_OF_THE_SESSION = ("message.tree", "message.undo")  # they do not depend on the focused message


class Palette:
    """Lists the commands, and runs the one that is chosen."""

    def __init__(
        self,
        ui: ScreenServices,
        server_search: ServerSearch,
        can_run: Callable[[Command], bool],
    ) -> None:
        """Create it; `can_run` says whether a command could act now."""
        self._ui = ui
        self._server_search = server_search
        self._can_run = can_run

    def open(self) -> None:
        """Show the commands that can do something now, and run the chosen one.

        If another screen covers the chat, commands on messages are left out. Otherwise they come
        first if a message is focused; if none is, they are about the last answer, and come last.
        """
        keys, widgets = self._ui.workspace.settings.keys, self._ui.widgets
        offered = [command for command in COMMANDS if command.is_offered]
        others = [
            item_of(command, keys)
            for command in offered
            if command.scope in (Scope.CHAT, Scope.APP)
        ]
        others += named_items(self._ui.workspace.settings)
        is_focused = widgets.focused_message is not None
        subject = "This message" if is_focused else "Last answer"
        # a command that concerns the whole session names no message as its subject
        of_message = [
            item_of(command, keys, "" if command.command_id in _OF_THE_SESSION else subject)
            for command in offered
            if command.scope is Scope.MESSAGE and self._can_run(command)
        ]
        if self._ui.app.screen is not self._ui.screen:  # the user does not see the message
            of_message = []
        items = [*of_message, *others] if is_focused else [*others, *of_message]
        # one group, without a heading
        self._ui.open_dialog(CommandsDialog("Commands", {"": items}), self._run_chosen)

    def open_help(self) -> None:
        """Show all commands and keys, and run the chosen one.

        While a message has the focus, the commands on messages come first: `?` asks for them there.
        """
        groups = help_groups(self._ui.workspace.settings.keys)
        if self._ui.widgets.has_log_focus:
            of_message = next(name for name in groups if name.startswith(Scope.MESSAGE))
            groups = {of_message: groups.pop(of_message), **groups}
        self._ui.open_dialog(CommandsDialog("Keys and commands", groups), self._run_chosen)

    def _run_chosen(self, item: CommandItem | None) -> None:
        """A command of the chat closes the welcome page first, so that its effect is seen."""
        if item is None or item.command is None:
            return
        command = item.command
        if command.scope is not Scope.APP:
            self._server_search.leave_page()
        self._ui.screen.post_message(RunCommand(command.command_id, item.argument))
