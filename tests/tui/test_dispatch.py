"""Every command of the table is answered by the screen."""

from __future__ import annotations

from inspect import signature

from textual.actions import parse

from lmchat.commands.table import COMMANDS, Scope
from tests.support.desktop import desktop


async def test_each_command_names_a_function_that_takes_its_parameters(tmp_path):
    async with desktop(tmp_path) as desk:
        for command in COMMANDS:
            if command.scope not in (Scope.APP, Scope.CHAT):
                continue  # run by the widget that has the keys
            owner, name, parameters = parse(command.action)
            place = getattr(desk.dispatch, owner) if owner else desk.dispatch
            takes = signature(getattr(place, name))
            if command.takes_argument:
                takes.bind(*parameters, "x")
            if not command.needs_argument:
                takes.bind(*parameters)
