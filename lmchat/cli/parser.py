"""Argument parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator, Sequence
from textwrap import indent
from typing import Any, NoReturn

from lmchat import __version__
from lmchat.cli.commands import (
    COMMANDS,
    LEVELS,
    Argument,
    ParsedOptions,
    Subcommand,
    argument,
    decoded,
)
from lmchat.config.settings import EFFORTS
from lmchat.errors import WrongUse
from lmchat.text import similar

_DESCRIPTION = """\
Chat with the language models on this machine.
Without a command, lmchat opens the chat screen."""
_EPILOG = """\
examples:
  lmchat                         find the server on this machine and chat
  lmchat --endpoint http://127.0.0.1:9931 -m qwen3-8b
  git diff | lmchat ask "Write a commit message"
  lmchat COMMAND --help          what a command does, with an example

Answers go to stdout, everything else to stderr. Exit codes: 0 success,
1 the server, the answer or a file failed, 2 invalid command or configuration,
3 no server found, 130 interrupted.
"""
_LIST_MODELS = "To list the models: lmchat models"
_COMMANDS_ELSEWHERE = {
    "lmchat run": "To chat with a model: lmchat -m MODEL",
    "lmchat chat": "To chat: lmchat",
    "lmchat ls": _LIST_MODELS,
    "lmchat list": _LIST_MODELS,
    "lmchat models list": _LIST_MODELS,
    "lmchat ps": "To see which models are loaded: lmchat models",
    "lmchat pull": "Download models in your server's program, then list them: lmchat models",
    "lmchat stop": "To unload a model: lmchat models unload MODEL",
    "lmchat serve": "To chat without a server: lmchat --local",
    "lmchat sessions list": "To list the sessions: lmchat sessions",
    "lmchat version": "To print the version: lmchat --version",
}
"""Commands of other programs such as Ollama, and what does the same here."""
_UNKNOWN_COMMAND = re.compile(
    r"argument (COMMAND|ACTION): invalid choice: '(?P<word>.*?)' \(choose( from)?", re.DOTALL
)
_CHOICE = r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)"
_PLAIN_MESSAGES = {
    "the following arguments are required": "missing",
    r"argument (\S+): invalid number value: .*": r"\1 must be a whole number of at least 1",
    _CHOICE: r"unknown value \2 for \1; use \3",
    r"argument (\S+): expected one argument": r"\1 needs a value",
    r"argument (\S+): not allowed with argument (\S+)": r"\2 and \1 cannot be used together",
}
"""Messages of argparse, and plainer ones."""


class _Parser(argparse.ArgumentParser):
    """Parser that raises instead of exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.suggest_on_error = False  # from Python 3.15 on, argparse would add to its messages

    def error(self, message: str) -> NoReturn:
        if unknown := _UNKNOWN_COMMAND.match(message):
            commands = re.findall(r"\w+", message[unknown.end() :])
            message = self._unknown_command(unknown["word"], commands)
        for pattern, plain in _PLAIN_MESSAGES.items():
            message = re.sub(pattern, plain, message)
        sentence = message[:1].upper() + message[1:]
        if not sentence.endswith("?"):
            sentence += "."
        raise WrongUse(sentence, hint=f"Run `{self.prog} --help` for usage.")

    def _unknown_command(self, word: str, commands: Sequence[str]) -> str:
        """Return the message without its full stop."""
        if step := _COMMANDS_ELSEWHERE.get(f"{self.prog} {word}"):
            return f"Unknown command {word!r}. {step}"
        if "://" in word or "@" in word:  # an address may hold a password
            return "Unknown command. To connect to a server: lmchat --endpoint URL"
        if meant := similar(word, tuple(commands)):
            return f"Unknown command {word!r}; did you mean {meant}?"
        return f"Unknown command {word!r}; commands: {', '.join(commands)}"


def parse(argv: Sequence[str]) -> ParsedOptions:
    """Parse the arguments; raises `WrongUse`."""
    hosts: list[str] = []
    models: list[str] = []
    if list(argv) == ["help"]:
        argv = ["--help"]
    try:
        options = build_parser(hosts, models).parse_args(argv, namespace=ParsedOptions())
    except WrongUse as error:
        misplaced = _misplaced_option(argv)
        raise misplaced or _unknown_option(argv, error) from None
    options.allowed_hosts = tuple(hosts)
    options.models = tuple(models)
    return options


def build_parser(hosts: list[str], models: list[str]) -> argparse.ArgumentParser:
    """Return the parser of everything; `hosts` receives each `--allow-host`, `models` each `-m`."""
    # options that may come before or after a command, whose defaults would overwrite earlier values
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    group = shared.add_argument_group("common options")
    for shared_argument in shared_arguments(hosts, models):
        group.add_argument(*shared_argument.names, **shared_argument.form)
    parser = _Parser(
        prog="lmchat",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        parents=[shared],
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"lmchat {__version__}")
    _add_commands(parser, COMMANDS, shared)
    return parser


