from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from lmchat.domain.message import AnswerState
from tests.support.failing_lmchat import HANGS, SECRET
from tests.support.lmchat_screen import LMChatScreen, answers, ready_screen
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, ScriptedServer, finish, sse

BREAKING = (sys.executable, "-m", "tests.support.failing_lmchat", "0")
WORDS = [f"word{number} " for number in range(1, 2001)]


@pytest.fixture
def server():
    """Says five words and then nothing, until the client leaves."""
    with llama_cpp(ScriptedServer()) as scripted:
        scripted.on(CHAT, sse(*WORDS[:5], Gate()))
        yield scripted


@pytest.fixture
def streaming(tmp_path, server):
    with ready_screen(tmp_path, server.url, argv=BREAKING) as screen:
        screen.ask("Go on for ever.", sees="word5")
        yield screen


def assert_kept(screen: LMChatScreen) -> None:
    (answer,) = answers(screen.home)
    assert answer.text.split() == [word.strip() for word in WORDS[:5]]
    assert answer.state is AnswerState.STOPPED


def running_answer(home: Path) -> bytes:
    """Return what is on the disk of the answer that streams."""
    return b"".join(file.read_bytes() for file in (home / "lmchat").glob("sessions.db-answer-*"))


def test_quitting_while_an_answer_streams_keeps_it_as_stopped(streaming, server):
    streaming.type("\x11")
    assert streaming.wait_exit() == 0
    assert streaming.left_behind() == []
    assert "word5" not in streaming.text
    assert_kept(streaming)
    assert server.seen(CHAT)[0].client_left.wait(2)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_while_an_answer_streams_keeps_it_as_stopped(streaming, number):
    streaming.kill(number)
    assert streaming.wait_exit() == 128 + number
    assert streaming.left_behind() == []
    assert "Traceback" not in streaming.text
    assert_kept(streaming)


def test_two_signals_at_once_are_like_one(streaming):
    streaming.kill(signal.SIGINT)
    streaming.kill(signal.SIGINT)
    assert streaming.wait_exit() == 130
    assert streaming.left_behind() == []
    assert_kept(streaming)


def test_a_closed_window_keeps_the_answer(streaming):
    streaming.hang_up()
    assert streaming.wait_exit() == 129
    assert_kept(streaming)


def test_ctrl_c_stops_first_and_twice_more_quits(streaming):
    streaming.type("\x03")
    streaming.wait_stopped()
    streaming.type("\x03", sees="again to quit")
    streaming.type("\x03")
    assert streaming.wait_exit() == 0
    assert streaming.left_behind() == []
    assert_kept(streaming)


def test_an_error_in_the_app_is_one_sentence_and_keeps_the_answer(streaming):
    streaming.type("\x1b[23~")
    assert streaming.wait_exit() == 1
    assert streaming.left_behind() == []
    assert "lmchat had an internal error" in streaming.text
    assert "ValueError" not in streaming.text
    assert SECRET.encode() not in streaming.raw
    assert SECRET not in streaming.log_text
    assert "ValueError" in streaming.log_text
    assert_kept(streaming)


def test_an_error_behind_the_screen_is_told_and_the_answer_goes_on(tmp_path):
    gate = Gate()
    with llama_cpp(ScriptedServer()) as server:
        server.on(CHAT, sse(*WORDS[:5], gate, "and the end.", finish(), DONE))
        with ready_screen(tmp_path, server.url, argv=BREAKING) as screen:
            screen.ask("Go on.", sees="word5")
            screen.type("\x1b[21~", sees="internal error")
            assert SECRET.encode() not in screen.raw
            gate.open()
            screen.wait_for("and the end.")
            assert screen.process.poll() is None


def test_an_app_that_hangs_ends_with_sigterm_and_loses_a_quarter_second_at_most(streaming):
    streaming.wait_until(
        lambda: b"word5" in running_answer(streaming.home), "the words on the disk"
    )
    streaming.type("\x1b[24~")
    streaming.wait_until(lambda: HANGS in streaming.log_text, "it hangs")
    streaming.kill(signal.SIGTERM)
    assert streaming.wait_exit() == 143
    assert streaming.left_behind() == []
    (answer,) = answers(streaming.home)
    assert answer.text.split() == [word.strip() for word in WORDS[:5]]
    assert answer.state is AnswerState.INTERRUPTED
