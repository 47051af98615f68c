"""lmchat on a real pty: keys arrive as they were meant, and the terminal is given back on every way out."""

from __future__ import annotations

import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest

from lmchat.core.sessions.message import AnswerState
from tests.support.lmchat_screen import (
    LMChatScreen,
    answers,
    arriving,
    leave,
    ready_screen,
    stored_draft,
)
from tests.support.programs import put_script
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import Gate, ScriptedServer, sse

pytestmark = pytest.mark.slow  # a program for each test

# Keys


def test_late_answers_of_the_terminal_are_not_typed_into_the_shell(screen: LMChatScreen):
    screen.is_slow = True
    screen.type("\x11")
    screen.wait_asked_last()
    for answer in ("2026;2$y", "\x1b]11;rgb:1e1e/1e1e/1e1e\x07", "\x1b[<35;10;10M", "\x1b[?1;2c"):
        screen.type(answer)
    assert screen.wait_exit() == 0
    assert screen.left_behind() == []
    screen.type("x")
    screen.wait_until(lambda: screen.unread() > 0, "what is typed for the shell")
    assert screen.unread() == 1


def test_a_terminal_that_answers_nothing_is_left_all_the_same(screen: LMChatScreen):
    screen.is_slow = True
    leave(screen)
    assert screen.left_behind() == []


# Ways out


def test_saving_that_takes_for_ever_is_cut(tmp_path: Path, server: ScriptedServer):
    argv = (sys.executable, "-m", "tests.support.failing_lmchat")
    with ready_screen(tmp_path, server.url, argv=argv) as screen:
        screen.type("\x1b[20~")
        screen.type("seen", sees="seen")
        screen.kill(signal.SIGQUIT)
        assert screen.wait_exit() == 128 + signal.SIGQUIT
        assert screen.left_behind() == []


def test_nothing_is_drawn_after_the_terminal_is_given_back(
    tmp_path: Path, server: ScriptedServer
) -> None:
    flood = [f"word{number} **and** more of it\n\n" for number in range(5000)]
    server.on(CHAT, sse(*flood, Gate()))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Go on.", sees="word")
        screen.kill(signal.SIGTERM)
        assert screen.wait_exit() == 143
        assert screen.left_behind() == []
        _, _, behind = screen.raw.rpartition(b"\x1b[?1049l\x1b[?25h")
        assert b"\x1b" not in behind


@pytest.mark.skipif(shutil.which("setsid") is None, reason="macOS has no setsid")
def test_a_closed_window_ends_a_program_that_ignored_the_signal(
    tmp_path: Path, server: ScriptedServer
) -> None:
    server.on(CHAT, sse("word", Gate()))
    ignoring = ("sh", "-c", "trap '' HUP; exec setsid \"$@\"", "sh", sys.executable, "-m", "lmchat")
    with ready_screen(tmp_path, server.url, argv=ignoring) as screen:
        screen.ask("Go on.", sees="word")
        screen.hang_up()
        screen.wait_until(
            lambda: answers(tmp_path)[0].state is AnswerState.STOPPED,
            "the answer is saved after the terminal went away",
        )


EDITOR = """\
import pathlib, signal, sys, termios
signal.signal(signal.SIGINT, signal.SIG_DFL)
assert termios.tcgetattr(0)[3] & termios.ECHO, "the terminal is not as it was"
file = pathlib.Path(sys.argv[1])
print("editing", file.read_text(), flush=True)
file.write_text(input() + "\\n")
"""


def test_the_editor_gets_the_terminal_and_an_answer_goes_on_meanwhile(
    tmp_path: Path, server: ScriptedServer
) -> None:
    gate = Gate()
    server.on(CHAT, sse("before", gate, " and after", Gate()))
    editor = tmp_path / "editor.py"
    editor.write_text(EDITOR, encoding="utf-8")
    environ = {"VISUAL": f"{sys.executable} '{editor}'"}
    with ready_screen(tmp_path, server.url, env=environ) as screen:
        screen.ask("Go on.", sees="before")
        screen.put("draft")
        screen.type("\x07", sees="editing draft")
        drawn = len(screen.raw)
        screen.type("better words", sees="better words")
        gate.open()
        screen.wait_until(lambda: "and after" in arriving(tmp_path), "the answer goes on")
        assert len(screen.raw) < drawn + 100  # an echo, but no frame of ours
        screen.type("\r")
        screen.wait_until(lambda: screen.prompt_text == "better words", "the prompt")
        screen.type("\x07", sees="editing better words")
        screen.type("\x03")  # an editor that is left by Ctrl+C
        screen.wait_for("and after")
        assert list((tmp_path / "lmchat" / "editor").iterdir()) == []
        opened = [file.path for file in psutil.Process(screen.process.pid).open_files()]
        assert [path for path in opened if "lmchat/editor" in path] == []
        leave(screen)
        assert screen.left_behind() == []


def test_a_terminal_that_cannot_be_taken_back_ends_the_program_with_the_reason(
    tmp_path: Path, server: ScriptedServer
) -> None:
    argv = (sys.executable, "-m", "tests.support.failing_lmchat")
    environ = {"VISUAL": str(put_script(tmp_path / "editor", 'echo "more" >> "$1"'))}
    with ready_screen(tmp_path, server.url, argv=argv, env=environ) as screen:
        screen.ask("Go on.", answers=1)
        screen.put("draft")
        screen.type("\x1b[21~\x07")
        assert screen.wait_exit() == 1
        assert screen.left_behind() == []
        assert "The terminal cannot be used: can't start new thread.\nStart lmchat" in screen.text
        assert "could not be saved" not in screen.text
    assert stored_draft(tmp_path) == "draftmore"
