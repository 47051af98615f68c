from __future__ import annotations

import pytest

from lmchat.domain.message import AnswerState
from tests.support.lmchat_screen import (
    LMChatScreen,
    answers,
    leave,
    ready_screen,
    stored_titles,
)
from tests.support.scripted_products import CHAT, LLAMA, llama_cpp
from tests.support.scripted_server import Gate, json_reply, sse

PRODUCT = llama_cpp


def test_quitting_stops_the_answers_of_all_sessions_and_keeps_them(screen, server):
    server.on(CHAT, sse("the first ", Gate()), sse("the second ", Gate()))
    screen.ask("One.", sees="the first")
    screen.type("\x0e", hides="the first")
    screen.ask("Two.")
    screen.wait_until(lambda: len(stored_titles(screen.home)) == 2, "both sessions are on the disk")
    screen.type("\x11")
    assert screen.wait_exit() == 0
    assert screen.left_behind() == []
    (two,) = answers(screen.home)
    assert two.state in (AnswerState.STOPPED, AnswerState.FAILED)
    assert set(stored_titles(screen.home)) == {"One.", "Two."}


@pytest.mark.rule("R-25")
@pytest.mark.parametrize(("slots", "seen"), [(2, "the second"), (1, "queued")])
def test_a_second_session_answers_beside_the_first_where_the_server_has_a_slot(
    tmp_path, server, slots, seen
):
    first_end = Gate()
    server.on("GET /props", json_reply({"total_slots": slots}, headers=LLAMA))
    server.on(CHAT, sse("the first ", first_end), sse("the second ", Gate()))
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("One.", sees="the first")
        screen.type("\x0e", hides="the first")
        screen.ask("Two.", sees=seen)
        first_end.open()
        screen.wait_for("the second")
        leave(screen)


def test_a_session_that_does_not_exist_is_one_sentence(tmp_path, server):
    with LMChatScreen(tmp_path, server.url, "-r", "nosuchsession") as screen:
        screen.wait_for("nosuchsession")
        assert "Traceback" not in screen.text
        screen.wait_ready()
        screen.ask("Go on anyway.", answers=1)
