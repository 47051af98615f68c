"""Two screens on one file: both say and see what is said, whatever the other does."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager

import pytest

from lmchat.sessions.message import AnswerState
from lmchat.storage.store import Store
from tests.support.chats import faults_in
from tests.support.lmchat_screen import LMChatScreen, leave
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, finish, sse

pytestmark = pytest.mark.timeout(60)

PRODUCT = llama_cpp


@contextmanager
def two_screens(home, server, *words):
    """Start two at one moment."""
    with (
        LMChatScreen(home, server.url, *words) as one,
        LMChatScreen(home, server.url, *words) as other,
    ):
        one.wait_ready()
        other.wait_ready()
        yield one, other


def begin(home, server) -> None:
    """Write a session of one question and its answer."""
    assert Inside(home, server.url)("ask", "--save", "The beginning.").returncode == 0


def tree(home):
    """Return all messages of the newest session, and what is wrong with the file."""
    path = home / "lmchat" / "sessions.db"

    async def read():
        store = Store(path)
        try:
            (header, *_) = await store.list_sessions()
            return await store.tree(header.session_id)
        finally:
            await store.aclose()

    return asyncio.run(read()), faults_in(path)


def test_both_stream_in_the_same_session_and_both_answers_are_whole(tmp_path, server):
    begin(tmp_path, server)
    first, second = Gate(), Gate()
    with two_screens(tmp_path, server, "-r", "last") as (one, other):
        server.on(CHAT, sse("one begins ", first, "one ends", finish(), DONE))
        one.ask("Asked in one.", sees="one begins")
        server.on(CHAT, sse("other begins ", second, "other ends", finish(), DONE))
        other.ask("Asked in the other.", sees="other begins")
        first.open()
        one.wait_for("one ends")
        one.wait_answered(2)
        second.open()
        other.wait_for("other ends")
        other.wait_answered(2)
        leave(one, other)
    messages, trouble = tree(tmp_path)
    assert trouble == ""
    root, reply, *rest = messages
    by_text = {message.text: message for message in rest}
    assert set(by_text) == {
        "Asked in one.",
        "one begins one ends",
        "Asked in the other.",
        "other begins other ends",
    }
    assert (
        by_text["Asked in one."].parent_id
        == by_text["Asked in the other."].parent_id
        == reply.message_id
    )
    assert by_text["one begins one ends"].parent_id == by_text["Asked in one."].message_id
    assert by_text["other begins other ends"].parent_id == by_text["Asked in the other."].message_id
    assert {message.state for message in messages} == {AnswerState.COMPLETE}
    assert reply.parent_id == root.message_id
