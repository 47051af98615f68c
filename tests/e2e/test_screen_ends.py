"""Ends of the screen while answers stream: keys, signals, a closed window, errors, a hang, a stop by a shell."""

from __future__ import annotations

import shlex
import signal
import sys

import psutil
import pytest

from lmchat.core.sessions.message import AnswerState
from tests.support.failing_lmchat import HANGS, SECRET
from tests.support.lmchat_screen import (
    LMChatScreen,
    answers,
    arriving,
    ready_screen,
    stored,
    stored_titles,
)
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import Gate, sse

PRODUCT = llama_cpp

BREAKING = (sys.executable, "-m", "tests.support.failing_lmchat")
WORDS = "word1 word2 word3 word4 word5"


@pytest.fixture
def streaming(tmp_path, server):
    """A screen after five words of an answer that never ends."""
    server.on(CHAT, sse(*(f"{word} " for word in WORDS.split()), Gate()))
    with ready_screen(tmp_path, server.url, argv=BREAKING) as screen:
        screen.ask("Go on for ever.", sees="word5")
        yield screen


def assert_kept(screen: LMChatScreen, state: AnswerState = AnswerState.STOPPED) -> None:
    (answer,) = answers(screen.home)
    assert answer.text.split() == WORDS.split()
    assert answer.state is state


def test_quitting_stops_the_answers_of_all_sessions_and_keeps_them(streaming, server):
    first = stored(streaming.home).header.session_id
    streaming.type("\x0e", hides="word5")
    server.on(CHAT, sse("the second ", Gate()))
    streaming.ask("Two.")
    titles = {"Go on for ever.", "Two."}
    streaming.wait_until(lambda: set(stored_titles(streaming.home)) == titles, "both are saved")
    streaming.type("\x11")
    assert streaming.wait_exit() == 0
    assert streaming.left_behind() == []
    assert "word5" not in streaming.text
    (second,) = answers(streaming.home)
    assert second.state in (AnswerState.STOPPED, AnswerState.FAILED)
    kept = stored(streaming.home, first).messages[-1]
    assert (kept.text.strip(), kept.state) == (WORDS, AnswerState.STOPPED)
    assert all(request.client_left.wait(2) for request in server.seen(CHAT))


@pytest.mark.parametrize("numbers", [[signal.SIGTERM], [signal.SIGINT, signal.SIGINT]], ids=str)
def test_a_signal_while_an_answer_streams_keeps_it_as_stopped(streaming, numbers):
    for number in numbers:
        streaming.kill(number)
    assert streaming.wait_exit() == 128 + numbers[0]
    assert streaming.left_behind() == []
    assert "Traceback" not in streaming.text
    assert_kept(streaming)


def test_a_closed_window_keeps_the_answer(streaming):
    streaming.hang_up()
    assert streaming.wait_exit() == 129
    assert_kept(streaming)


def test_an_error_of_a_key_is_a_notice_and_one_in_the_app_ends_it_and_keeps_the_answer(streaming):
    streaming.type("\x1bOS", sees="internal error (id")
    assert "ValueError" in streaming.log_text
    streaming.type("more", sees="more")
    streaming.type("\x1b[23~")
    assert streaming.wait_exit() == 1
    assert streaming.left_behind() == []
    assert "lmchat had an internal error" in streaming.text
    assert "ValueError" not in streaming.text
    assert SECRET.encode() not in streaming.raw
    assert SECRET not in streaming.log_text
    assert "ValueError" in streaming.log_text
    assert_kept(streaming)


def test_options_that_the_screen_cannot_use_are_told_when_it_has_opened(tmp_path, server):
    with LMChatScreen(tmp_path, server.url, "--set", "temperature=warm") as screen:
        assert screen.wait_exit() == 2
        assert screen.left_behind() == []
        assert "temperature must be a number from 0 to 2, not warm." in screen.text
        assert screen.log_text == ""


def test_an_app_that_hangs_ends_with_sigterm_and_loses_a_quarter_second_at_most(streaming):
    streaming.wait_until(lambda: "word5" in arriving(streaming.home), "the words on the disk")
    streaming.type("\x1b[24~")
    streaming.wait_until(lambda: HANGS in streaming.log_text, "it hangs")
    streaming.kill(signal.SIGTERM)
    assert streaming.wait_exit() == 143
    assert streaming.left_behind() == []
    assert_kept(streaming, AnswerState.INTERRUPTED)


def children(shell: PtyProgram) -> list[psutil.Process]:
    return psutil.Process(shell.process.pid).children()


def test_it_is_suspended_and_brought_back_by_a_shell(tmp_path, server):
    command = shlex.join([sys.executable, "-m", "lmchat", "--endpoint", server.url])
    with PtyProgram(["sh", "-i"], home=tmp_path, size=(120, 40), env={"PS1": "shell> "}) as shell:
        shell.wait_for("shell>")
        shell.type(f"{command}\r", sees="tiny.gguf ·")
        shell.type("/suspend", sees="/suspend")
        shell.wait_until(lambda: 2004 in shell.private_modes, "it has the terminal")
        shell.type("\x1b[F")
        shell.type("\r")
        shell.wait_until(lambda: 1049 not in shell.private_modes, "the shell's screen is back")
        shell.wait_for("shell>")
        shell.type("fg\r")
        shell.wait_until(lambda: 1049 in shell.private_modes, "lmchat's screen is back")
        shell.wait_for("tiny.gguf ·")
        shell.type("typed after it", sees="typed after it")

        (program,) = children(shell)
        program.send_signal(signal.SIGSTOP)
        shell.wait_for("shell>")
        program.send_signal(signal.SIGCONT)  # in the background, where it stops again
        shell.wait_until(lambda: program.status() == "stopped", "it is stopped")
        shell.type("echo $((6 * 7))\n", sees="42")  # the terminal is still raw
        shell.type("fg\n", hides="42")
        shell.wait_for("typed after it")
        shell.type(" twice", sees="typed after it twice")
        for _ in range(3):  # each third stop comes between the wait for a key and its read
            shown = shell.raw.count(b"\x1b[?1049h")
            shell.type("\x1b[I" * 30)
            program.send_signal(signal.SIGSTOP)
            shell.wait_until(lambda: program.status() == "stopped", "it is stopped")
            shell.type("\nfg\n")  # the shell reads the rest of those bytes, too
            shell.wait_until(
                lambda shown=shown: shell.raw.count(b"\x1b[?1049h") > shown, "lmchat's screen"
            )
        shell.wait_for("typed after it twice")
        shell.type(" and again", sees="twice and again")
        shell.type("\x11")
        shell.wait_until(lambda: not children(shell), "it has ended")
        shell.type("echo status $?\r", sees="status 0")
        assert shell.left_behind() == []

        shell.type("clear\r", hides="status 0")
        shell.type(f"{command} &\r")
        shell.wait_until(
            lambda: [one.status() for one in children(shell)] == ["stopped"],
            "it is stopped in the background",
        )
        shell.type("fg\r", sees="tiny.gguf ·")
        shell.type("typed at last", sees="typed at last")
        shell.type("\x11")
        shell.wait_until(lambda: not children(shell), "it has ended")
        shell.type("echo status $?\r", sees="status 0")
        assert shell.left_behind() == []
