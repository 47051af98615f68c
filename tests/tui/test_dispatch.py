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
            for action, more in ((command.action, ()), (command.typed, ("x",))):
                owner, name, parameters = parse(action) if action else ("", "", None)
                if parameters is not None:
                    place = getattr(desk.dispatch, owner) if owner else desk.dispatch
                    signature(getattr(place, name)).bind(*parameters, *more)
