"""Parser of the command line, built from the table in `subcommands.py`.

Common options may precede or follow a command; its own options only follow it. An action is a
command of a command, such as `show` in `lmchat sessions show`.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from textwrap import indent
from typing import Any, NoReturn

from lmchat import __version__
from lmchat.cli.options import LEVELS, ParsedOptions
from lmchat.cli.subcommands import ALWAYS_JSON, SUBCOMMANDS, Argument, Subcommand, argument
from lmchat.config.settings import EFFORTS, effort_of
from lmchat.errors import WrongUse
from lmchat.matching import closest_word, did_you_mean
from lmchat.safe_text import os_text, safe_line
from lmchat.terminal.output import Output

_PROGRAM = "lmchat"
_FILES = ("FILE", "DIR")  # in a help text
# Stands for an argument `--` after the first `--`: before Python 3.13, argparse may remove both. No
# argument can have a NUL.
_DASHES = "--\0"
# Commands and options of earlier versions, and what to use in their place.
_REMOVED = {
    "replay": 'the recipe "Ask for a saved answer again" in docs/scripts.md',
    "--dry-run=text": "`ask --dry-run` for JSON, or `ask --dry-run=curl`",
    "--plot": "`lmchat stats --json`",
}
_MOST_CHARS = 300  # of a message, which may quote a long argument
_DESCRIPTION = """\
Chat with the language models on this machine.
Without a command, lmchat opens the chat screen."""
_EPILOG = """\
examples:
  lmchat                         find the server on this machine and chat
  lmchat --endpoint http://localhost:9931 -m qwen3-8b
  git diff | lmchat ask "Write a commit message"
  lmchat COMMAND --help          what a command does, with an example

Answers go to stdout, everything else to stderr. Exit codes: 0 success,
1 the server, the answer or a file failed, 2 invalid command or configuration,
3 no server found, 130 interrupted.
"""


def _effort(word: str) -> str:
    if effort := effort_of(word):
        return effort
    raise argparse.ArgumentTypeError(f"must be {', '.join(EFFORTS)}, or a number of tokens")


# Of every command. They have no defaults here, which would overwrite an option that is typed before
# the command.
SHARED_ARGUMENTS: tuple[Argument, ...] = (
    argument("--endpoint URL", "address of the server; default: lmchat looks for one"),
    argument(
        "--allow-host HOST",
        "allow a host other than this machine",
        dest="allowed_hosts",
        action="append",
    ),
    argument("-m --model MODEL", "model to use", dest="models", action="append"),
    argument("--profile NAME", "profile of the configuration to use"),
    argument("--system TEXT", "system prompt", dest="system_prompt"),
    argument(
        "--effort LEVEL",
        f"how much the model thinks: {', '.join(EFFORTS)}, or a number of tokens",
        type=_effort,
    ),
    argument(
        "--set NAME=VALUE",
        "sampling option, such as top_k=40; may be repeated",
        dest="sampling",
        action="append",
    ),
    argument(
        "-r --resume ID",
        "continue a session: its id, its first 4 or more characters, or `last`",
    ),
    argument("--temporary", "do not save this session"),
    argument(
        "--local",
        "use the built-in engine; -m accepts a GGUF file, or USER/REPO[:QUANT] of huggingface.co",
    ),
    argument("--plain", "chat line by line, as for a screen reader; the default if TERM=dumb"),
    argument(
        "--inline", "chat in the scrollback of the terminal: as --plain, with formatted answers"
    ),
    argument("--config FILE", "configuration file to use instead of the usual one"),
    argument(
        "--log-level LEVEL",
        f"what to log, never chat text: {', '.join(LEVELS)}",
        choices=LEVELS,
    ),
)


class _Parser(argparse.ArgumentParser):
    """Parser that raises `WrongUse` instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Write a message of argparse as a sentence."""
        sentence = message.removeprefix("argument ")
        # argparse says "ignored" of what it refuses, as in --json=yes
        sentence = sentence.replace("ignored explicit argument", "does not take")
        sentence = safe_line(sentence.replace(_DASHES, "--"), limit=_MOST_CHARS)
        hint = f"Run `{self.prog} --help` for usage."
        if message.startswith("unrecognized"):
            hint = (
                "Put a prompt in quotes, and the options of a command after the command; "
                "`lmchat COMMAND --help` lists them."
            )
        raise WrongUse(f"{sentence[:1].upper()}{sentence[1:]}.", hint=hint)

    def _print_message(self, message: str, _file: object = None) -> None:
        """Print help and version as all other output, on stdout."""
        Output().print_exactly(message)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the most similar command, or all commands."""
        if not isinstance(action, argparse._SubParsersAction) or value in action.choices:  # noqa: SLF001 - argparse has no public name for it
            super()._check_value(action, value)
            return
        if value in _REMOVED and self.prog == _PROGRAM:
            raise _removed(value)
        value = safe_line(value, limit=_MOST_CHARS)
        commands = tuple(action.choices)
        hint = f"Run `{self.prog} --help` for usage."
        if "://" in value or "@" in value:  # not repeated: an address may hold a password
            message = "Unknown command. To connect to a server: lmchat --endpoint URL."
        elif suggestion := closest_word(value, commands):
            message = f"Unknown command {value!r}; did you mean {suggestion}?"
        else:
            message = f"Unknown command {value!r}; commands: {', '.join(commands)}."
            if self.prog == _PROGRAM:  # it may be meant as a prompt
                hint = f'To send a prompt: lmchat ask "PROMPT". {hint}'
        raise WrongUse(message, hint=hint)


