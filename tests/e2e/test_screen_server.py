from __future__ import annotations

import re
import signal

import pytest

from lmchat.domain.message import AnswerState
from tests.support.lmchat_screen import (
    LONG_PROMPT,
    STEADY,
    LMChatScreen,
    answers,
    configure,
)
from tests.support.real_server.server import RealServer
from tests.support.scripted_products import llama_cpp
from tests.support.scripted_server import ScriptedServer, html_reply

PRODUCT = llama_cpp

_UP = re.compile(r"● llama\.cpp +ready")
_DOWN = re.compile(r"× llama\.cpp +down")


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_server_that_is_killed_turns_red_within_6_s_and_green_again_by_itself(tmp_path):
    configure(tmp_path, STEADY)
    with RealServer() as server, LMChatScreen(tmp_path, server.url) as screen:
        screen.wait_ready()
        screen.wait_for(_UP)
        server.port = int(server.url.rpartition(":")[2])
        server.stop(signal.SIGKILL)
        screen.wait_for(_DOWN, timeout_s=6)
        server.start()
        screen.wait_for(_UP, timeout_s=6.5)
        screen.ask("Say hello.", answers=1)


@pytest.mark.timeout(60)
def test_a_server_killed_during_an_answer_leaves_the_text_and_one_clear_card(tmp_path):
    configure(tmp_path, STEADY)
    with RealServer() as server, LMChatScreen(tmp_path, server.url) as screen:
        screen.wait_ready()
        screen.ask(LONG_PROMPT, sees=", 20,")
        server.stop(signal.SIGKILL)
        screen.wait_for("interrupted", timeout_s=3)
        screen.wait_for("Streaming failed")
        screen.wait_for(_DOWN, timeout_s=6)
        assert ", 20," in screen.text
        assert "Traceback" not in screen.text
        (answer,) = answers(tmp_path)
        assert answer.state is AnswerState.INTERRUPTED
        assert ", 20," in answer.text


def test_a_server_that_is_gone_when_a_prompt_is_sent_is_named_and_the_prompt_kept(screen, server):
    server.stop()
    screen.ask("Are you there?", sees="Nothing answers at " + server.url.removeprefix("http://"))
    assert "Are you there?" in screen.text
    screen.wait_for("r regenerate")
    server.start()
    screen.type("\x1b[15~", sees=_UP)
    screen.type("\x12", sees="Hello there.")


def test_a_page_where_a_model_server_was_expected_is_called_so(tmp_path):
    with ScriptedServer() as server:
        server.unknown = html_reply("<!doctype html><title>Router login</title>", status=200)
        with LMChatScreen(tmp_path, server.url) as screen:
            screen.wait_for(re.compile(rf"{server.port} +not an LLM server .*\n +a web page"))
            # the named server has a sentence of its own, which may come a frame after its row
            screen.wait_gone("No model server answers")
            assert "<" not in screen.text
            assert "Traceback" not in screen.text


def test_nothing_at_the_given_address_is_called_refused(tmp_path):
    with LMChatScreen(tmp_path, "http://127.0.0.1:1") as screen:
        screen.wait_for("Nothing answers at 127.0.0.1:1.")
        screen.wait_for(re.compile(r"127\.0\.0\.1:1 +1 +refused"))
