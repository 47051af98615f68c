"""Parser of the command line, with plainer error messages than those of argparse.

It is built from the tables in `commands.py`. Common options may precede or follow a command, own
options of a command only follow it. Actions are the commands of a command, as `sessions show`.
"""

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
from lmchat.config.settings import EFFORTS, effort_of
from lmchat.errors import WrongUse
from lmchat.matching import closest_word

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
_LIST_MODELS = "To list the models: lmchat models"
_CONTINUE = "To continue the last session: lmchat --resume last"
_COMMANDS_OF_OTHER_PROGRAMS = {
    "lmchat run": "To chat with a model: lmchat -m MODEL",
    "lmchat chat": "To chat: lmchat",
    "lmchat ls": _LIST_MODELS,
    "lmchat list": _LIST_MODELS,
    "lmchat models list": _LIST_MODELS,
    "lmchat ps": "To see which models are loaded: lmchat models",
    "lmchat pull": "Download models in your server's program, then list them: lmchat models",
    "lmchat stop": "To unload a model: lmchat models unload MODEL",
    "lmchat sessions list": "To list the sessions: lmchat sessions",
    "lmchat version": "To print the version: lmchat --version",
    "lmchat resume": _CONTINUE,
    "lmchat continue": _CONTINUE,
}
"""Commands of other programs such as Ollama, and what does the same here."""
_OPTIONS_OF_OTHER_PROGRAMS = {"--continue": _CONTINUE, "-c": _CONTINUE}
"""Options of other programs such as llm, and what does the same here."""
# "argument COMMAND: invalid choice: 'modles' (choose from 'ask', 'models')"; the names follow the
# match, in later versions of Python without quotes
_UNKNOWN_COMMAND = re.compile(
    r"argument (COMMAND|ACTION): invalid choice: '(?P<word>.*?)' \(choose( from)?", re.DOTALL
)
_CHOICE = r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)"
_PLAIN_MESSAGES = {
    "the following arguments are required": "missing",
    r"argument (\S+): invalid number value: .*": r"\1 must be a whole number of at least 1",
    r"argument (\S+): invalid id value: .*": r"the session id is empty",
    r"argument (\S+): invalid port value: .*": r"\1 must be a port from 0 to 65535",
    r"argument --effort: invalid choice: (.*) \(choose from (.*)\)": (
        r"unknown value \1 for --effort; use \2, or a number of tokens"
    ),
    _CHOICE: r"unknown value \2 for \1; use \3",
    r"argument (\S+): expected one argument": r"\1 needs a value",
    r"argument (\S+?)[/,].*: ignored explicit argument (.*)": r"\1 cannot have the value \2",
    r"argument (\S+): not allowed with argument (\S+)": r"\2 and \1 cannot be used together",
}
"""Patterns of argparse's messages, and plainer messages; all are applied, in this order.

So `_CHOICE`, which would match a wrong `--effort` too, follows the pattern for that option.
"""


class _EffortChoices(tuple[str, ...]):
    """Values of `--effort`: shells complete the levels, and a number of tokens is valid, too."""

    __slots__ = ()

    def __contains__(self, value: object) -> bool:
        return effort_of(value) is not None


