"""Homes, folders, outputs and libraries that a script may be started with."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.faults import no_root, open_folder
from tests.support.programs import LMCHAT, PYTHON, Inside, run
from tests.support.scripted_products import CHAT, plain, repeat

_NO_HOME = """
import pwd, sys
def unknown(_):
    raise KeyError("uid")
pwd.getpwuid = unknown
from lmchat.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
_COMMANDS = (["ask", "hi"], ["sessions"], ["config", "show"], ["doctor"])


@pytest.fixture
def inside(tmp_path, server):
    return Inside(home=tmp_path, url=plain(server, "tiny").on(CHAT, repeat).url)


def test_without_a_home_one_sentence_says_what_to_set(tmp_path):
    for home in ({}, {"HOME": ""}, {"HOME": "relative"}):
        for words in _COMMANDS[:3:2]:
            done = subprocess.run(  # noqa: S603
                [PYTHON, "-c", _NO_HOME, *words],
                env={"PATH": os.defpath, **home},
                cwd=tmp_path,
                capture_output=True,
                stdin=subprocess.DEVNULL,
                check=False,
            )
            assert done.returncode == 2
            sentence, hint = done.stderr.decode().splitlines()
            assert sentence == "lmchat: Your home folder is not known."
            assert "HOME" in hint
    assert not [*tmp_path.iterdir()]


def test_a_home_that_no_file_can_have_is_one_sentence(inside, tmp_path):
    (tmp_path / "circle").symlink_to("circle")
    for home in ("a" * 300, "b/" * 2_100, "circle"):
        for words in _COMMANDS:
            done = inside(*words, LMCHAT_HOME=str(tmp_path / home))
            assert done.returncode == 2, done
            assert len(done.stderr) < 400
            assert "cannot be used: " in done.stderr.splitlines()[0]


def test_a_home_is_an_absolute_path_or_one_below_the_home_of_the_user(inside, tmp_path):
    inside.cwd = tmp_path
    for home in (
        "chats",
        "./chats",
        "'/chats'",
        '"~/chats"',
        "$HOME/chats",
        "C:\\chats",
        "~nobody0/c",
    ):
        for words in _COMMANDS:
            done = inside(*words, LMCHAT_HOME=home)
            assert done.returncode == 2, done
            assert f"LMCHAT_HOME is not an absolute path: {home}\n" in done.stderr
    assert not [*tmp_path.glob("*chats*")]
    for home in (str(tmp_path / "absolute"), "~/below", " ~/below "):
        assert inside("ask", "--save", "hi", LMCHAT_HOME=home).returncode == 0


def test_a_link_that_leads_nowhere_is_named(inside, tmp_path):
    """A disk that is not connected: what it has must not be taken for missing, and begun anew."""
    for number, (name, words, code) in enumerate(
        (
            ("config.toml", ["ask", "hi"], 2),
            ("credentials.toml", ["ask", "hi"], 0),
            ("mcp.json", ["ask", "hi"], 0),
            ("tools.py", ["tools"], 1),
            ("sessions.db", ["sessions"], 1),
            ("sessions.db", ["ask", "--save", "hi"], 1),
            ("", ["ask", "hi"], 2),
            ("", ["doctor"], 1),
        )
    ):
        home = tmp_path / str(number)
        link = home / name
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(tmp_path / "disk" / name)
        done = inside(*words, LMCHAT_HOME=str(home))
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode == code, done
        assert "a link that leads nowhere" in said, done
        assert link.is_symlink()
    assert not (tmp_path / "disk").exists()


def test_a_home_that_may_not_be_written_costs_only_what_is_saved(inside, tmp_path):
    (tmp_path / "file").write_text("x")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        done = inside("ask", "hi", LMCHAT_HOME=str(home))
        assert (done.returncode, done.stdout) == (0, "hi\n")
        assert inside("ask", "--save", "hi", LMCHAT_HOME=str(home)).returncode == 1


def test_a_folder_that_may_not_be_entered_is_named_with_its_owner_and_costs_what_is_in_it(
    server, monkeypatch
):
    monkeypatch.chdir("/")  # others may not enter that of the tests
    used = ["ask hi", "config show", "models"]
    needed = ["sessions", "export last", "ask --save hi"]
    with open_folder() as home:
        url = plain(server, "tiny").on(CHAT, repeat).url
        everywhere = {"env": {"LMCHAT_HOME": ""}, "cwd": Path("/")}
        inside = Inside(home=home, url=url, **everywhere)
        engine = Inside(home=home, **everywhere)

        def run(words):
            return (engine if "--local" in words else inside)(*words.split())

        for words in (*needed[::-1], *used, "models --local"):  # makes folders, imports all
            assert run(words).returncode == 0
        files = inside.json("config", "path", "--json")
        state, config = (Path(files[name]).parent for name in ("log", "config"))
        state.mkdir(parents=True)
        for path in home.rglob("*"):
            path.chmod(0o777)
        for closed in (state, config, home):
            closed.chmod(0o000)
            sentence = (
                f"{closed} cannot be entered: it belongs to {closed.owner()}, with mode 0000."
            )
            for words in (*used, "models --local", *needed):
                with no_root():
                    done = run(words)
                is_done = words not in needed or closed == state
                assert done.returncode == (0 if is_done else 1), (words, done)
                assert "hi" in done.stdout or words != "ask hi"
                assert done.stderr.count(sentence) == 1
                assert "internal" not in done.stderr
            closed.chmod(0o777)


