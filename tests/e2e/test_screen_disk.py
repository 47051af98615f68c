"""The screen where the disk fails, the configuration is broken, or another lmchat runs beside it."""

from __future__ import annotations

import sys

import pytest

from tests.support.lmchat_screen import LMChatScreen, configure, stored, stored_titles
from tests.support.programs import LMCHAT
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, answer, llama_cpp
from tests.support.scripted_server import DONE, Gate, ScriptedServer, finish, sse


@pytest.fixture
def server():
    with llama_cpp(ScriptedServer()) as scripted:
        yield scripted


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("[chat]\ntemperature = 'warm'\n", "config.toml, line 2", "temperature"),
        ("[chat\n", "config.toml, line 1", ""),
        ("[ui]\nthems = 'x'\n", "config.toml, line 2", "thems"),
    ],
)
def test_a_broken_configuration_is_one_sentence_with_file_and_line(tmp_path, text, place, reason):
    configure(tmp_path, text)
    with PtyProgram(LMCHAT, home=tmp_path, size=(200, 24)) as program:
        assert program.wait_exit() == 2
        assert place in program.text
        assert reason in program.text
        assert "Traceback" not in program.text
        assert program.text.strip().count("\n") <= 1
        assert b"\x1b[?1049h" not in program.raw


def test_without_a_folder_to_write_to_one_can_chat_under_a_standing_warning(tmp_path, server):
    (tmp_path / "file").write_text("no folder")
    env = {"LMCHAT_HOME": str(tmp_path / "file" / "below")}
    with LMChatScreen(tmp_path, server.url, env=env) as screen:
        screen.wait_ready()
        screen.ask("Do you still answer?")
        screen.wait_answered()
        assert "Hello there." in screen.text
        screen.wait_for("Nothing is saved")
        screen.ask("And now?")
        screen.wait_answered(2)
        assert "Nothing is saved" in screen.text
        assert "Traceback" not in screen.text
        screen.type("\x11")
        assert screen.wait_exit() == 0
        assert screen.left_behind() == []


def test_a_disk_that_fills_up_lets_the_chat_go_on_under_a_warning(tmp_path, server):
    with LMChatScreen(tmp_path, server.url) as screen:  # a store with something in it
        screen.wait_ready()
        screen.ask("Before.")
        screen.wait_answered()
        screen.type("\x11")
        screen.wait_exit()
    size = (tmp_path / "lmchat" / "sessions.db").stat().st_size
    argv = (sys.executable, "-m", "tests.support.failing_lmchat", str(size + 8192))
    server.on(CHAT, answer("long " * 20_000))
    with LMChatScreen(tmp_path, server.url, argv=argv) as screen:
        screen.wait_ready()
        screen.ask("Fill the disk.")
        screen.wait_for("Nothing is saved")
        server.on(CHAT, answer("short"))
        screen.ask("Still there?")
        screen.wait_for("short")
        assert screen.process.poll() is None
        assert "Traceback" not in screen.text
        screen.type("\x11")
        assert screen.wait_exit() == 0
        assert screen.left_behind() == []
    assert "Before." in stored_titles(tmp_path)


def test_two_at_once_see_each_others_sessions(tmp_path, server):
    with LMChatScreen(tmp_path, server.url) as one, LMChatScreen(tmp_path, server.url) as other:
        one.wait_ready()
        other.wait_ready()
        one.ask("Said in the first.")
        one.wait_answered()
        other.ask("Said in the second.")
        other.wait_answered()
        other.wait_for("Said in the first.")
        one.type("\x0e")
        one.wait_for("Said in the second.")
    assert set(stored_titles(tmp_path)) == {"Said in the first.", "Said in the second."}


def test_a_session_that_streams_in_one_is_no_wreck_in_the_other(tmp_path, server):
    gate = Gate()
    with LMChatScreen(tmp_path, server.url) as one, LMChatScreen(tmp_path, server.url) as other:
        one.wait_ready()
        other.wait_ready()
        server.on(CHAT, sse("this is ", gate, "the end", finish(), DONE))
        one.ask("Said in the first.")
        one.wait_for("this is")
        other.type("\x02")
        other.wait_gone("/ search")
        one.wait_time(0.3)  # what has come is on the disk after 250 ms
        other.type("\x02")
        other.wait_for("Said in the first.")
        other.type("\r")
        other.wait_for("this is")
        assert "interrupted" not in other.text
        gate.open()
        one.wait_answered()
        messages = stored(tmp_path).messages
        assert messages[-1].text == "this is the end"
        assert messages[-1].state.value == "complete"
