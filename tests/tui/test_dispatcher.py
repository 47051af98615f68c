"""Every command of the table is answered by the screen."""

from __future__ import annotations

from inspect import signature

from textual.actions import parse

from lmchat.commands.table import COMMANDS, Scope
from lmchat.tui.chat_log.chat_log import ChatLog
from lmchat.tui.dialogs.model_picker import ModelPicker
from lmchat.tui.widgets.session_list import SessionList
from tests.support.desktop import desktop

WIDGETS = {Scope.MESSAGE: ChatLog, Scope.SESSIONS: SessionList, Scope.PICKER: ModelPicker}


async def test_each_command_names_a_function_that_takes_its_parameters(tmp_path):
    async with desktop(tmp_path) as desk:
        for command in COMMANDS:
            if command.is_widget_action:
                _, name, parameters = parse(command.runs)
                action = getattr(WIDGETS[command.scope], f"action_{name}")
                signature(action).bind("the widget", *parameters)
                continue
            takes = signature(desk.dispatcher.function_of(command.runs))
            if command.takes_message:
                takes.bind("a message")
                continue
            if command.takes_argument:
                takes.bind("x")
            if not command.needs_argument:
                takes.bind()
