"""Parser of the command line, built from the table in `subcommands.py`.

Common options may precede or follow a command; its own options only follow it. An action is a
command of a command, such as `show` in `lmchat sessions show`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from lmchat import __version__
from lmchat.cli.help_texts import help_of_command, help_of_program
from lmchat.cli.leaf import MissingLeafError
from lmchat.cli.options import ParsedOptions
from lmchat.cli.subcommands import ALWAYS_JSON, COMMON_ARGUMENTS, MISSING, SUBCOMMANDS, Subcommand
from lmchat.config.settings import SamplingSettings
from lmchat.errors import WrongUse
from lmchat.matching import closest_word
from lmchat.safe_text import os_text, safe_line, shell_word
from lmchat.terminal.output import Output

_PROGRAM = "lmchat"
_FILES = ("FILE", "DIR")  # in a help text
# Stands for an argument `--` after the first `--`: before Python 3.13, argparse may remove both. No
# argument can have a NUL.
_DASHES = "--\0"
# Commands of other programs, of other commands and of earlier versions, and what does the same.
COMMANDS_INSTEAD = {
    "lmchat version": "lmchat --version",
    **dict.fromkeys(("lmchat list", "lmchat ls", "lmchat ps"), "lmchat models"),
    "lmchat rm": "lmchat models rm MODEL",
    **dict.fromkeys(("lmchat pull", "lmchat get"), "lmchat models pull NAME"),
    "lmchat load": "lmchat models load MODEL",
    "lmchat unload": "lmchat models unload MODEL",
    "lmchat run": "lmchat -m MODEL",
    **dict.fromkeys(("lmchat chat", "lmchat start"), "lmchat"),
    "lmchat prompt": 'lmchat ask "PROMPT"',
    **dict.fromkeys(("lmchat logs", "lmchat history"), "lmchat sessions"),
    "lmchat show": "lmchat sessions show ID",
    "lmchat status": "lmchat doctor",
    "lmchat settings": "lmchat config show",
    "lmchat mcp": "lmchat tools",
    **dict.fromkeys(("lmchat models list", "lmchat models ls"), "lmchat models"),
    **dict.fromkeys(("lmchat models remove", "lmchat models delete"), "lmchat models rm MODEL"),
    **dict.fromkeys(("lmchat sessions list", "lmchat sessions ls"), "lmchat sessions"),
    **dict.fromkeys(("lmchat sessions rm", "lmchat sessions remove"), "lmchat sessions delete ID"),
    "lmchat sessions export": "lmchat export ID",
    "lmchat sessions search": "lmchat search WORDS",
    **dict.fromkeys(("lmchat tools rm", "lmchat tools delete"), "lmchat tools remove NAME"),
    "lmchat tools ls": "lmchat tools",
    "lmchat replay": 'the recipe "Ask for a saved answer again" in docs/scripts.md',
}
# The same for options; those of sampling are in `_option_instead`.
OPTIONS_INSTEAD = {
    **dict.fromkeys(("-c", "--continue"), "-r last"),
    **dict.fromkeys(("--cid", "--conversation"), "-r ID"),
    "-s": "--system TEXT",
    **dict.fromkeys(("-t", "--template"), "-p NAME"),
    **dict.fromkeys(("-o", "--option"), "--set NAME=VALUE"),
    **dict.fromkeys(("-a", "--attachment"), "-f FILE"),
    **dict.fromkeys(("-x", "--extract"), "--code"),
    **dict.fromkeys(("--url", "--base-url", "--host"), "--endpoint URL"),
    **dict.fromkeys(("--think", "--thinking"), "--effort low"),
    **dict.fromkeys(("--format", "--plot"), "--json"),
    "-f": "--format json",
    "-v": "--version",
}
_ASK = 'To send a prompt: lmchat ask "PROMPT".'
_LIKENESS = 0.81  # least one of a misspelt word; `version` and `sessions` have 0.67
_MOST_CHARS = 300  # of a message, which may quote a long argument


class _Parser(argparse.ArgumentParser):
    """Parser that raises `WrongUse` instead of exiting."""

    command: Subcommand | None = None  # None: `lmchat` itself

    def format_help(self) -> str:
        columns = shutil.get_terminal_size().columns - 2
        if self.command is None:
            return help_of_program(columns)
        return help_of_command(self.prog, self.command, columns)

    def error(self, message: str) -> NoReturn:
        """Write a message of argparse as a sentence."""
        sentence = message.removeprefix("argument ")
        # argparse says "ignored" of what it refuses, as in --json=yes
        sentence = sentence.replace("ignored explicit argument", "does not take")
        sentence = sentence.replace("the following arguments are required", "missing")
        sentence = safe_line(sentence.replace(_DASHES, "--"), limit=_MOST_CHARS)
        next_step = f"Run `{self.prog} --help` for usage."
        if message.startswith("unrecognized"):
            next_step = (
                "Put a prompt in quotes, and the options of a command after the command; "
                "`lmchat COMMAND --help` lists them."
            )
        raise WrongUse(f"{sentence[:1].upper()}{sentence[1:]}.", next_step=next_step)

    def _print_message(self, message: str, _file: object = None) -> None:
        """Print help and version as all other output, on stdout."""
        Output().print_exactly(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the line that does what the word of another program does, or all commands."""
        if not isinstance(action, argparse._SubParsersAction) or value in action.choices:  # noqa: SLF001 - argparse has no public name for it
            super()._check_value(action, value)
            return
        if self.prog == _PROGRAM and value in MISSING:
            raise MissingLeafError(value)
        is_prompt = self.prog == _PROGRAM and " " in value
        may_have_password = "://" in value or "@" in value  # of an address: it is not repeated
        typed = safe_line(value, limit=_MOST_CHARS)
        commands = tuple(action.choices)
        message = f"Unknown command {typed!r}."
        next_step = f"Run `{self.prog} --help` for usage."
        if is_prompt:
            is_whole = typed == value and not may_have_password
            message = "A prompt needs a command."
            next_step = f"Use: lmchat ask {shell_word(value)}" if is_whole else _ASK
        elif may_have_password:
            message = "Unknown command. To connect to a server: lmchat --endpoint URL."
        elif line := COMMANDS_INSTEAD.get(f"{self.prog} {value}"):
            next_step = f"Use: {line}"
        elif suggestion := closest_word(value, commands, _LIKENESS):
            message = f"Unknown command {typed!r}; did you mean {suggestion}?"
        else:
            message = f"Unknown command {typed!r}; commands: {', '.join(commands)}."
            if self.prog == _PROGRAM:  # it may be meant as a prompt
                next_step = f"{_ASK} {next_step}"
        raise WrongUse(message, next_step=next_step)


