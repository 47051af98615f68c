from __future__ import annotations

import re
import shlex
from argparse import ArgumentParser
from contextlib import suppress

import pytest

from lmchat.app.cli.options import ParsedOptions
from lmchat.app.cli.parser import COMMANDS_INSTEAD, OPTIONS_INSTEAD, add_arguments, parse
from lmchat.app.cli.subcommands import COMMON_ARGUMENTS, PROGRAM, SUBCOMMANDS
from lmchat.base.errors import WrongUse
from lmchat.base.leaf import import_function, leaf
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


def _all(commands, prefix=()):
    for command in commands:
        yield (*prefix, command.name), command
        yield from _all(command.commands, (*prefix, command.name))


def _typed(argument):
    """Return an option with a value that it may have, or the value of a positional argument."""
    values = {"LEVEL": "low", "N": "5", "PORT": "5", "TOKENS": "5"}
    choices = argument.keywords.get("choices")
    value = [choices[0] if choices else values.get(argument.value, "x")] if argument.value else []
    return [argument.names[-1], *value] if argument.is_option else value


def test_each_option_is_taken_by_the_commands_that_name_it_and_refused_by_the_others():
    commands = [*_all(SUBCOMMANDS)]
    own = [one for _, command in commands for one in command.all_arguments if one.is_option]
    options = {one.names[-1]: one for one in (*own, *COMMON_ARGUMENTS)}
    for words, command in commands:
        line = list(words)
        for one in command.arguments:
            if not one.is_option and one.keywords.get("nargs") not in ("?", "*"):
                line += _typed(one)
        taken = (*command.all_arguments, *command.common_arguments)
        takes = {name: one for one in taken for name in one.names}
        for name, option in options.items():
            typed = _typed(takes.get(name, option))
            places = [[*line, *typed]]
            if option in COMMON_ARGUMENTS:
                places += [[*typed, *line], [line[0], *typed, *line[1:]]]
            for argv in places:
                if name in takes:
                    parse(argv)
                    continue
                with pytest.raises(WrongUse, match="does not take") as caught:
                    parse(argv)
                assert caught.value.exit_code == 2


@pytest.mark.leaf("batch", "doctor", "serve")
def test_words_of_other_programs_lead_to_lines_that_run():
    for typed, line in COMMANDS_INSTEAD.items():
        with pytest.raises(WrongUse, match="Unknown command") as caught:
            parse([*typed.split()[1:], "x"])
        assert caught.value.next_step == f"Use: {line}"
        program, *words = shlex.split(line.partition(",")[0])
        if program == "lmchat":  # else it is a recipe
            with suppress(SystemExit):  # --version
                parse(words)
    for typed, option in OPTIONS_INSTEAD.items():
        words = {"-v": [], "-V": [], "-p": [], "-f": ["export"]}.get(typed, ["ask", "hi"])
        with pytest.raises(WrongUse, match=f"`lmchat.*` does not take {typed}") as caught:
            parse([*words, typed, "x"])
        assert caught.value.next_step == f"Use {option}."
        if option.startswith("-"):  # else it is no option
            with suppress(SystemExit):
                parse([*words, *option.partition(",")[0].split()])
    for line, hint in (
        ("ask --temperature 0.3 hi", "Use --set temperature=0.3."),
        ("compare --top-p=0.4 hi", "Use --set top_p=0.4."),
        ("-c 4096", "Use -r last, or for a window context = TOKENS below [local] in config.toml."),
        ("stats --plot", "Use --json."),
        ("-p hi", 'Use lmchat ask "PROMPT", or lmchat ask -p NAME "PROMPT" for a preset.'),
        ("--schema x hi", 'Use lmchat ask --schema FILE "PROMPT".'),
        ("@note.txt", 'Use: lmchat ask -f FILE "PROMPT"'),
        (
            "tools add fs npx -y x",
            "Write -- before COMMAND. `lmchat tools add --help` lists what it takes.",
        ),
        ("-hf org/plant", "Use: lmchat --local -m org/plant"),
        ("rename", "Use: lmchat sessions rename"),
        ("serve --api-key K", "--key KEY of lmchat serve."),
        ("sessions pin last", "Use: Ctrl+B on the chat screen, then p"),
        ("ask -o answer.md hi", "Use --set NAME=VALUE, or > FILE for a file."),
        ("completion", "SHELL: bash, zsh or fish. Run `lmchat completion --help` for usage."),
        (
            "-r",
            "continue a session: its id, 4 letters of it, or `last`. Run `lmchat --help` for usage.",
        ),
        ("config ls", "Use: lmchat config"),
        (
            "ask hi note.txt",
            (
                "One -f for each file, or a pattern in quotes: -f '*.py'. Put a prompt in quotes. "
                "Run `lmchat ask --help` for usage."
            ),
        ),
        (
            "sessions rename last New title",
            "Put the title in quotes. Run `lmchat sessions rename --help` for usage.",
        ),
        (
            "export last x.md",
            "To write a file: -o FILE. Run `lmchat export --help` for usage.",
        ),
        ("models -s x", "`lmchat models --help` lists what it takes."),  # it has no system prompt
        ("ask --quiet hi", "`lmchat ask --help` lists what it takes."),
    ):
        with pytest.raises(WrongUse) as caught:
            parse(line.split())
        assert caught.value.next_step.endswith(hint), line
    for words, hint in (
        (["-m", "a b", "What is new?"], "Use: lmchat -m 'a b' ask 'What is new?'"),
        (["--plain", "-m", "x", "--inline", "a b"], "Use: lmchat -m x ask 'a b'"),
        (["What has a@b.example written?"], 'To send a prompt: lmchat ask "PROMPT".'),
    ):
        with pytest.raises(WrongUse) as caught:
            parse(words)
        assert caught.value.next_step == hint


