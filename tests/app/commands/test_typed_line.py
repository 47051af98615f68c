from __future__ import annotations

import os

import pytest

from lmchat.app.commands.table import SLASH_COMMANDS
from lmchat.app.commands.typed_line import is_command, message_notice, parse_slash, require_slash
from lmchat.base.errors import WrongUse

ALIASES = (
    "exit",
    "quit",
    "q",
    ":q",
    "/answer",
    "/attach",
    "/bye",
    "/exit",
    "/keys",
    "/less",
    "/open",
    "/q",
    "/resume",
    "/rename",
    "/save",
    "/tokens",
)
ROOT_FOLDERS = frozenset(f"/{name}" for name in os.listdir("/"))  # noqa: PTH208 - as bare names
NAMES = frozenset(command.name for command in SLASH_COMMANDS)


def short_names(name: str) -> list[str]:
    """Return the beginnings of a name that no other command has, without the whole name."""
    shorter = (name[:end] for end in range(2, len(name)))
    return [short for short in shorter if sum(other.startswith(short) for other in NAMES) == 1]


@pytest.mark.parametrize("is_plain", [False, True])
def test_a_sentence_runs_a_command_only_behind_the_whole_name_of_one_that_takes_words(is_plain):
    for command in SLASH_COMMANDS:
        takes_words = " " in command.slash or (is_plain and command.name in ("/sessions", "/edit"))
        for name in (command.name, *short_names(command.name)):
            for words in (" of life, what is it?", " x", "  a b ", "\tof life", "\u3000茶"):
                line = name + words
                runs = takes_words and name == command.name
                assert is_command(line, is_plain=is_plain) is runs, line
                assert bool(message_notice(line, is_plain=is_plain)) is not runs, line
                assert (parse_slash(line, is_plain=is_plain) is not None) is runs, line
            if name in NAMES or name not in ROOT_FOLDERS:
                assert is_command(f"{name} ", is_plain=is_plain), name
                assert parse_slash(name, is_plain=is_plain).command is command


def test_a_notice_says_why_a_line_was_sent_as_a_message():
    for line, notice in (
        ("/tree of life, what is it?", "/tree takes no words, so this was sent as a message."),
        ("/del the second line", "/del takes no words, so this was sent as a message."),
        ("/exit codes of bash?", "/exit takes no words, so this was sent as a message."),
        (
            "/syst em of a down",
            "Words belong behind the whole name /system, so this was sent as a message.",
        ),
        ("/system em of a down", ""),
        ("/tree", ""),
        ("/etc is what?", ""),
        ("/tree of life\nwhat is it?", ""),
        ("tell /tree me", ""),
        ("exit the house", ""),
        ("/modle x", ""),
    ):
        assert message_notice(line) == notice, line


def test_other_names_of_a_command_take_the_words_that_it_takes():
    for name in ALIASES:
        assert is_command(name), name
    assert parse_slash("/open notes.md").command.name == "/file"
    assert parse_slash("/resume").command.name == "/sessions"
    assert parse_slash("/rename Peas and beans").argument == "Peas and beans"
    for line in (
        "/exit strategies for startups?",
        "/resume of a cook",
        "quit it",
        "Exit",
        ":q!",
    ):
        assert not is_command(line), line


def test_a_command_is_a_known_name_or_a_word_of_letters_that_is_no_folder():
    for line in (
        "/model qwen",
        "/exi",
        "/export out.md",
        "/nothing",
        "/modle x",
        "/q",
        "/?",
        "/set temperature 0.2",
        "/sessions",
        "/s what?",
    ):
        assert is_command(line), line
    for line in (
        "/2 of it",
        "/usr/bin/env is what?",
        "/etc/hosts",
        "/etc",
        "/etc is what?",
        "/usr and garden?",
        "/exp out.md",
        "/export this\nand that",
        "//",
        "// a comment",
        "/ what?",
        "/tree: what is it?",
        "/tree, what is it?",
        " /tree",
        "tell /model",
    ):
        assert not is_command(line), line


def test_an_unknown_command_is_told_with_a_near_name():
    with pytest.raises(WrongUse, match=r"Unknown command: /modle; did you mean /model\?") as caught:
        require_slash("/modle x", help_by="F1")
    assert caught.value.next_step.startswith("F1 lists the commands.")
    with pytest.raises(WrongUse, match=r"Unknown command: /temperature\.$") as caught:
        require_slash("/temperature 0.7", help_by="F1")
    assert caught.value.next_step == "Use: /set temperature VALUE"
    for line, ending in (
        ("/xyzzyfoo", r"\."),
        ("/prompt x", r"; see /system or /p\."),
        ("/tokns", r"; did you mean /tokens\?"),
    ):
        with pytest.raises(WrongUse, match=rf"Unknown command: /\w+{ending}$"):
            require_slash(line, help_by="F1")
    with pytest.raises(WrongUse, match="…"):
        require_slash("/" + "a" * 100_000, help_by="F1")
