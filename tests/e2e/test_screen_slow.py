from __future__ import annotations

import pytest

from lmchat.core.sessions.message import AnswerState
from tests.support.lmchat_screen import answers, configure, ready_screen
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import Gate, Pause, sse

PRODUCT = llama_cpp

STILL = "[ui]\nreduced_motion = true\n"
WORDS = [
    step for number in range(600) for step in (f"word{number} **and** more of it\n\n", Pause(0.005))
]
"""Three seconds of text, each word with a line of its own: more than any terminal keeps unread."""


@pytest.fixture
def halted(tmp_path, server):
    """A screen whose terminal takes no more, while an answer goes on, and comes to a gate without an end."""
    configure(tmp_path, STILL)
    gate = Gate()
    server.on(CHAT, sse(*WORDS, gate))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("go on", sees="word")
        screen.stop_reading()
        screen.wait_until(screen.is_full, "the terminal takes no more")
        yield screen, server.seen(CHAT)[0], gate


def test_esc_stops_the_answer_and_lmchat_can_be_left_though_the_terminal_reads_nothing(halted):
    screen, request, _ = halted
    screen.type("\x1b")
    assert request.client_left.wait(10)
    screen.type("\x11")
    assert screen.wait_exit() == 0
    (answer,) = answers(screen.home)
    assert answer.state is AnswerState.STOPPED
    assert "word0" in answer.text


def test_a_terminal_that_reads_again_is_shown_what_is_new_and_nothing_of_what_it_missed(halted):
    screen, _, gate = halted
    assert gate.reached.wait(20)
    drawn = len(screen.raw)
    screen.read_again()
    screen.wait_for("word599")
    assert len(screen.raw) - drawn < 100_000  # the frames of three seconds are some 400 000
    screen.type("\x1b")
    screen.wait_stopped()
