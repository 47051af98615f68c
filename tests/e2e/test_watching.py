"""A session that another lmchat writes in: what comes there, and how it ends, is seen here as well."""

from __future__ import annotations

import signal

import pytest

from lmchat.domain.message import AnswerState
from tests.support.lmchat_screen import LMChatScreen, leave, stored
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Cut, Gate, ScriptedServer, finish, sse

pytestmark = pytest.mark.timeout(60)

ELSEWHERE = "another lmchat writes this"
ALT_UP = "\x1b[1;3A"


@pytest.fixture
def server():
    with llama_cpp(ScriptedServer()) as scripted:
        yield scripted


@pytest.fixture
def writer(tmp_path, server):
    with LMChatScreen(tmp_path, server.url) as screen:
        screen.wait_ready()
        yield screen


def watched(writer, server) -> LMChatScreen:
    """Return a second screen that shows what the first one writes."""
    writer.wait_for("it begins")
    return LMChatScreen(writer.home, server.url, "-r", "last")


def test_what_another_writes_is_seen_as_it_comes_and_how_it_ends(writer, server):
    more, end = Gate(), Gate()
    server.on(CHAT, sse("it begins ", more, "it goes on ", end, "it ends", finish(), DONE))
    writer.ask("Go on.")
    with watched(writer, server) as watcher:
        watcher.wait_ready()
        watcher.wait_for(ELSEWHERE)
        assert "Esc stop" not in watcher.text
        more.open()
        watcher.wait_for("it goes on")
        end.open()
        watcher.wait_for("it begins it goes on it ends")
        watcher.wait_answered()
        watcher.wait_gone(ELSEWHERE)
        leave(watcher, writer)


def test_one_that_was_stopped_there_can_be_gone_on_with_here(writer, server):
    server.on(CHAT, sse("it begins ", Gate(), "never", finish(), DONE))
    writer.ask("Go on.")
    with watched(writer, server) as watcher:
        watcher.wait_ready()
        watcher.wait_for(ELSEWHERE)
        writer.type("\x1b")
        watcher.wait_stopped()
        server.on(CHAT, sse("and the rest", finish(), DONE))
        watcher.type(ALT_UP)
        watcher.wait_for("a continue")
        watcher.type("a")
        watcher.wait_for("and the rest")
        watcher.wait_answered()
        leave(watcher, writer)


def test_one_whose_lmchat_was_killed_is_interrupted_here(writer, server):
    server.on(CHAT, sse("it begins ", Gate(), "never", finish(), DONE))
    writer.ask("Go on.")
    with watched(writer, server) as watcher:
        watcher.wait_ready()
        watcher.wait_for(ELSEWHERE)
        writer.kill(signal.SIGKILL)
        writer.wait_exit()
        watcher.wait_for("lmchat ended while this answer was arriving.")
        watcher.wait_gone(ELSEWHERE)
        leave(watcher)
    assert stored(writer.home).messages[-1].state is AnswerState.INTERRUPTED


def test_one_that_fails_there_fails_here(writer, server):
    gate = Gate()
    server.on(CHAT, sse("it begins ", gate, Cut()))
    writer.ask("Go on.")
    with watched(writer, server) as watcher:
        watcher.wait_ready()
        watcher.wait_for(ELSEWHERE)
        gate.open()
        watcher.wait_for("interrupted")
        watcher.wait_for("r retry")
        watcher.wait_gone(ELSEWHERE)
        leave(watcher, writer)


def test_below_one_that_comes_from_elsewhere_one_can_ask_and_both_end_in_their_places(writer, server):
    end = Gate()
    server.on(CHAT, sse("it begins ", end, "it ends", finish(), DONE))
    writer.ask("Go on.")
    with watched(writer, server) as watcher:
        watcher.wait_ready()
        watcher.wait_for(ELSEWHERE)
        mine = Gate()
        server.on(CHAT, sse("mine begins ", mine, "mine ends", finish(), DONE))
        watcher.ask("Below it.")
        watcher.wait_for("mine begins")
        assert "Esc stop" in watcher.text
        end.open()
        watcher.wait_for("it begins it ends")
        watcher.wait_gone(ELSEWHERE)
        mine.open()
        watcher.wait_for("mine begins mine ends")
        watcher.wait_answered(2)
        leave(watcher, writer)
