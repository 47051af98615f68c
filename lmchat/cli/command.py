"""The form of a row in the table of commands, and what several of them share."""

from __future__ import annotations

from typing import Any, NamedTuple


class Argument(NamedTuple):
    """One argument, as argparse takes it; a `NamedTuple`, because importing dataclasses costs 16 ms."""

    names: tuple[str, ...]
    """Its name, or its option strings."""
    form: dict[str, Any]
    """All else."""


class Command(NamedTuple):
    """One command."""

    name: str
    """What is typed."""
    help: str
    """One line."""
    examples: tuple[str, ...]
    """Lines that can be tried."""
    handler: str
    """`module:function` below `lmchat.cli`, imported when the command runs."""
    arguments: tuple[Argument, ...] = ()
    """Its own; the shared ones come by themselves."""
    commands: tuple[Command, ...] = ()
    """Actions below it."""
    is_json_always: bool = False
    """Whether its output is JSON without `--json`."""
    notes: str = ""
    """What `--help` says after the examples."""


def argument(*names: str, **form: Any) -> Argument:
    """Return an argument as argparse takes it."""
    return Argument(names, form)


def switch(*names: str, **form: Any) -> Argument:
    """Return an option without a value."""
    return Argument(names, {"action": "store_true", **form})


JSON = switch("--json", help="print one JSON document")
JSON_ANYWAY = switch("--json", help="no effect: the output is JSON anyway")
ID = argument("id", metavar="ID", help="session: its id, the first 4 or more of it, or `last`")
