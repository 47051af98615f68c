from __future__ import annotations

import importlib

import pytest

from lmchat.cli.options import ParsedOptions
from lmchat.cli.parser import build_parser, parse
from lmchat.cli.subcommands import SUBCOMMANDS
from lmchat.errors import WrongUse
from tests.support.recipes import commands_of

_SHARED = [
    ("--endpoint", "endpoint", "http://a"),
    ("-m", "model", "m"),
    ("--model", "model", "m"),
    ("--profile", "profile", "p"),
    ("--system", "system_prompt", "s"),
    ("-r", "resume", "last"),
    ("--resume", "resume", "last"),
    ("--effort", "effort", "none"),
    ("--config", "config", "c.toml"),
    ("--log-level", "log_level", "debug"),
]
_LEAVES = [
    ["ask", "hi"],
    ["models"],
    ["models", "load", "x"],
    ["health"],
    ["detect"],
    ["metrics"],
    ["metrics", "reset"],
    ["sessions"],
    ["sessions", "show", "last"],
    ["search", "x"],
    ["export"],
    ["config", "show"],
    ["completion", "bash"],
]


def test_an_option_holds_before_between_and_after_the_words_of_a_command():
    for number, command in enumerate(_LEAVES):
        option, name, value = _SHARED[number % len(_SHARED)]
        for place in range(len(command) + 1):
            if place and command[place - 1 : place + 1] == ["ask", "hi"]:
                continue
            words = [*command[:place], option, value, *command[place:]]
            assert getattr(parse(words), name) == value, words


def test_the_option_after_the_command_wins_over_the_one_before():
    others = {"--log-level": "error", "--effort": "max"}
    for option, name, value in _SHARED:
        words = [option, others.get(option, "old"), "ask", option, value]
        assert getattr(parse(words), name) == value, words


def test_options_without_a_command_open_the_chat_screen():
    options = parse(["-m", "m", "-r", "last", "--system", "s"])
    assert (options.handler, options.model, options.resume, options.system_prompt) == (
        "",
        "m",
        "last",
        "s",
    )


_WRONG = [
    (["aks"], "Unknown command 'aks'; did you mean ask?"),
    (
        ["xyzzy"],
        "Unknown command 'xyzzy'; commands: ask, models, compare, batch, decide, eval, tools, health, detect, metrics, stats",
    ),
    (["models", "lod", "x"], "Unknown command 'lod'; did you mean load?"),
    (["http://a:s3cret@b"], "Unknown command. To connect to a server: lmchat --endpoint URL."),
    (["models", "load"], "The following arguments are required: MODEL."),
    *(
        (
            ["models", "load", "x", "--context", value],
            "--context: must be a whole number of at least 1.",
        )
        for value in ("8k", "0", "9" * 5000)
    ),
    *(
        (["--effort", value], "--effort: must be none, minimal, low")
        for value in ("hard", "-5", "1.5")
    ),
    (["config"], "The following arguments are required: ACTION."),
    (["completion"], "The following arguments are required: SHELL."),
    (["ask", "a", "b"], "Unrecognized arguments: b."),
    (["--modle", "x"], "Unknown option: --modle; did you mean --model?"),
    (["ask", "--refresj=1"], "Unknown option: --refresj; did you mean --refresh?"),
    (["ask", "--json", "--xyzzy"], "Unknown option: --xyzzy."),
    (["-s", "Be short.", "ask", "x"], "Unknown option: -s."),
    (["--temporary", "--json", "ask", "x"], "Unrecognized arguments: --json."),
    (["ask", "--dry-run=yaml"], "--dry-run/--dry-run=json: does not take 'yaml'."),
    (["--log-level", "loud"], "--log-level: invalid choice: 'loud'"),
    (["completion", "cmd"], "SHELL: invalid choice: 'cmd'"),
    (["-m"], "-m/--model: expected one argument."),
    (["ask", "--json", "x", "--stream-json"], "--stream-json: not allowed with argument --json."),
]


def test_a_prompt_without_a_command_is_answered_with_the_command_that_sends_it():
    for words, is_prompt in ((["What is new?"], True), (["sessions", "What is new?"], False)):
        with pytest.raises(WrongUse) as caught:
            parse(words)
        assert ('lmchat ask "PROMPT"' in str(caught.value.hint)) is is_prompt


def test_wrong_arguments_are_one_sentence():
    for words, sentence in _WRONG:
        with pytest.raises(WrongUse) as caught:
            parse(words)
        assert caught.value.message.startswith(sentence)
        assert "\n" not in caught.value.message
        assert "--help" in str(caught.value.hint)


def test_what_was_removed_is_refused_with_what_to_use_in_its_place():
    for line, instead in (
        ("replay last", '"Ask for a saved answer again" in docs/scripts.md'),
        ("-m tiny --json replay 3f2a:2 --set seed=1", "docs/scripts.md"),
        ("ask --dry-run=text Hi", "`ask --dry-run=curl`"),
        ("stats --plot", "`lmchat stats --json`"),
    ):
        with pytest.raises(WrongUse) as caught:
            parse(line.split())
        assert " was removed: use " in caught.value.message
        assert instead in caught.value.message
        assert caught.value.exit_code == 2
    with pytest.raises(WrongUse, match="Unrecognized arguments: last"):
        parse(["ask", "replay", "last"])


def _all(commands, prefix=()):
    for command in commands:
        yield (*prefix, command.name), command
        yield from _all(command.commands, (*prefix, command.name))


_EXAMPLES = [
    *(
        (f"lmchat {' '.join(words)}", example)
        for words, command in _all(SUBCOMMANDS)
        for example in command.examples.splitlines()
    ),
    *(
        ("lmchat", line)
        for line in build_parser().epilog.splitlines()
        if line.startswith("  lmchat --")
    ),
]


def test_every_example_of_the_help_is_understood_and_is_of_its_command():
    for prog, example in _EXAMPLES:
        commands = commands_of(example)
        assert commands, example
        assert any(f"lmchat {' '.join(words)}".startswith(prog) for words in commands)
        for words in commands:
            parse(words)


def test_each_command_has_help_of_80_columns_an_example_a_handler_and_defaults(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    parsers = [build_parser()]
    examples = [example for _, example in _EXAMPLES]
    for parser in parsers:
        shown = parser.format_help().splitlines()
        assert max(map(len, shown)) <= 80
        assert {line.strip() for line in shown} & set(examples)
        module, _, function = str(parser.get_default("handler")).partition(":")
        assert not function or callable(
            getattr(importlib.import_module(f"lmchat.cli.handlers.{module}"), function)
        )
        for action in parser._actions:
            is_known = action.dest in ("help", "version", "==SUPPRESS==")
            assert is_known or hasattr(ParsedOptions, action.dest), action.dest
            if isinstance(action.choices, dict):
                parsers.extend(action.choices.values())
    assert len(parsers) > len(list(_all(SUBCOMMANDS)))
