"""Commands of the plain chat."""

from __future__ import annotations

from inspect import signature

from lmchat.cli.plain.commands import PlainCommands
from lmchat.commands.table import COMMANDS


def test_each_command_of_the_plain_chat_names_a_method_that_takes_its_argument():
    named = [command for command in COMMANDS if command.plain]
    assert named
    for command in named:
        assert command.slash
        signature(getattr(PlainCommands, command.plain)).bind("the commands", "an argument")
