"""The pty harness itself: what other tests see through it is true."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.pty_program import PtyProgram

pytestmark = pytest.mark.slow  # a program for each test


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_it_shows_what_the_program_prints_and_takes_what_is_typed() -> None:
    with PtyProgram(python("print(input('name? ').upper())")) as program:
        program.wait_for("name?")
        program.type("ada\r")
        program.wait_for("ADA")
        assert program.wait_exit() == 0


def test_output_of_the_last_moment_is_not_lost() -> None:
    with PtyProgram(python("print('x' * 30000 + 'end')")) as program:
        program.wait_exit()
        assert program.raw.endswith(b"end\r\n")


def test_the_program_sees_size_and_resize() -> None:
    code = (
        "import os, signal\n"
        "tell = lambda *_: os.write(1, f'{os.get_terminal_size()}\\n'.encode())\n"
        "signal.signal(signal.SIGWINCH, tell)\n"
        "tell()\n"
        "input()"
    )
    with PtyProgram(python(code), size=(101, 31)) as program:
        program.wait_for("columns=101, lines=31")
        program.resize(44, 12)
        program.wait_for("columns=44, lines=12")


def test_a_signal_gives_the_status_that_a_shell_would_tell() -> None:
    with PtyProgram(python("print('up', flush=True); input()")) as program:
        program.wait_for("up")
        program.kill()
        assert program.wait_exit() == 143


def test_closing_the_terminal_sends_a_hang_up() -> None:
    with PtyProgram(python("print('up', flush=True); input()")) as program:
        program.wait_for("up")
        program.hang_up()
        assert program.wait_exit() == 129


def test_it_tells_what_a_program_leaves_behind() -> None:
    code = r"import os,tty; print('\x1b[?1049h\x1b[?25l\x1b[?1003h\x1b[>1u', flush=True); tty.setraw(0)"
    with PtyProgram(python(code)) as program:
        program.wait_exit()
        assert program.left_behind() == [
            "mode 1003 is on",
            "mode 1049 is on",
            "mode 25 is off",
            "keyboard protocol pushed 1 times more than popped",
            "termios attributes differ",
        ]


def test_the_main_screen_comes_back_after_the_alternate_one() -> None:
    code = r"print('before\n\x1b[?1049h\x1b[2J\x1b[Hinside\x1b[<u\x1b[?1049l', end='')"
    with PtyProgram(python(code)) as program:
        program.wait_exit()
        assert program.screen()[0] == "before"
        assert "inside" not in program.text
        assert program.left_behind() == ["keyboard protocol pushed -1 times more than popped"]


def test_a_wait_in_vain_shows_the_screen() -> None:
    with (
        PtyProgram(python("print('only this', flush=True); input()")) as program,
        pytest.raises(AssertionError, match="only this"),
    ):
        program.wait_for("something else", timeout_s=0.5)


def test_the_environment_is_clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setenv("TMUX", "x")
    code = "import os; print(sorted(os.environ))"
    with PtyProgram(python(code), home=tmp_path, env={"EXTRA": "1"}) as program:
        program.wait_exit()
        assert "OPENAI_API_KEY" not in program.text
        assert "TMUX" not in program.text
        assert "EXTRA" in program.text