class _Parser(argparse.ArgumentParser):
    """Parser that raises `WrongUse` instead of exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.suggest_on_error = False  # from Python 3.15 on, argparse would add to its messages

    def error(self, message: str) -> NoReturn:
        """Raise `WrongUse` with a plainer message than argparse's `message`.

        argparse calls this method for each error.
        """
        unknown_command = _UNKNOWN_COMMAND.match(message)
        if unknown_command:
            commands = re.findall(r"\w+", message[unknown_command.end() :])
            message = self._unknown_command(unknown_command["word"], commands)
        for pattern, plain_message in _PLAIN_MESSAGES.items():
            message = re.sub(pattern, plain_message, message)
        sentence = message[:1].upper() + message[1:]
        if not sentence.endswith("?"):  # as "did you mean models?" does
            sentence += "."
        raise WrongUse(sentence, hint=f"Run `{self.prog} --help` for usage.")

    def _unknown_command(self, word: str, commands: Sequence[str]) -> str:
        """Return the message about a word that is no command, without a full stop at its end.

        It names what does the same if another program has this command, else the option for an
        address, else the most similar command, else all `commands`, which are possible here.
        """
        if next_step := _COMMANDS_OF_OTHER_PROGRAMS.get(f"{self.prog} {word}"):
            return f"Unknown command {word!r}. {next_step}"
        if "://" in word or "@" in word:  # an address is not repeated: it may hold a password
            return "Unknown command. To connect to a server: lmchat --endpoint URL"
        if suggestion := closest_word(word, tuple(commands)):
            return f"Unknown command {word!r}; did you mean {suggestion}?"
        return f"Unknown command {word!r}; commands: {', '.join(commands)}"


def parse(argv: Sequence[str]) -> ParsedOptions:
    """Return the options and arguments of the command line; raises `WrongUse` for wrong ones.

    For `--help` and `--version`, argparse prints the text and raises `SystemExit`.
    """
    hosts: list[str] = []
    models: list[str] = []
    sampling: list[str] = []
    if list(argv) == ["help"]:  # as in git and cargo
        argv = ["--help"]
    try:
        options = build_parser(hosts, models, sampling).parse_args(argv, namespace=ParsedOptions())
    except WrongUse as error:
        raise _plainer_error(argv, error) from None
    options.allowed_hosts = tuple(hosts)
    options.models = tuple(models)
    options.sampling = tuple(sampling)
    return options


def build_parser(
    hosts: list[str], models: list[str], sampling: list[str]
) -> argparse.ArgumentParser:
    """Return the parser of all commands.

    While it parses, it appends each `--allow-host` to `hosts`, each `-m` to `models`, and each
    `--set` to `sampling`.
    """
    # The shared options may come before or after a command. They have no defaults, since those of
    # the command's parser would overwrite what was typed before the command.
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    group = shared.add_argument_group("common options")
    for shared_argument in shared_arguments(hosts, models, sampling):
        group.add_argument(*shared_argument.names, **shared_argument.keywords)
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


def shared_arguments(
    hosts: list[str], models: list[str], sampling: list[str]
) -> tuple[Argument, ...]:
    """Return the common options, which all commands have.

    While the parser runs, the `type` functions of `--allow-host`, `-m` and `--set` append each
    value to `hosts`, `models` or `sampling`. With argparse's action `append`, values before a
    command would be lost, since the command's parser begins with an empty list.
    """

    def add_model(word: str) -> str:
        model = decoded(word)
        models.append(model)
        return model

    return (
        argument("--endpoint URL", "address of the server; default: lmchat looks for one"),
        argument(
            "--allow-host HOST",
            "allow a host other than this machine",
            dest="allowed_hosts",
            type=hosts.append,  # returns None; `parse` sets the option to all hosts
        ),
        argument("-m --model MODEL", "model to use", type=add_model),
        argument("--profile NAME", "profile of the configuration to use"),
        argument("--system TEXT", "system prompt", dest="system_prompt"),
        argument(
            "--effort LEVEL",
            f"how much the model thinks: {', '.join(EFFORTS)}, or a number of tokens",
            type=lambda word: effort_of(word) or word,  # a wrong word stays: `choices` refuses it
            choices=_EffortChoices(EFFORTS),
        ),
        argument(
            "--set NAME=VALUE",
            "sampling option, such as top_k=40; may be repeated",
            dest="sampling",
            type=sampling.append,
        ),
        argument(
            "-r --resume ID",
            "continue a session: its id, its first 4 or more characters, or `last`",
        ),
        argument("--temporary", "do not save this session"),
        argument("--local", "use the built-in engine; -m accepts a GGUF file"),
        argument("--plain", "chat line by line, without the screen; the default if TERM=dumb"),
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


def _add_commands(
    parser: _Parser, commands: Sequence[Subcommand], shared: _Parser, module: str = ""
) -> None:
    """Add `commands` to `parser`, each with its arguments, help, handler and actions.

    For the actions of a command, `parser` is the parser of that command, and `module` is the name
    of the module with their handlers. For the commands of lmchat, `module` is empty. `shared` has
    the common options, which each command gets too.
    """
    metavar = "ACTION" if module else "COMMAND"
    # the handler `config:` has no function, so `config` needs an action
    needs_action = (parser.get_default("handler") or "").endswith(":")
    adder = parser.add_subparsers(
        metavar=metavar, title=f"{metavar.lower()}s", parser_class=_Parser, required=needs_action
    )
    for command in commands:
        examples = indent(command.shown_examples(f"{parser.prog} {command.name}"), "  ")
        command_parser = adder.add_parser(
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
        command_parser.set_defaults(handler=handler, is_json_always=command.is_json_always)
        _add_own_arguments(command_parser, command)
        if command.commands:
            handler_module = handler.partition(":")[0]
            _add_commands(command_parser, command.commands, shared, handler_module)


def _add_own_arguments(parser: argparse.ArgumentParser, command: Subcommand) -> None:
    """Add the arguments of a command to its parser, without the common options.

    Of the options in one group of `exclusive`, the parser will allow only one.
    """
    group_by_option: dict[str, Any] = {}  # groups of options that exclude each other
    for options in command.exclusive:
        group_by_option |= dict.fromkeys(options, parser.add_mutually_exclusive_group())
    for own_argument in command.all_arguments:
        first_name = own_argument.names[0]
        group = group_by_option.get(first_name, parser)
        group.add_argument(*own_argument.names, **own_argument.keywords)


def _plainer_error(argv: Sequence[str], error: WrongUse) -> WrongUse:
    """Return the error to show in place of argparse's `error`.

    It is about an option that is typed before its command, else about the first unknown option:
    argparse ignores that option at first, takes its value for a command, and complains about the
    value. Without such options, `error` is returned; for `ask` with several prompts, its hint says
    to use quotes.
    """
    misplaced_error = _misplaced_option_error(argv)
    if misplaced_error is not None:
        return misplaced_error
    words = _words_without_values(argv)
    known_options = _known_options()
    for option in _options_in(words):
        if option not in known_options:
            if next_step := _OPTIONS_OF_OTHER_PROGRAMS.get(option):
                return WrongUse(f"Unknown option: {option}. {next_step}.", hint=error.hint)
            # a short option is similar to no other, so it gets a long one with its letter
            suggestion = closest_word(option, known_options) or _long_form(option, known_options)
            ending = f"; did you mean {suggestion}?" if suggestion else "."
            return WrongUse(f"Unknown option: {option}{ending}", hint=error.hint)

    has_surplus_words = error.message.startswith("Unrecognized")  # "Unrecognized arguments: b c."
    if "ask" in words and has_surplus_words:
        return WrongUse(error.message, hint="Put the prompt in quotes.")
    return error


def _known_options() -> tuple[str, ...]:
    """Return the names of the options of all commands, long and short; some appear repeatedly."""
    names: list[str] = []
    for action in actions_of(build_parser([], [], [])):
        names += action.option_strings
    return tuple(names)


def _words_without_values(argv: Sequence[str]) -> list[str]:
    """Return the words before `--`, each up to its first `=`: `--option=value` as `--option`."""
    words = argv[: argv.index("--")] if "--" in argv else argv
    return [word.partition("=")[0] for word in words]


def _options_in(words: Sequence[str]) -> Iterator[str]:
    """Yield the words that are options, with one or two hyphens and a small letter.

    Of a short option with its value, such as `-mMODEL`, yield only `-m`.
    """
    for word in words:
        if re.match("--?[a-z]", word):
            yield word if word.startswith("--") else word[:2]


def _long_form(short_option: str, known_options: Sequence[str]) -> str:
    """Return the first long option that begins with the letter of a short one, "" if none does."""
    for option in known_options:
        if option.startswith(f"-{short_option}"):  # `-s` and a hyphen: `--s…`
            return option
    return ""


def _misplaced_option_error(argv: Sequence[str]) -> WrongUse | None:
    """Return the error for an option that a command has for itself and that is typed before it.

    Return None if no command is typed, or no such option.
    """
    words = _words_without_values(argv)
    commands = {command.name: command for command in COMMANDS}
    command_name = next((word for word in words if word in commands), None)
    if command_name is None:
        return None
    own_options: set[str] = set()
    for own_argument in commands[command_name].all_arguments:
        own_options.update(own_argument.names)
    words_before_command = words[: words.index(command_name)]
    for word in words_before_command:
        if word.startswith("-") and word in own_options:
            message = f"{word} is an option of {command_name}."
            return WrongUse(message, hint=f"Put {word} after {command_name}.")
    return None


def actions_of(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Yield the arguments of a parser, and those of its commands and of their actions."""
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to see what was added
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for command_parser in action.choices.values():
                yield from actions_of(command_parser)
