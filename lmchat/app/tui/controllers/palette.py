"""The command palette and the help: lists of commands that run the chosen one."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lmchat.app.commands.table import BY_ID, COMMANDS, Command, Scope
from lmchat.app.tui.controllers.server_search import ServerSearch
from lmchat.app.tui.dialogs.commands_dialog import (
    CommandItem,
    CommandsDialog,
    help_groups,
    item_of,
    named_items,
)
from lmchat.app.tui.messages import RunCommand
from lmchat.app.tui.screen_services import ScreenServices

_OF_THE_SESSION = ("message.tree", "message.undo")  # they do not depend on the focused message


class Palette(Struct, eq=False):
    """Lists the commands, and runs the one that is chosen."""

    _ui: ScreenServices
    _server_search: ServerSearch

    def open(self, can_run: Callable[[Command], bool]) -> None:
        """Show the commands that can do something now, and run the chosen one.

        If another screen covers the chat, commands on messages are left out. Otherwise they come
        first if a message is chosen; if none is, they are about the last answer.
        """
        keys = self._ui.workspace.settings.keys
        offered = [command for command in COMMANDS if command.is_offered and can_run(command)]
        of_chat = [
            item_of(command, keys)
            for command in offered
            if command.scope is Scope.CHAT or command.command_id in _OF_THE_SESSION
        ]
        of_message = [
            replace(item_of(command, keys), slash=_slash(command))
            for command in offered
            if command.scope is Scope.MESSAGE and command.command_id not in _OF_THE_SESSION
        ]
        if self._ui.app.screen is not self._ui.screen:  # the user does not see the message
            of_message = []
        groups = {Scope.CHAT.value: [*of_chat, *named_items(self._ui.workspace.settings)]}
        if of_message and self._ui.widgets.log.focused_message is not None:
            groups = {"This message": of_message, **groups}
        elif of_message:
            groups["Last answer"] = of_message
        groups[Scope.APP.value] = [
            item_of(command, keys) for command in offered if command.scope is Scope.APP
        ]
        self._ui.open_dialog(CommandsDialog("Commands", groups), self._run_chosen)

    def open_help(self) -> None:
        """Show all commands and keys, and run the chosen one.

        Those of the place that has the focus come first: `?` asks for them there.
        """
        groups = help_groups(self._ui.workspace.settings.keys)
        widgets = self._ui.widgets
        for has_focus, scope in (
            (widgets.has_log_focus, Scope.MESSAGE),
            (widgets.session_list.has_focus, Scope.SESSIONS),
        ):
            if has_focus:
                own = next(name for name in groups if name.startswith(scope))
                groups = {own: groups.pop(own), **groups}
        self._ui.open_dialog(CommandsDialog("Keys and commands", groups), self._run_chosen)

    def _run_chosen(self, item: CommandItem) -> None:
        """A command of the chat closes the welcome page first, so that its effect is seen."""
        if (command := item.command) is None:
            return
        if command.scope is not Scope.APP:
            self._server_search.leave_page()
        self._ui.screen.post_message(RunCommand(command.command_id, item.argument))


def _slash(command: Command) -> str:
    """Return the slash command of one on messages; for `message.copy`, it is that of `copy`."""
    of_last_answer = BY_ID.get(command.command_id.removeprefix("message."))
    return command.slash or ("" if of_last_answer is None else of_last_answer.slash)
