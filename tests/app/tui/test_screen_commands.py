"""Every command of the table is answered by the screen."""

from __future__ import annotations

from inspect import signature

from textual.actions import parse

from lmchat.app.commands.table import BY_ID, COMMANDS, Scope
from lmchat.app.tui.chat_log.chat_log import ChatLog
from lmchat.app.tui.dialogs.model_picker import ModelPicker
from lmchat.app.tui.widgets.session_list import SessionList
from tests.support.chats import ACTS
from tests.support.desktop import desktop

WIDGETS = {Scope.MESSAGE: ChatLog, Scope.SESSIONS: SessionList, Scope.PICKER: ModelPicker}


async def test_each_command_is_run_at_one_place(tmp_path):
    of_widgets = [command for command in COMMANDS if command.action]
    of_list = {one.command_id for one in of_widgets if one.scope is Scope.SESSIONS}
    async with desktop(tmp_path) as desk:
        commands = desk.dispatcher.commands
        ids = [*commands.handlers, *commands.on_message, *(one.command_id for one in of_widgets)]
        assert sorted(ids) == sorted(BY_ID)
        assert set(commands.on_session) == of_list
        assert set(commands.on_message) == {f"message.{name}" for name in ACTS}


def test_each_key_of_a_widget_is_an_action_of_it():
    for command in COMMANDS:
        if command.action:
            _, name, parameters = parse(command.action)
            action = getattr(WIDGETS[command.scope], f"action_{name}")
            signature(action).bind("the widget", *parameters)