def parse(argv: Sequence[str]) -> ParsedOptions:
    """Raises `WrongUse`, also for an option that the command does not take.

    For `--help` and `--version`, argparse prints the text and raises `SystemExit`.
    """
    if argv[:1] == ["help"]:  # as in git and cargo
        argv = [*argv[1:], "--help"]
    if "--" in argv:
        end = list(argv).index("--") + 1
        argv = [*argv[:end], *(_DASHES if word == "--" else word for word in argv[end:])]
    parser = build_parser()
    actions = [*arguments_of(parser)]
    prog, taken = options_taken(argv)
    try:
        options = parser.parse_args(argv, namespace=ParsedOptions())
    except MissingLeafError:
        raise
    except WrongUse as error:
        # the error may be about the value of an unknown option; an error that names the option
        # helps more
        known = {name for action in actions for name in action.option_strings}
        for word, following in zip(argv, [*argv[1:], ""], strict=True):
            if word == "--":
                break
            # in the same word, as in `--model=NAME` and `-mNAME`
            option, _, value = word.partition("=") if word.startswith("--") else (word[:2], "", "")
            if not re.match("--?[a-z]", word) or option in taken or word in taken:
                continue
            instead = _option_instead(word, option, value or following)
            if instead.partition(" ")[0] not in taken:
                instead = ""
            if option in known or instead:
                raise _not_taken(prog, option, instead) from None
            shown = safe_line(option, limit=_MOST_CHARS)
            suggestion = closest_word(option, taken, _LIKENESS)
            ending = f"; did you mean {suggestion}?" if suggestion else "."
            raise WrongUse(f"Unknown option: {shown}{ending}", next_step=error.next_step) from None
        raise
    given = vars(options)
    used = {action.dest for action in actions if not {*action.option_strings} - {*taken}}
    for action in actions:
        if action.dest in given.keys() - used:
            raise _not_taken(prog, action.option_strings[-1])
    names_of_files = {action.dest for action in actions if action.metavar in _FILES}
    for name, value in given.items():
        is_file = name in names_of_files
        if isinstance(value, str):
            setattr(options, name, _typed(value, is_file=is_file))
        elif isinstance(value, list):
            setattr(options, name, [_typed(word, is_file=is_file) for word in value])
    return options


