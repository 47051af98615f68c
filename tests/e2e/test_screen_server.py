from __future__ import annotations

import re

import pytest

from lmchat.sessions.message import AnswerState
from tests.support.lmchat_screen import answers
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import Gate, sse

PRODUCT = llama_cpp

_UP = re.compile(r"● llama\.cpp +ready")
_DOWN = re.compile(r"× llama\.cpp +down")


@pytest.mark.timeout(60)
def test_a_server_that_goes_leaves_the_text_and_a_clear_card_and_is_green_again_by_itself(
    screen, server
):
    screen.wait_for(_UP)
    server.on(CHAT, sse("one two three", Gate()))
    screen.ask("Count.", sees="one two three")
    server.stop()
    screen.wait_for("interrupted", timeout_s=3)
    screen.wait_for("Streaming failed")
    screen.wait_for(_DOWN, timeout_s=6)
    assert "Traceback" not in screen.text
    (answer,) = answers(screen.home)
    assert (answer.text, answer.state) == ("one two three", AnswerState.INTERRUPTED)

    screen.ask("Are you there?", sees="Nothing answers at " + server.url.removeprefix("http://"))
    assert "Are you there?" in screen.text
    screen.wait_for("r regenerate")
    llama_cpp(server).start()
    screen.wait_for(_UP, timeout_s=6.5)
    screen.type("\x12", sees="Hello there.")
