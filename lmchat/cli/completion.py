"""`lmchat completion`: the shell's script, made out of the parser."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import shtab

from lmchat.cli.parser import build_parser
from lmchat.cli.parts import Parts

_PLACES = {"FILE": shtab.FILE, "DIR": shtab.DIRECTORY}
"""What is completed where an argument stands for it, by the word of the help."""


def completion(parts: Parts) -> int:
    """Print the script for a shell."""
    parser = build_parser()
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar in _PLACES:
            vars(action)["complete"] = _PLACES[action.metavar]  # where shtab looks
    parts.output.text(shtab.complete(parser, shell=parts.options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to see what was added
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                yield from _actions(below)