def options_taken(argv: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """Return the program with the command of a line, and the options that it takes."""
    prog, commands, command = _PROGRAM, SUBCOMMANDS, None
    with_value = {name for one in COMMON_ARGUMENTS if one.value for name in one.names}
    for before, word in zip(("", *argv), argv, strict=False):
        for one in commands:
            if one.name == word and before not in with_value:
                command, commands, prog = one, one.commands, f"{prog} {word}"
                break
    arguments = (
        [*COMMON_ARGUMENTS]
        if command is None
        else [*command.all_arguments, *command.common_arguments]
    )
    names = [name for one in arguments if one.is_option for name in one.names]
    return prog, (*names, "-h", "--help", *([] if command else ["--version"]))


def _option_instead(word: str, option: str, value: str) -> str:
    """Return the option that does what one of another program does, or ""."""
    name = option.removeprefix("--").replace("-", "_")
    if name in SamplingSettings.__struct_fields__:
        value = "VALUE" if not value or value.startswith("--") else value
        return f"--set {name}={safe_line(value, limit=_MOST_CHARS)}"
    return OPTIONS_INSTEAD.get(option, "") if option in word.split("=") else ""


def _not_taken(prog: str, option: str, instead: str = "") -> WrongUse:
    next_step = f"Use {instead}." if instead else f"`{prog} --help` lists what it takes."
    return WrongUse(
        f"`{prog}` does not take {safe_line(option, limit=_MOST_CHARS)}.", next_step=next_step
    )


def _typed(word: str, *, is_file: bool) -> str:
    """Return a word as it was typed: a name of a file by its bytes, others as UTF-8."""
    word = "--" if word == _DASHES else word
    if is_file and not word:  # as a path, it would be the current folder
        raise WrongUse(
            "The name of a file is empty.", next_step="Is a variable of your script unset?"
        )
    if is_file:
        with suppress(UnicodeEncodeError):  # surrogates that stand for no bytes
            os.fsencode(word)
            return word
    return os_text(word)


def build_parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=_PROGRAM, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    for common in COMMON_ARGUMENTS:
        parser.add_argument(*common.names, **common.keywords)
    parser.add_argument("--version", action="version", version=f"lmchat {__version__}")
    _add_commands(parser, SUBCOMMANDS)
    return parser


def _add_commands(parser: _Parser, commands: Sequence[Subcommand], module: str = "") -> None:
    """Add commands, or the actions of one, whose handlers are in `module`."""
    adder = parser.add_subparsers(
        prog=parser.prog,
        metavar="ACTION" if module else "COMMAND",
        parser_class=_Parser,
    )
    for command in commands:
        command_parser = adder.add_parser(
            command.name,
            help=command.help,
            argument_default=argparse.SUPPRESS,  # keeps an option before the command, too
            allow_abbrev=False,
        )
        command_parser.command = command
        handler = command.handler or f"{module}:{command.name}"
        command_parser.set_defaults(handler=handler, names_left_files=command.names_left_files)
        if command.json_help == ALWAYS_JSON:
            command_parser.set_defaults(json=True)
        group_by_option: dict[str, Any] = {}
        for options in command.exclusive:
            group = command_parser.add_mutually_exclusive_group()
            group_by_option |= dict.fromkeys(options, group)
        # also before an action that takes it; without that action, `parse` refuses it
        takers = (command, *command.commands)
        common = (
            one
            for one in COMMON_ARGUMENTS
            if any(one in taker.common_arguments for taker in takers)
        )
        for one in (*command.all_arguments, *common):
            place = group_by_option.get(one.names[0], command_parser)
            place.add_argument(*one.names, **one.keywords)
        if command.commands:
            _add_commands(command_parser, command.commands, handler.partition(":")[0])


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser, its commands and their actions."""
    # argparse calls an argument an action
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to see what was added
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command_parser in action.choices.values():
                yield from arguments_of(command_parser)
