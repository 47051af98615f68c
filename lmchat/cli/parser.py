"""Argument parser and shell completion."""

from __future__ import annotations

import argparse
import re
import shlex
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
from lmchat.cli.context import Context
from lmchat.config.settings import EFFORTS
from lmchat.errors import WrongUse
from lmchat.text import similar

_DESCRIPTION = "Chat with the language models on this machine.\nWithout a command, lmchat opens the chat screen."
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


_PLAIN = (
    ("the following arguments are required", "missing"),
    (r"argument (\S+): invalid number value: .*", r"\1 must be a whole number of at least 1"),
    (
        r"argument (\S+): invalid choice: (.*) \(choose from (.*)\)",
        r"unknown value \2 for \1; use \3",
    ),
    (r"argument (\S+): expected one argument", r"\1 needs a value"),
    (r"argument (\S+): not allowed with argument (\S+)", r"\2 and \1 cannot be used together"),
)
"""Messages of argparse, and plainer ones."""
_ELSEWHERE = {
    "lmchat run": "To chat with a model: lmchat -m MODEL",
    "lmchat chat": "To chat: lmchat",
    **dict.fromkeys(
        ("lmchat ls", "lmchat list", "lmchat models list"), "To list the models: lmchat models"
    ),
    "lmchat ps": "To see which models are loaded: lmchat models",
    "lmchat pull": "Download models in your server's program, then list them: lmchat models",
    "lmchat stop": "To unload a model: lmchat models unload MODEL",
    "lmchat serve": "To chat without a server: lmchat --local",
    "lmchat sessions list": "To list the sessions: lmchat sessions",
    "lmchat version": "To print the version: lmchat --version",
}
"""Commands of other programs such as Ollama, and what does the same here."""


class _Parser(argparse.ArgumentParser):
    """Parser that raises instead of exiting."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.suggest_on_error = False  # from Python 3.15 on, argparse would add to its messages

    def error(self, message: str) -> NoReturn:
        unknown = re.match(
            r"argument (COMMAND|ACTION): invalid choice: '(.*?)' \(choose", message, re.DOTALL
        )
        if unknown:
            words = re.findall(r"\w+", message[unknown.end() :].removeprefix(" from"))
            step = _ELSEWHERE.get(f"{self.prog} {unknown[2]}")
            told = (
                f"Unknown command {unknown[2]!r}. {step}"
                if step
                else _unknown_command(unknown[2], words)
            )
            message = told.removesuffix(".")
        for pattern, plain in _PLAIN:
            message = re.sub(pattern, plain, message)
        sentence = message[:1].upper() + message[1:] + ("" if message.endswith("?") else ".")
        raise WrongUse(sentence, hint=f"Run `{self.prog} --help` for usage.")


def parse(argv: Sequence[str]) -> ParsedOptions:
    """Parse the arguments; raises `WrongUse`."""
    hosts: list[str] = []
    models: list[str] = []
    argv = ["--help"] if list(argv) == ["help"] else argv
    try:
        options = build_parser(hosts, models).parse_args(argv, namespace=ParsedOptions())
    except WrongUse as error:
        raise _plainer(argv, error) from None
    options.allowed_hosts, options.models = tuple(hosts), tuple(models)
    return options


def build_parser(
    hosts: list[str] | None = None, models: list[str] | None = None
) -> argparse.ArgumentParser:
    """Return the parser of everything; `hosts` receives each `--allow-host`, `models` each `-m`."""
    # options that may come before or after a command; defaults of a command would overwrite earlier values
    shared = _Parser(add_help=False, argument_default=argparse.SUPPRESS, allow_abbrev=False)
    group = shared.add_argument_group("common options")
    for one in shared_arguments([] if hosts is None else hosts, [] if models is None else models):
        group.add_argument(*one.names, **one.form)
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
        for one in command.all_arguments:
            exclusive.get(one.names[0], sub).add_argument(*one.names, **one.form)
        if command.commands:
            _add_commands(sub, command.commands, shared, handler.partition(":")[0])


def _plainer(argv: Sequence[str], error: WrongUse) -> WrongUse:
    """Name an unknown option; argparse would complain about the word after it."""
    typed = [word.partition("=")[0] for word in argv[: argv.index("--") if "--" in argv else None]]
    if (early := _too_early(typed)) is not None:
        return early
    known = tuple(name for action in _actions(build_parser()) for name in action.option_strings)
    options = (
        word if word.startswith("--") else word[:2] for word in typed if re.match("--?[a-z]", word)
    )
    wrong = next((option for option in options if option not in known), None)
    if wrong is None and "ask" in typed and "nrecognized" in error.message:
        return WrongUse(error.message, hint="Put the prompt in quotes.")
    if wrong is None:
        return error
    meant = similar(wrong, known) or next((one for one in known if one.startswith(f"-{wrong}")), "")
    tail = f"; did you mean {meant}?" if meant else "."
    return WrongUse(f"Unknown option: {wrong}{tail}", hint=error.hint)


def _too_early(typed: Sequence[str]) -> WrongUse | None:
    """Return the error for an option of a command that stands before it, if there is one."""
    commands = {command.name: command for command in COMMANDS}
    name = next((word for word in typed if word in commands), None)
    if name is None:
        return None
    own = {
        option for one in commands[name].all_arguments for option in one.names if option[0] == "-"
    }
    early = next((word for word in typed[: typed.index(name)] if word in own), None)
    hint = f"Put {early} after {name}."
    return None if early is None else WrongUse(f"{early} is an option of {name}.", hint=hint)


def _unknown_command(word: str, words: Sequence[str]) -> str:
    if "://" in word or "@" in word:  # an address may hold a password
        return "Unknown command. To connect to a server: lmchat --endpoint URL"
    meant = similar(word, tuple(words))
    tail = f"did you mean {meant}?" if meant else f"commands: {', '.join(words)}."
    return f"Unknown command {word!r}; {tail}"


def completion(context: Context) -> int:
    """Print the completion script of a shell."""
    import shtab

    # names of models come from the file of the lists that lmchat keeps: no server and no Python is waited for
    file = shlex.quote(str(context.paths.models_file))
    # bash expands what it offers, and the names come from servers: those with other characters are left out
    plain = '\'"model_id":"[[:alnum:]._:/@+-]*"\''
    names = f"""grep -o {plain} {file} 2>/dev/null | cut -d '"' -f 4 | sort -u"""
    models = {
        "bash": "_lmchat_models",
        "zsh": "_lmchat_models",
        "fish": "(_lmchat_models)",
        "preamble": {
            "bash": f'_lmchat_models() {{ compgen -W "$({names})" -- "$1"; }}',
            "zsh": f'_lmchat_models() {{ compadd -- ${{(f)"$({names})"}}; }}',
            "fish": f"function _lmchat_models; {names}; end",
        },
    }
    places = {
        "FILE": shtab.FILE,
        "DIR": shtab.DIRECTORY,
        "MODEL": models,
    }  # by the word of the help
    parser = build_parser()
    for action in _actions(parser):
        if isinstance(action.metavar, str) and action.metavar in places:
            vars(action)["complete"] = places[action.metavar]  # where shtab looks
    context.output.text(shtab.complete(parser, shell=context.options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to see what was added
        yield action
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                yield from _actions(below)
