"""A session that another lmchat writes in is read again when the window gets the focus."""

from __future__ import annotations

import signal

import pytest

from lmchat.domain.message import AnswerState
from tests.support.lmchat_screen import LMChatScreen, leave, ready_screen, stored
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, finish, sse

PRODUCT = llama_cpp

pytestmark = pytest.mark.timeout(60)

ELSEWHERE = "another lmchat is writing this"
FOCUS = "\x1b[O\x1b[I"


@pytest.fixture
def writer(tmp_path, server):
    with ready_screen(tmp_path, server.url) as screen:
        yield screen


def watched(writer, server) -> LMChatScreen:
    """Return a second screen that shows what the first one writes."""
    writer.wait_for("it begins")
    return LMChatScreen(writer.home, server.url, "-r", "last")


def test_one_whose_lmchat_was_killed_is_interrupted_here(writer, server):
    server.on(CHAT, sse("it begins ", Gate(), "never", finish(), DONE))
    writer.ask("Go on.")
    with watched(writer, server) as watcher:
        watcher.wait_ready()
        watcher.wait_for(ELSEWHERE)
        writer.kill(signal.SIGKILL)
        writer.wait_exit()
        watcher.type(FOCUS, sees="lmchat ended while this answer was streaming.")
        watcher.wait_gone(ELSEWHERE)
        leave(watcher)
    assert stored(writer.home).messages[-1].state is AnswerState.INTERRUPTED
