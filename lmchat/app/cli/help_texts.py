"""Texts of `--help`, written from the table in `subcommands.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from textwrap import indent, wrap

from lmchat.app.cli.subcommands import COMMON_ARGUMENTS, PROGRAM, SUBCOMMANDS, Argument, Subcommand

DESCRIPTION = """\
Chat with the language models on this machine.
Without a command, lmchat opens the chat screen.
"""
_END = """\
More: health, detect, metrics. `lmchat COMMAND --help` describes a command, with examples. \
Exit codes: 0 success, 1 the server, the answer or a file failed, 2 wrong command or \
configuration, 3 no server, 130 interrupted."""
_FORMS = {None: "{}", "?": "[{}]", "*": "[{} ...]", "+": "{} ..."}  # of arguments, by `nargs`
_MOST_NAME_COLUMNS = 20  # of a list; a longer name has a line of its own

_NO_BREAK = "\N{NO-BREAK SPACE}"

_Rows = Sequence[tuple[str, str]]
"""Names and their meanings."""


def help_of_program(columns: int) -> str:
    width = max(len(command.name) for command in SUBCOMMANDS)
    groups = (
        _listed(heading, [(f"{one.name:<{width}}", one.help) for one in commands], columns)
        for heading, commands in groupby(SUBCOMMANDS, lambda command: command.group)
        if heading
    )
    options = _rows((*COMMON_ARGUMENTS, *PROGRAM.arguments))
    return _joined(
        "usage: lmchat [OPTIONS] [COMMAND]\n",
        DESCRIPTION,
        *groups,
        _listed("Options", options, columns),
        _wrapped(_END, columns),
    )


def help_of_command(prog: str, command: Subcommand, columns: int) -> str:
    """`prog` is the program with the names of the command."""
    own = command.all_arguments
    positional = [one for one in own if not one.is_option]
    words = [_FORMS[one.keywords.get("nargs")].format(one.value) for one in positional]
    if command.commands:
        words.append("[ACTION]")
    common = ", ".join(
        f"{one.names[0]}{_NO_BREAK}{one.value}".rstrip() for one in command.common_arguments
    )
    return _joined(
        _wrapped(f"usage: {' '.join((prog, '[OPTIONS]', *words))}", columns),
        _wrapped(f"{command.help[:1].upper()}{command.help[1:]}.", columns),
        _listed("Arguments", _rows(positional), columns),
        _listed("Actions", [(one.name, one.help) for one in command.commands], columns),
        _listed("Options", _rows(one for one in own if one.is_option), columns),
        _wrapped(f"Common options (see `lmchat --help`): {common}", columns).replace(
            _NO_BREAK, " "
        ),
        f"Example:\n{indent(command.examples, '  ')}\n",
        f"{command.notes}\n" if command.notes else "",
    )


def _rows(arguments: Iterable[Argument]) -> _Rows:
    return [(one.spelling, str(one.keywords["help"])) for one in arguments]


def _joined(*parts: str) -> str:
    return "\n".join(part for part in parts if part)


def _wrapped(text: str, columns: int) -> str:
    lines = wrap(text, columns, break_on_hyphens=False)
    return "".join(f"{line}\n" for line in lines)


def _listed(heading: str, rows: _Rows, columns: int) -> str:
    """Return rows below a heading; "" without rows."""
    width = min(max((len(name) for name, _ in rows), default=0), _MOST_NAME_COLUMNS)
    lines: list[str] = []
    for name, meaning in rows:
        head = f"  {name:<{width}}  "
        if len(name) > width:
            lines.append(head.rstrip())
            head = " " * (width + 4)
        lines += wrap(
            meaning,
            max(columns, len(head) + width),
            initial_indent=head,
            subsequent_indent=" " * len(head),
            break_on_hyphens=False,
        )
    return "\n".join([f"{heading}:", *lines, ""]) if rows else ""
