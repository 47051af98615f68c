"""Parser of the command line: one for the command of the line, from the table in `subcommands.py`.

Common options may precede or follow a command. An action is a command of a command, such as `show`
in `lmchat sessions show`.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

from lmchat.app.cli.help_texts import help_of_command, help_of_program
from lmchat.app.cli.options import ParsedOptions
from lmchat.app.cli.subcommands import ALWAYS_JSON, COMMON_ARGUMENTS, MISSING, PROGRAM, Subcommand
from lmchat.app.terminal.output import Output
from lmchat.base.errors import WrongUse
from lmchat.base.leaf import no_leaf_error
from lmchat.base.matching import closest_word
from lmchat.base.safe_text import os_text, safe_line, shell_word
from lmchat.core.config.settings import SamplingSettings

# in a help text
_FILES = ("FILE", "DIR")
_NAMES = (*_FILES, "ID", "KEY", "MODEL", "NAME", "QUERY", "SERVER/TOOL", "URL")
# Behind each word that ends with `--`, but for the first `--`: before Python 3.13, argparse may
# remove it, and a value as in `--model=--`. No argument can have a NUL.
_MARK = "\0"
# Commands of other programs, of other commands and of earlier versions, and what does the same.
COMMANDS_INSTEAD = {
    "lmchat version": "lmchat --version",
    "lmchat list": "lmchat models",
    "lmchat ls": "lmchat models",
    "lmchat ps": "lmchat models",
    "lmchat get": "lmchat models pull NAME",
    "lmchat download": "lmchat models pull NAME",
    "lmchat models download": "lmchat models pull NAME",
    "lmchat rm": "lmchat sessions delete ID, or lmchat models rm MODEL",
    "lmchat upgrade": "pipx upgrade lmchat, uv tool upgrade lmchat, or git pull in the clone",
    "lmchat update": "pipx upgrade lmchat, uv tool upgrade lmchat, or git pull in the clone",
    "lmchat run": 'lmchat -m MODEL, or lmchat ask -m MODEL "PROMPT"',
    "lmchat stop": "lmchat models unload MODEL",
    "lmchat keys": "lmchat, which asks for the key of a server, or the variable LMCHAT_API_KEY",
    "lmchat login": "lmchat, which asks for the key of a server, or the variable LMCHAT_API_KEY",
    "lmchat profiles": "lmchat config path, and edit that file",
    "lmchat prompts": "lmchat config path, and edit that file",
    "lmchat themes": "/theme in the chat",
    "lmchat templates": "lmchat config path, and edit that file",
    "lmchat presets": "lmchat config path, and edit that file",
    "lmchat config set": "lmchat config path, and edit that file",
    "lmchat config edit": "lmchat config path, and edit that file",
    "lmchat config get": "lmchat config show",
    "lmchat resume": "lmchat -r last",
    "lmchat continue": "lmchat -r last",
    "lmchat chat": "lmchat",
    "lmchat new": "lmchat",
    "lmchat prompt": 'lmchat ask "PROMPT"',
    "lmchat exec": 'lmchat ask "PROMPT"',
    "lmchat grep": "lmchat search WORDS",
    "lmchat logs": "lmchat sessions, or lmchat doctor, which names the log file",
    "lmchat history": "lmchat sessions",
    "lmchat log": "lmchat sessions, or lmchat doctor, which names the log file",
    "lmchat chats": "lmchat sessions",
    "lmchat show": "lmchat sessions show ID, or lmchat models --json",
    "lmchat status": "lmchat doctor",
    "lmchat servers": "lmchat detect",
    "lmchat settings": "lmchat config show",
    "lmchat mcp": "lmchat tools, or lmchat tools add NAME -- COMMAND",
    "lmchat models show": "lmchat models --json",
    "lmchat models default": "lmchat -m MODEL",
    "lmchat models remove": "lmchat models rm MODEL",
    "lmchat models delete": "lmchat models rm MODEL",
    "lmchat sessions rm": "lmchat sessions delete ID",
    "lmchat sessions remove": "lmchat sessions delete ID",
    "lmchat sessions pin": "Ctrl+B on the chat screen, then p",
    "lmchat sessions tag": "Ctrl+B on the chat screen, then g",
    "lmchat sessions archive": "Ctrl+B on the chat screen, then a",
    "lmchat sessions undo": "lmchat sessions restore ID",
    "lmchat sessions export": "lmchat export ID",
    "lmchat sessions search": "lmchat search WORDS",
    "lmchat tools rm": "lmchat tools remove NAME",
    "lmchat tools delete": "lmchat tools remove NAME",
    "lmchat replay": 'the recipe "Ask for a saved answer again" in docs/scripts.md',
}
# The same for options; those of sampling are in `_option_instead`.
OPTIONS_INSTEAD = {
    "-c": "-r last, or for a window context = TOKENS below [local] in config.toml",
    "--continue": "-r last",
    "--last": "-r last",
    "--models": "lmchat models",
    "--list-models": "lmchat models",
    "--list-sessions": "lmchat sessions",
    "--serve": "lmchat serve",
    "--stream": "nothing: answers stream anyway",
    "--no-stream": "--json",
    "--cid": "-r ID",
    "--conversation": "-r ID",
    "--session": "-r ID",
    "-s": "--system TEXT",
    "-t": "--set temperature=VALUE, or -p NAME for a preset",
    "--temp": "--set temperature=VALUE",
    "--template": "-p NAME",
    "-o": "--set NAME=VALUE, or > FILE for a file",
    "--option": "--set NAME=VALUE, or > FILE for a file",
    "-a": "-f FILE",
    "--attachment": "-f FILE",
    "--attach": "-f FILE",
    "--image": "-f FILE",
    "-x": "--code",
    "--extract": "--code",
    "--url": "--endpoint URL",
    "--base-url": "--endpoint URL",
    "--api-base": "--endpoint URL",
    "--server": "--endpoint URL",
    "--host": "--endpoint URL",
    "--port": "--endpoint localhost:PORT",
    "--role": "--profile NAME",
    "--think": "--effort low, or --effort none",
    "--thinking": "--effort low, or --effort none",
    "--no-think": "--effort none",
    "--format": "--json",
    "--output-format": "--json",
    "--json-schema": "--schema FILE",
    "--plot": "--json",
    "-T": "--tools",
    "-p": 'lmchat ask "PROMPT", or lmchat ask -p NAME "PROMPT" for a preset',
    "--key": "LMCHAT_API_KEY with the address in LMCHAT_ENDPOINT, or --key KEY of lmchat serve",
    "--api-key": "LMCHAT_API_KEY with the address in LMCHAT_ENDPOINT, or --key KEY of lmchat serve",
    "--verbose": "--log-level debug, or --json for tokens and times",
    "--debug": "--log-level debug",
    "-f": "--format json",
    "-v": "--version",
    "-V": "--version",
    "-n": "--set max_tokens=NUMBER",
    "--n-predict": "--set max_tokens=NUMBER",
    "--num-predict": "--set max_tokens=NUMBER",
    "--ctx-size": "context = TOKENS below [local] in config.toml, for the built-in engine",
    "--num-ctx": "context = TOKENS below [local] in config.toml, for the built-in engine",
    "--timeout": "first_token_s = SECONDS below [timeouts] in config.toml",
    "--output": "> FILE",
    "--theme": "/theme in the chat",
}
_MISSING = "the following arguments are required"  # of argparse
_SPARE = {  # what a spare argument means, by the name of another one
    "files": "One -f for each file, or a pattern in quotes: -f '*.py'.",
    "output": "To write a file: -o FILE.",
    "prompt": "Put a prompt in quotes.",
    "title": "Put the title in quotes.",
}
_ASK = 'To send a prompt: lmchat ask "PROMPT".'
_OPTION = re.compile("--?[a-zA-Z]")
_WITH_VALUE = {name for one in COMMON_ARGUMENTS if one.value for name in one.names}
_OF_ASK = {  # with what is behind it
    name: f"{name} {one.value}".strip()
    for command in PROGRAM.commands
    if command.name == "ask"
    for one in (*command.all_arguments, *command.common_arguments)
    for name in one.names
}
_EXCLUSIVE = (("--endpoint", "--local"), ("--temporary", "--save"))  # of any command
_LIKENESS = 0.81  # least one of a misspelt word; `version` and `sessions` have 0.67
_MOST_CHARS = 300  # of a message, which may quote a long argument


class _Parser(argparse.ArgumentParser):
    """Parser of one command, which raises `WrongUse` instead of exiting."""

    def __init__(self, line: CommandLine) -> None:
        super().__init__(prog=line.prog, argument_default=argparse.SUPPRESS, allow_abbrev=False)
        self._command = line.command
        self.arguments = add_arguments(self, line.command)

    def format_help(self) -> str:
        columns = shutil.get_terminal_size().columns - 2
        if self._command is PROGRAM:
            return help_of_program(columns)
        return help_of_command(self.prog, self._command, columns)

    def error(self, message: str) -> NoReturn:
        """Write a message of argparse as a sentence."""
        sentence = message.removeprefix("argument ")
        # argparse says "ignored" of what it refuses, as in --json=yes
        sentence = sentence.replace("ignored explicit argument", "does not take")
        sentence = sentence.replace(_MISSING, "missing")
        sentence = safe_line(sentence.replace(_MARK, ""), limit=_MOST_CHARS)
        next_step = f"Run `{self.prog} --help` for usage."
        for action in self.arguments:
            name = "/".join(action.option_strings) or action.metavar
            if message.startswith("unrecognized") and action.dest in _SPARE:
                next_step = f"{_SPARE[action.dest]} {next_step}"
            elif message in (f"{_MISSING}: {name}", f"argument {name}: expected one argument"):
                next_step = f"{name}: {action.help}. {next_step}"
        raise WrongUse(f"{sentence[:1].upper()}{sentence[1:]}.", next_step=next_step)

    def refuse_unknown_options(self, words: Sequence[str]) -> None:
        taken = [name for action in self.arguments for name in action.option_strings]
        taken += ["-h", "--help"]
        for word, following in zip(words, [*words[1:], ""], strict=False):
            if word == "--":
                return
            # in the same word, as in `--model=NAME` and `-mNAME`
            option, _, value = word.partition("=") if word.startswith("--") else (word[:2], "", "")
            is_option = _OPTION.match(word) and " " not in word  # else argparse's argument
            if not is_option or option in taken or word in taken:
                continue
            shown = safe_line(option, limit=_MOST_CHARS)
            message = f"`{self.prog}` does not take {shown}"
            next_step = f"`{self.prog} --help` lists what it takes."
            instead = _option_instead(word, option, value or following)
            if instead and (instead[0] != "-" or instead.partition(" ")[0] in taken):
                next_step = f"Use {instead}."
            elif self._command is PROGRAM and option in _OF_ASK:
                next_step = f'Use lmchat ask {_OF_ASK[option]} "PROMPT".'
            elif any(action.metavar == "COMMAND" for action in self.arguments):
                next_step = f"Write -- before COMMAND. {next_step}"
            elif similar := closest_word(option, taken, _LIKENESS):
                raise WrongUse(f"{message}; did you mean {similar}?", next_step=next_step)
            raise WrongUse(f"{message}.", next_step=next_step)

    def _print_message(self, message: str, _file: object = None) -> None:
        """Print help and version as all other output, on stdout."""
        Output().print_exactly(message)


class CommandLine(NamedTuple):
    command: Subcommand
    prog: str  # the program with the names of the command
    options: list[str]  # before and between these names, with their values
    rest: list[str]


def split_line(argv: Sequence[str]) -> CommandLine:
    command = PROGRAM
    prog = PROGRAM.name
    options = list[str]()
    rest = [*argv]
    commands = {one.name: one for one in command.commands}
    while rest and (rest[0] in commands or _OPTION.match(rest[0])):
        word = rest.pop(0)
        if word in commands:
            command = commands[word]
            prog = f"{prog} {word}"
            commands = {one.name: one for one in command.commands}
        else:
            options.append(word)
            if word in _WITH_VALUE:
                options += rest[:1]
                del rest[:1]
    return CommandLine(command, prog, options, rest)


def parse(argv: Sequence[str]) -> ParsedOptions:
    """Raises `WrongUse`, also for an option that the command does not take.

    For `--help` and `--version`, argparse prints the text and raises `SystemExit`.
    """
    if argv[:1] == ["help"]:  # as in git and cargo
        argv = [*argv[1:], "--help"]
    line = split_line(argv)
    parser = _Parser(line)
    words = [*line.options, *line.rest]
    if line.rest and line.command.commands:
        parser.refuse_unknown_options(line.options)
        raise _unknown_command(line)
    # before argparse, which would take the value of an unknown option for an argument
    parser.refuse_unknown_options(words)
    first = words.index("--") if "--" in words else None
    marked = [
        word + _MARK if word.endswith("--") and number != first else word
        for number, word in enumerate(words)
    ]
    options = parser.parse_args(marked, namespace=ParsedOptions())
    options.handler = line.command.handler
    options.names_left_files = line.command.names_left_files
    options.json |= line.command.json_help == ALWAYS_JSON
    kinds = {action.dest: action.metavar for action in parser.arguments}
    for name, value in [*vars(options).items()]:
        if isinstance(value, str):
            setattr(options, name, _typed(value, kinds.get(name)))
        elif isinstance(value, list):
            setattr(options, name, [_typed(word, kinds.get(name)) for word in value])
    return options


def _option_instead(word: str, option: str, value: str) -> str:
    """Return the option that does what one of another program does, or ""."""
    name = option.removeprefix("--").replace("-", "_")
    if name in SamplingSettings.__struct_fields__:
        value = "VALUE" if not value or value.startswith("--") else value
        return f"--set {name}={safe_line(value, limit=_MOST_CHARS)}"
    return OPTIONS_INSTEAD.get(option, "") if option in word.split("=") else ""


def _unknown_command(line: CommandLine) -> WrongUse:
    """Name the line that does what the word of another program does, or all commands."""
    word = line.rest[0]
    prog = line.prog
    if line.command is PROGRAM and word in MISSING:
        return no_leaf_error(word)
    may_have_password = "://" in word or "@" in word  # of an address: it is not repeated
    typed = safe_line(word, limit=_MOST_CHARS)
    names = [one.name for one in line.command.commands]
    message = f"Unknown command {typed!r}."
    next_step = f"Run `{prog} --help` for usage."
    if line.command is PROGRAM and " " in word:
        message = "A prompt needs a command."
        shown = [option for option in line.options if option not in ("--plain", "--inline")]
        options = "".join(f"{shell_word(option)} " for option in shown)  # those that `ask` takes
        is_whole = typed == word and not may_have_password and "@" not in options
        next_step = f"Use: lmchat {options}ask {shell_word(word)}" if is_whole else _ASK
    elif {"--local", "-hf"} & {*line.options}:  # as llama.cpp has it
        next_step = f"Use: lmchat --local -m {shell_word(typed)}"
    elif word.startswith("@"):
        next_step = 'Use: lmchat ask -f FILE "PROMPT"'
    elif may_have_password:
        message = "Unknown command. To connect to a server: lmchat --endpoint URL."
    elif instead := COMMANDS_INSTEAD.get(f"{prog} {word}"):
        next_step = f"Use: {instead}"
    elif word in ("list", "ls"):
        next_step = f"Use: {prog}"
    elif groups := _groups_with(line.command, word):
        next_step = f"Use: {' or '.join(f'{prog} {group} {word}' for group in groups)}"
    elif similar := closest_word(word, names, _LIKENESS):
        message = f"Unknown command {typed!r}; did you mean {similar}?"
    else:
        message = f"Unknown command {typed!r}; commands: {', '.join(names)}."
        if line.command is PROGRAM:  # it may be meant as a prompt
            next_step = f"{_ASK} {next_step}"
    return WrongUse(message, next_step=next_step)


def _groups_with(command: Subcommand, word: str) -> list[str]:
    """Return the commands of which it is one."""
    return [one.name for one in command.commands if word in (part.name for part in one.commands)]


def _typed(word: str, kind: object) -> str:
    """Return a word as it was typed: a name of a file by its bytes, others as UTF-8.

    `kind` stands for it in the help text. Raises `WrongUse` for a blank name or query.
    """
    word = word.removesuffix(_MARK)
    if kind in _NAMES and not word.strip():
        raise WrongUse(f"{kind} is empty.", next_step="Is a variable of your script unset?")
    if kind in _FILES:
        with suppress(UnicodeEncodeError):  # surrogates that stand for no bytes
            os.fsencode(word)
            return word
    return os_text(word)


def add_arguments(parser: argparse.ArgumentParser, command: Subcommand) -> list[argparse.Action]:
    """Add the arguments of a command; return them as argparse has them."""
    places: dict[str, Any] = {}
    for options in (*command.exclusive, *_EXCLUSIVE):
        places |= dict.fromkeys(options, parser.add_mutually_exclusive_group())
    return [
        places.get(one.names[0], parser).add_argument(*one.names, **one.keywords)
        for one in (*command.all_arguments, *command.common_arguments)
    ]
