"""The program on a real terminal against a real server: an answer that was stopped is gone on with."""

from __future__ import annotations

import re

import pytest

from lmchat.domain.message import AnswerState
from tests.support.lmchat_screen import LONG_PROMPT, STEADY, LMChatScreen, answers, configure

_NUMBER = re.compile(r"\d+")


@pytest.fixture
def screen(tmp_path, real_server):
    configure(tmp_path, STEADY)
    with LMChatScreen(tmp_path, real_server.url) as program:
        program.wait_ready()
        yield program


def numbers(text: str) -> list[int]:
    """The numbers of an answer but the last, which may have been cut."""
    return [int(found) for found in _NUMBER.findall(text)][:-1]


@pytest.mark.timeout(60)
@pytest.mark.parametrize("way", ["/continue\r", "\x1b[1;3Aa"], ids=["command", "key"])
def test_an_answer_that_was_stopped_goes_on_at_its_last_character(screen, way):
    screen.ask(LONG_PROMPT)
    screen.wait_for(", 20,")
    screen.type("\x1b")
    screen.wait_stopped()
    screen.wait_for("/continue it")
    (first,) = answers(screen.home)
    screen.type(way[:-1])
    screen.wait_until(
        lambda: "/continue" in screen.prompt_text or "a continue" in screen.screen()[-1], "the way"
    )
    screen.type(way[-1])
    screen.wait_for(f", {numbers(first.text)[-1] + 30},")
    screen.type("\x1b")
    screen.wait_until(lambda: "2/2" in screen.text and "/continue it" in screen.text, "it is stopped again")
    screen.close()
    second = answers(screen.home)[-1]
    assert second.text.startswith(first.text)
    counted = numbers(second.text)
    assert counted == list(range(counted[0], counted[0] + len(counted)))
    assert second.state is AnswerState.STOPPED