def shared_arguments(hosts: list[str], models: list[str]) -> tuple[Argument, ...]:
    """Return the common options; `--allow-host` fills `hosts`, and `-m` fills `models`."""

    def model(word: str) -> str:
        models.append(decoded(word))
        return models[-1]

    return (
        argument("--endpoint URL", "address of the server; default: lmchat looks for one"),
        # an action that appends would lose those before a command
        argument(
            "--allow-host HOST",
            "allow a host other than this machine",
            dest="allowed_hosts",
            type=hosts.append,
        ),
        argument("-m --model MODEL", "model to use", type=model),
        argument("--profile NAME", "profile of the configuration to use"),
        argument("--system TEXT", "system prompt", dest="system_prompt"),
        argument(
            "--effort LEVEL", f"how much the model thinks: {', '.join(EFFORTS)}", choices=EFFORTS
        ),
        argument(
            "-r --resume ID",
            "continue a session: its id, its first 4 or more characters, or `last`",
        ),
        argument("--temporary", "do not save this session"),
        argument("--local", "use the built-in engine; -m accepts a GGUF file"),
        argument("--plain", "chat line by line, without the screen; the default if TERM=dumb"),
        argument("--config FILE", "configuration file to use instead of the usual one"),
        argument(
            "--log-level LEVEL",
            f"what to log, never chat text: {', '.join(LEVELS)}",
            choices=LEVELS,
        ),
    )


def _add_commands(
    parser: _Parser, commands: Sequence[Subcommand], shared: _Parser, module: str = ""
) -> None:
    metavar = "ACTION" if module else "COMMAND"
    is_required = (parser.get_default("handler") or "").endswith(":")
    adder = parser.add_subparsers(
        metavar=metavar, title=f"{metavar.lower()}s", parser_class=_Parser, required=is_required
    )
    for command in commands:
        examples = indent(command.shown_examples(f"{parser.prog} {command.name}"), "  ")
        sub = adder.add_parser(
            command.name,
            help=command.help,
            description=command.help[:1].upper() + command.help[1:] + ".",
            epilog=f"example:\n{examples}\n\n{command.notes}".rstrip(),
            parents=[shared],
            formatter_class=argparse.RawDescriptionHelpFormatter,
            argument_default=argparse.SUPPRESS,
            allow_abbrev=False,
        )
        handler = command.handler or f"{module}:{command.name}"
        sub.set_defaults(handler=handler, is_json_always=command.is_json_always)
        exclusive: dict[str, Any] = {}
        for names in command.exclusive:
            exclusive |= dict.fromkeys(names, sub.add_mutually_exclusive_group())
        for own_argument in command.all_arguments:
            group = exclusive.get(own_argument.names[0], sub)
            group.add_argument(*own_argument.names, **own_argument.form)
        if command.commands:
            _add_commands(sub, command.commands, shared, handler.partition(":")[0])


def _unknown_option(argv: Sequence[str], error: WrongUse) -> WrongUse:
    """Name an unknown option; argparse would complain about the word after it."""
    known = _known_options()
    typed = _typed_words(argv)
    unknown = next((option for option in _options_in(typed) if option not in known), None)
    if unknown is not None:
        meant = similar(unknown, known) or _long_form(unknown, known)
        question = f"; did you mean {meant}?" if meant else "."
        return WrongUse(f"Unknown option: {unknown}{question}", hint=error.hint)
    if "ask" in typed and "nrecognized" in error.message:
        return WrongUse(error.message, hint="Put the prompt in quotes.")
    return error


def _known_options() -> tuple[str, ...]:
    names: list[str] = []
    for action in actions_of(build_parser([], [])):
        names += action.option_strings
    return tuple(names)


def _typed_words(argv: Sequence[str]) -> list[str]:
    """Return the words up to `--`, options without their values."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return [word.partition("=")[0] for word in words]


def _options_in(typed: Sequence[str]) -> Iterator[str]:
    for word in typed:
        if re.match("--?[a-z]", word):
            yield word if word.startswith("--") else word[:2]


def _long_form(option: str, known: Sequence[str]) -> str:
    """Return the first option whose name begins with the letter of a short one."""
    return next((name for name in known if name.startswith(f"-{option}")), "")


def _misplaced_option(argv: Sequence[str]) -> WrongUse | None:
    """Return the error for an option of a command that is typed before the command, if any."""
    typed = _typed_words(argv)
    commands = {command.name: command for command in COMMANDS}
    name = next((word for word in typed if word in commands), None)
    if name is None:
        return None
    own_options: set[str] = set()
    for own_argument in commands[name].all_arguments:
        own_options.update(own_argument.names)
    for word in typed[: typed.index(name)]:
        if word.startswith("-") and word in own_options:
            return WrongUse(f"{word} is an option of {name}.", hint=f"Put {word} after {name}.")
    return None


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser and of its commands."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to see what was added
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                yield from actions_of(below)
