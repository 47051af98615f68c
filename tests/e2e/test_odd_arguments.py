"""Words that no command expects: none of them ends in an internal error."""

from __future__ import annotations

import json
import os

import pytest

from lmchat.app.cli.subcommands import PROGRAM
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT

Cli = Inside

ODD = (
    *(
        "--",
        "-",
        "",
        "\n",
        "\x1b]0;x\x07",
        "\ud800",
        "b\udce4r",
        "x" * 100_000,
        "~no/x",
    ),
    *("**", "{", "http://[", "a/" * 3_000),
)
# They run until they are stopped, and they look at this machine; their arguments are tried.
ENDLESS = ("serve", "detect", "doctor", "health")


def _commands(command=PROGRAM, words=()):
    """Yield the words of each command and action, and `lmchat` itself."""
    yield words, command
    for one in command.commands:
        yield from _commands(one, (*words, one.name))


COMMANDS = dict(_commands())


@pytest.mark.timeout(300)
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_odd_word_ends_in_an_internal_error(alone, tmp_path, words):
    alone.cwd = tmp_path
    command = COMMANDS[words]
    own = [*command.all_arguments] if words else [*command.common_arguments]
    required = ["last" for one in own if not one.is_option and "nargs" not in one.keywords]
    options = [
        one.names[-1]
        for one in own
        if one.is_option and one.value and "choices" not in one.keywords
    ]
    lines = [[*words, *required[:-1], *behind, odd] for odd in ODD for behind in ([], ["--"])]
    if words:
        lines += [[*words, option, odd, *required] for odd in ODD for option in options]
    else:  # the options of all commands, before one of them
        lines += [[option, odd, "sessions"] for odd in ODD for option in options]
    for line in lines:
        if not words and len(line) == 1 and line[0] in ("", "--"):
            line.append("sessions")
        if words and words[0] in ENDLESS:
            line.append("--no-such-option")
        done = alone(*line, HOME=str(tmp_path))
        shown = [word[:20] for word in line]
        assert done.returncode in (0, 1, 2, 3), (shown, done.stderr)
        assert "internal error" not in done.stderr, shown
        assert "Traceback" not in done.stderr, shown
        assert "\x1b" not in done.stderr, shown


def test_names_of_files_that_are_not_utf_8_are_used_by_their_bytes(cli, server, tmp_path):
    folder = tmp_path / os.fsdecode(b"d\xe4r")
    folder.mkdir()
    cli.cwd = folder
    name = os.fsdecode(b"b\xe4r")
    for ending, text in (
        ("txt", "oats"),
        ("toml", "[ui]\ntheme = 'light'"),
        ("json", '[{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]'),
    ):
        (folder / f"{name}.{ending}").write_text(text)
    for word in (f"{name}.txt", f"{folder}/*.txt"):
        done = cli("ask", "--save", "--yes", "-f", word, "hi")
        assert done.returncode == 0, done.stderr
        sent = server.seen(CHAT)[-1].json["messages"][-1]["content"]
        assert "oats" in sent
        assert "b\ufffdr.txt" in sent
    assert "light" in cli("--config", f"{name}.toml", "config", "show").stdout
    for words in (
        ("import", "--json", f"{name}.json"),
        ("export", "last", "--json", "-o", f"{name}.md"),
        ("batch", f"{name}.json", "-o", f"{name}.rows"),
        ("ask", "--json", "-f", f"{name}.none", "hi"),
        ("config", "path", "--json"),
    ):
        done = cli(*words, LMCHAT_HOME=str(folder / name))
        for line in [done.stdout] if done.stdout else []:
            line.encode()
            assert "\\udce4" not in line
            json.loads(line)
        assert "internal error" not in done.stderr, words
    found = {os.fsencode(path.name) for path in folder.iterdir()}
    assert {b"b\xe4r", b"b\xe4r.md", b"b\xe4r.rows"} <= found
    assert (folder / name / "sessions.db").is_file()
