"""Manual page of the commands, for `tests.support.reference`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from lmchat.app.cli.help_texts import DESCRIPTION
from lmchat.app.cli.subcommands import COMMON_ARGUMENTS, SUBCOMMANDS, Argument, Subcommand

_EXIT_CODES = (
    ("0", "success"),
    ("1", "the server, the answer or a file failed"),
    ("2", "invalid command or configuration"),
    ("3", "no server found"),
    ("130", "interrupted"),
)


def manual_page() -> str:
    """Return docs/lmchat.1, in the macros of man(7)."""
    lines = [
        '.\\" Written by python -m tests.support.reference; a test compares it with the program.',
        '.TH LMCHAT 1 "" lmchat "User Commands"',
        ".SH NAME",
        "lmchat \\- chat with language models on your own machine",
        ".SH SYNOPSIS",
        ".B lmchat",
        "[\\fIOPTION\\fR]... [\\fICOMMAND\\fR [\\fIARGUMENT\\fR]...]",
        ".SH DESCRIPTION",
        *_text(DESCRIPTION),
        ".SH OPTIONS",
        *_items(COMMON_ARGUMENTS),
        ".SH COMMANDS",
        *_commands("lmchat", SUBCOMMANDS),
        ".SH EXIT STATUS",
    ]
    lines += [line for code, meaning in _EXIT_CODES for line in (".TP", code, *_text(meaning))]
    return "\n".join(lines) + "\n"


def _commands(before: str, commands: Iterable[Subcommand]) -> Iterator[str]:
    for command in commands:
        name = f"{before} {command.name}"
        yield f".SS {_escaped(name)}"
        yield from _text(f"{command.help[0].upper()}{command.help[1:]}.")
        yield from _items(command.all_arguments)
        common = ", ".join(one.names[0] for one in command.common_arguments)
        yield from (".PP", *_text(f"Common options: {common}"))
        yield from (".PP", ".EX", *_text(command.examples), ".EE")
        if command.notes:
            yield from (".PP", *_text(command.notes))
        yield from _commands(name, command.commands)


def _items(arguments: Iterable[Argument]) -> Iterator[str]:
    for one in arguments:
        names = ", ".join(one.names) if one.is_option else ""
        value = one.value
        name = f'"{_escaped(names)} " {_escaped(value)}' if names and value else names or value
        yield from (".TP", f".BI {name}" if names and value else f".B {_escaped(name)}")
        yield from _text(str(one.keywords.get("help", "")))


def _text(text: str) -> list[str]:
    return [_escaped(line) for line in text.splitlines() if line]


def _escaped(text: str) -> str:
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