def _removed(word: str) -> WrongUse:
    hint = f"Run `{_PROGRAM} --help` for usage."
    return WrongUse(f"{word} was removed: use {_REMOVED[word]}.", hint=hint)


def parse(argv: Sequence[str]) -> ParsedOptions:
    """Raises `WrongUse`.

    For `--help` and `--version`, argparse prints the text and raises `SystemExit`.
    """
    if list(argv) == ["help"]:  # as in git and cargo
        argv = ["--help"]
    if "--" in argv:
        end = list(argv).index("--") + 1
        argv = [*argv[:end], *(_DASHES if word == "--" else word for word in argv[end:])]
    parser = build_parser()
    try:
        options = parser.parse_args(argv, namespace=ParsedOptions())
    except WrongUse as error:
        # the error may be about the value of an unknown option; an error that names the option
        # helps more
        known = tuple(name for action in arguments_of(parser) for name in action.option_strings)
        for word in argv:
            if word.startswith("-") and word in _REMOVED:
                raise _removed(word) from None
            # in the same word, as in `--model=NAME` and `-mNAME`
            option = word.partition("=")[0] if word.startswith("--") else word[:2]
            if re.match("--?[a-z]", word) and option not in known:
                option = safe_line(option, limit=_MOST_CHARS)
                message = f"Unknown option: {option}{did_you_mean(option, known)}"
                raise WrongUse(message, hint=error.hint) from None
        raise
    names_of_files = {action.dest for action in arguments_of(parser) if action.metavar in _FILES}
    for name, value in vars(options).items():
        is_file = name in names_of_files
        if isinstance(value, str):
            setattr(options, name, _typed(value, is_file=is_file))
        elif isinstance(value, list):
            setattr(options, name, [_typed(word, is_file=is_file) for word in value])
    return options


def _typed(word: str, *, is_file: bool) -> str:
    """Return a word as it was typed: a name of a file by its bytes, others as UTF-8."""
    word = "--" if word == _DASHES else word
    if is_file and not word:  # as a path, it would be the current folder
        raise WrongUse("The name of a file is empty.", hint="Is a variable of your script unset?")
    if is_file:
        with suppress(UnicodeEncodeError):  # surrogates that stand for no bytes
            os.fsencode(word)
            return word
    return os_text(word)


def build_parser() -> argparse.ArgumentParser:
    # `SUPPRESS` keeps the value of an option before the command
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    group = shared.add_argument_group("common options")
    for shared_argument in SHARED_ARGUMENTS:
        group.add_argument(*shared_argument.names, **shared_argument.keywords)
    parser = _Parser(
        prog=_PROGRAM,
        description=_DESCRIPTION,
        epilog=_EPILOG,
        parents=[shared],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lmchat {__version__}")
    _add_commands(parser, SUBCOMMANDS, shared)
    return parser


def _add_commands(
    parser: _Parser, commands: Sequence[Subcommand], shared: _Parser, module: str = ""
) -> None:
    """Add commands, or the actions of one, whose handlers are in `module`."""
    adder = parser.add_subparsers(
        metavar="ACTION" if module else "COMMAND",
        title="actions" if module else "commands",
        parser_class=_Parser,
        required=module == "config",  # others also run without an action
    )
    for command in commands:
        examples = indent(command.examples, "  ")
        command_parser = adder.add_parser(
            command.name,
            help=command.help,
            description=command.help[:1].upper() + command.help[1:] + ".",
            epilog=f"example:\n{examples}\n\n{command.notes}".rstrip(),
            parents=[shared],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,  # `ParsedOptions` has the defaults
            allow_abbrev=False,
        )
        handler = command.handler or f"{module}:{command.name}"
        command_parser.set_defaults(
            handler=handler,
            takes_local=command.takes_local,
            changes_sessions=command.changes_sessions,
            names_left_files=command.names_left_files,
        )
        if command.json_help == ALWAYS_JSON:
            command_parser.set_defaults(json=True)
        group_by_option: dict[str, Any] = {}
        for options in command.exclusive:
            group = command_parser.add_mutually_exclusive_group()
            group_by_option |= dict.fromkeys(options, group)
        for own_argument in command.all_arguments:
            place = group_by_option.get(own_argument.names[0], command_parser)
            place.add_argument(*own_argument.names, **own_argument.keywords)
        if command.commands:
            handler_module = handler.partition(":")[0]
            _add_commands(command_parser, command.commands, shared, handler_module)


def arguments_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser, its commands and their actions."""
    # argparse calls an argument an action
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to see what was added
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command_parser in action.choices.values():
                yield from arguments_of(command_parser)