def test_in_a_folder_that_was_removed_only_relative_names_are_refused(cli, server, tmp_path):
    (tmp_path / "notes.md").write_text("oats")
    gone = tmp_path / "gone"
    for words, code in (
        (["ask", "hi"], 0),
        (["ask", "-f", f"{tmp_path}/notes.md", "hi"], 0),
        (["ask", "-f", "*.md", "hi"], 2),
        (["--config", "lmchat.toml", "ask", "hi"], 2),
        (["batch", "in.jsonl"], 2),
        (["export", "--all", "x"], 2),
    ):
        gone.mkdir()
        script = 'rmdir "$PWD"; exec "$@"'
        done = run(["sh", "-c", script, "sh", *cli.argv(*words)], home=cli.home, cwd=gone)
        assert done.returncode == code, done
        if code:
            sentence, hint = done.stderr.splitlines()
            assert sentence.startswith("lmchat: The current folder cannot be used: ")
            assert hint.startswith("Change to another folder")


def test_after_a_library_of_pythonpath_that_breaks_lmchat_a_hint_names_the_variable(tmp_path):
    for library, text in (
        ("msgspec", "__version__ = '0.1'"),
        ("h11", "raise AssertionError"),
        ("httpcore", "print 'as of Python 2'"),
        ("token", "secret = 1"),  # of Python itself, as `logging`
        ("logging", ""),
    ):
        folder = tmp_path / library
        folder.mkdir()
        (folder / f"{library}.py").write_text(text)
        done = run([*LMCHAT, "ask", "hi"], home=tmp_path, env={"PYTHONPATH": str(folder)})
        assert (done.returncode, done.stdout) == (1, "")
        sentence, hint = done.stderr.splitlines()
        assert sentence.startswith("lmchat: ")
        assert hint.endswith("try PYTHONPATH= lmchat")


def test_an_output_named_as_stdout_or_a_device_is_written_there(inside, tmp_path):
    inside.cwd = tmp_path
    inside("ask", "--save", "hi")
    (tmp_path / "in.txt").write_text("a\nb\n")
    whole = inside("export", "last").stdout
    rows = ("batch", "--text", "in.txt", "--jobs", "1")
    for name in ("-", "/dev/stdout"):
        assert inside("export", "last", "-o", name).stdout == whole
        replies = [json.loads(row) for row in inside(*rows, "-o", name).stdout.splitlines()]
        assert [row["reply"] for row in replies] == ["a", "b"]
    for words in (("export", "last"), rows):
        assert inside(*words, "-o", "/dev/null").returncode == 0
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE) as reader:  # noqa: S603, S607
            assert inside(*words, "-o", str(pipe)).returncode == 0
            got = reader.communicate()[0].decode()
        assert got == whole or [json.loads(row)["reply"] for row in got.splitlines()] == ["a", "b"]
        pipe.unlink()
        assert inside(*words, "-o", "/dev/full").returncode == 1
    assert {path.name for path in tmp_path.iterdir()} <= {"in.txt", "lmchat"}


def test_a_stream_that_takes_no_text_costs_no_exit_code_and_no_other_stream(inside):
    def exits(words: str, places: str, **environ: str) -> tuple[int, str, str]:
        argv = shlex.join(inside.argv(*shlex.split(words)))
        done = run(["/bin/sh", "-c", f"{argv} {places}"], home=inside.home, env=environ)
        return done.returncode, done.stdout, done.stderr

    full = "lmchat: The output cannot be written: No space left on device.\n"
    for words in ("ask --help", "--plain --version", "completion bash"):
        for unbuffered in ("", "1"):
            told = exits(words, ">/dev/full", PYTHONUNBUFFERED=unbuffered)
            assert told == (1, "", full), words
        code, out, said = exits(words, "2>/dev/full", PYTHONIOENCODING="ascii")
        assert (code, said, bool(out)) == (0, "", True), words
        assert exits(words, ">&-") == (0, "", ""), words
    for place in ("2>/dev/full", "2>&-"):
        code, out, _ = exits("ask hi --set x --json", place)
        assert (code, json.loads(out)["detail"]["error"]) == (2, "wrong_use")
        assert exits("--plain", f"{place} </dev/null") == (0, "", "")
        assert exits("sessions", place) == (0, "", "")  # all that it has is a note


def test_a_stdin_that_cannot_be_read_is_told_in_a_sentence(inside, tmp_path):
    for words, place in (
        *((words, f"0>{tmp_path / 'new'}") for words in ("ask hi", "import -", "--plain")),
        ("batch -", "<&-"),
    ):
        argv = f"{shlex.join(inside.argv(*words.split()))} {place}"
        done = run(["/bin/sh", "-c", argv], home=inside.home)
        assert (done.returncode, done.stdout) == (2, ""), words
        sentence, hint = done.stderr.splitlines()
        assert sentence.startswith("lmchat: ")
        assert ("stdin cannot be read" in sentence) == (place != "<&-"), sentence
        assert hint
