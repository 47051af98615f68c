"""On a real pty: keys arrive as they were meant, and the terminal is given back on every way out."""

from __future__ import annotations

import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.pty_program import PtyProgram

pytestmark = pytest.mark.slow  # a program for each test

APP = [sys.executable, "-m", "tests.support.keys_app"]
F1, F5, F7, F8 = "\x1bOP", "\x1b[15~", "\x1b[18~", "\x1b[19~"


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return tmp_path / "saved"


@pytest.fixture
def program(saved: Path) -> Iterator[PtyProgram]:
    with PtyProgram([*APP, str(saved)], home=saved.parent) as program:
        program.wait_for("80x24")
        yield program


@pytest.fixture
def slow_program(saved: Path) -> Iterator[PtyProgram]:
    with PtyProgram([*APP, str(saved), "slow"], home=saved.parent) as program:
        program.wait_for("80x24")
        yield program


def is_clean(program: PtyProgram) -> bool:
    assert program.left_behind() == []
    assert "Traceback" not in program.text
    return True


def assert_leaves_clean(program: PtyProgram) -> None:
    """Leave by F1: with the status of the app, and the terminal as it was."""
    program.type(F1)
    assert program.wait_exit() == 7
    assert is_clean(program)


# Keys


MEANT = {
    "\x1b\r": "alt+enter",
    "\x1b[27;2;13~": "shift+enter",
    "\x1b[13;2u": "shift+enter",
    "\x1b1": "alt+1",
    "\x1b9": "alt+9",
    "\x1b[1;3B": "alt+down",
    "\n": "ctrl+j",
}


def test_late_answers_of_the_terminal_are_not_typed_into_the_shell(program: PtyProgram) -> None:
    program.is_slow = True
    program.type(F1)
    program.wait_asked_last()
    for answer in ("2026;2$y", "\x1b]11;rgb:1e1e/1e1e/1e1e\x07", "\x1b[<35;10;10M", "\x1b[?1;2c"):
        program.type(answer)
    assert program.wait_exit() == 7
    assert is_clean(program)
    program.type("x")
    program.wait_until(lambda: program.unread() > 0, "what is typed for the shell")
    assert program.unread() == 1


def test_a_terminal_that_answers_nothing_is_left_all_the_same(program: PtyProgram) -> None:
    program.is_slow = True
    assert_leaves_clean(program)


def test_keys_are_what_was_meant_and_bytes_that_are_no_text_end_nothing(
    program: PtyProgram,
) -> None:
    before = "80x24"
    for typed, key in MEANT.items():
        program.type(typed, sees=f"{key}\nshown")
        program.type("z", sees="z\nshown")
        assert program.text.split()[-4:-1] == [before, key, "z"], "neither Enter nor Esc"
        before = "z"
    program.type(b"\xff\xfe")
    program.type("y", sees="y\nshown")
    program.type("\x1b", sees="escape\nshown")
    assert_leaves_clean(program)


# Ways out


def test_saving_that_takes_for_ever_is_cut_after_a_second(
    slow_program: PtyProgram, saved: Path
) -> None:
    slow_program.kill(signal.SIGQUIT)
    assert slow_program.wait_exit() == 128 + signal.SIGQUIT
    assert is_clean(slow_program)
    assert not saved.exists()


def test_nothing_is_drawn_after_the_terminal_is_given_back(program: PtyProgram) -> None:
    program.type(F5)
    program.wait_until(lambda: len(program.raw) > 100_000, "a flood")
    program.kill(signal.SIGTERM)
    program.wait_exit()
    assert is_clean(program)
    assert program.raw.endswith(b"\x1b[?1049l\x1b[?25h")


def test_a_terminal_that_takes_nothing_does_not_keep_the_program(program: PtyProgram) -> None:
    program.stop_reading()
    program.type(F5)
    program.kill(signal.SIGTERM)
    assert program.wait_exit() == 143


@pytest.mark.skipif(shutil.which("setsid") is None, reason="macOS has no setsid")
def test_a_closed_window_ends_a_program_that_ignored_the_signal(saved: Path) -> None:
    command = [
        "sh",
        "-c",
        f"trap '' HUP; exec setsid {sys.executable} -m tests.support.keys_app {saved}",
    ]
    with PtyProgram(command, home=saved.parent) as program:
        program.wait_for("80x24")
        program.hang_up()
        program.wait_until(saved.exists, "saved after the terminal went away", 5)


EDITOR = """\
import pathlib, sys, termios
assert termios.tcgetattr(0)[3] & termios.ECHO, "the terminal is not as it was"
file = pathlib.Path(sys.argv[1])
print("editing", file.read_text(), flush=True)
file.write_text(input() + "\\n")
"""


def test_the_editor_gets_the_terminal_and_the_app_goes_on_meanwhile(saved: Path) -> None:
    editor = saved.parent / "editor.py"
    editor.write_text(EDITOR, encoding="utf-8")
    environ = {"VISUAL": f"{sys.executable} '{editor}'"}
    with PtyProgram([*APP, str(saved)], home=saved.parent, env=environ) as program:
        program.wait_for("80x24")
        program.type(F8, sees="editing draft")
        drawn = len(program.raw)
        program.type("better words", sees="better words")
        assert len(program.raw) < drawn + 100  # an echo, but no frame of ours
        ticks = saved.with_suffix(".ticks")
        ticks.unlink(missing_ok=True)
        program.wait_until(ticks.exists, "the app ticks while the editor has the terminal")
        program.type("\r", sees="better words\nedited")
        program.type("z", sees="z\nshown")
        program.type(F7, sees="away")  # an editor that is left by Ctrl+C
        program.type("x\r", sees="ready")
        assert_leaves_clean(program)