def test_help_is_also_a_word_before_a_command(capsys):
    for typed, words in (
        (["help"], ["--help"]),
        (["help", "config", "check"], ["config", "check", "-h"]),
    ):
        shown = []
        for argv in (typed, words):
            with pytest.raises(SystemExit):
                parse(argv)
            shown.append(capsys.readouterr().out)
        assert shown[0] == shown[1] != ""


def test_the_option_after_the_command_wins_over_the_one_before():
    others = {"--log-level": "error", "--effort": "max"}
    for option, name, value in _SHARED:
        words = [option, others.get(option, "old"), "ask", option, value]
        assert getattr(parse(words), name) == value, words


def test_a_value_of_dashes_is_that_value():
    options = parse(["ask", "--system=--", "-m--", "--allow-host=--", "hi"])
    assert (options.system_prompt, options.models, options.allowed_hosts) == ("--", ["--"], ["--"])


def test_a_blank_name_or_query_is_refused():
    for words in (
        ["models", "pull", ""],
        ["models", "rm", " "],
        ["ask", "-m", "", "hi"],
        ["--endpoint", "", "ask", "hi"],
        ["sessions", "rename", "", "Garden"],
        ["tools", "call", ""],
        ["search", ""],
    ):
        with pytest.raises(WrongUse, match="is empty"):
            parse(words)
    assert parse(["ask", "--system", "", ""]).system_prompt == ""


def test_options_without_a_command_open_the_chat_screen():
    options = parse(["-m", "m", "-r", "last", "--system", "s"])
    assert (options.handler, options.model, options.resume, options.system_prompt) == (
        "",
        "m",
        "last",
        "s",
    )


_WRONG = [
    (["sarch"], "Unknown command 'sarch'; did you mean search?"),
    (["sess"], "Unknown command 'sess'; did you mean sessions?"),
    (["xyzzy"], "Unknown command 'xyzzy'; commands: ask, models, tools, "),
    (["models", "lod", "x"], "Unknown command 'lod'; did you mean load?"),
    (["http://a:s3cret@b"], "Unknown command. To connect to a server: lmchat --endpoint URL."),
    (["models", "load"], "Missing: MODEL."),
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
    (["completion"], "Missing: SHELL."),
    (["ask", "a", "b"], "Unrecognized arguments: b."),
    (["--modle", "x"], "`lmchat` does not take --modle; did you mean --model?"),
    (["sessions", "--trahs=1"], "`lmchat sessions` does not take --trahs; did you mean --trash?"),
    (["ask", "--json", "--xyzzy"], "`lmchat ask` does not take --xyzzy."),
    (["ask", "--dry-run=yaml"], "--dry-run/--dry-run=json: does not take 'yaml'."),
    (["--log-level", "loud"], "--log-level: invalid choice: 'loud'"),
    (["completion", "cmd"], "SHELL: invalid choice: 'cmd'"),
    (["-m"], "-m/--model: expected one argument."),
    (["ask", "--json", "x", "--stream-json"], "--stream-json: not allowed with argument --json."),
]


def test_wrong_arguments_are_one_sentence():
    for words, sentence in _WRONG:
        with pytest.raises(WrongUse) as caught:
            parse(words)
        assert caught.value.message.startswith(sentence)
        assert "\n" not in caught.value.message
        assert "--help" in str(caught.value.next_step)


_EXAMPLES = [
    *(
        (f"lmchat {' '.join(words)}", example)
        for words, command in _all(SUBCOMMANDS)
        for example in command.examples.splitlines()
    ),
]


def test_every_example_of_the_help_is_understood_and_is_of_its_command():
    for prog, example in _EXAMPLES:
        commands = commands_of(example)
        assert commands, example
        assert any(f"lmchat {' '.join(words)}".startswith(prog) for words in commands)
        for words in commands:
            parse(words)


def _handler(name):
    return import_function(f"lmchat.app.cli.handlers.{name}")


def test_each_command_has_help_of_80_columns_an_example_a_handler_and_defaults(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    examples = {example for _, example in _EXAMPLES}
    for words, command in [((), PROGRAM), *_all(SUBCOMMANDS)]:
        with pytest.raises(SystemExit):
            parse([*words, "--help"])
        shown = capsys.readouterr().out.splitlines()
        assert max(map(len, shown)) <= 80
        if words:
            assert {line.strip() for line in shown} & examples
            find = leaf if "." in command.handler else _handler
            assert callable(find(command.handler))
        else:
            assert len(shown) <= 50
            assert all(re.search(rf"\b{one.name}\b", "\n".join(shown)) for one in SUBCOMMANDS)
            assert shown.index("Chat:") < shown.index("Options:")
        for action in add_arguments(ArgumentParser(), command):
            assert action.dest == "version" or hasattr(ParsedOptions, action.dest), action.dest
