"""Every command of the table is answered by the screen."""

from __future__ import annotations

from inspect import signature

from lmchat.commands.table import COMMANDS
from tests.support.desktop import desktop


async def test_each_command_names_a_function_that_takes_its_parameters(tmp_path):
    async with desktop(tmp_path) as desk:
        for command in COMMANDS:
            if command.on_message:
                signature(desk.dispatch.function_of(command.on_message)).bind("a message")
            if command.action:
                continue  # run by the widget that has the keys
            takes = signature(desk.dispatch.function_of(command.function))
            if command.takes_argument:
                takes.bind("x")
            if not command.needs_argument:
                takes.bind()
