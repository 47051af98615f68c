"""Two screens on one file: both say and see what is said, whatever the other does."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.core.sessions.message import AnswerState
from lmchat.core.storage.store import Store
from tests.support.chats import faults_in
from tests.support.lmchat_screen import LMChatScreen, leave
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, finish, sse

pytestmark = pytest.mark.timeout(60)

PRODUCT = llama_cpp


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
    assert Inside(tmp_path, server.url)("ask", "--save", "The beginning.").returncode == 0
    first, second = Gate(), Gate()
    with (
        LMChatScreen(tmp_path, server.url, "-r", "last") as one,
        LMChatScreen(tmp_path, server.url, "-r", "last") as other,
    ):
        one.wait_ready()
        other.wait_ready()
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
    text_of = {message.message_id: message.text for message in messages}
    assert {message.text: text_of.get(message.parent_id) for message in messages} == {
        "The beginning.": None,
        "Hello there.": "The beginning.",
        "Asked in one.": "Hello there.",
        "one begins one ends": "Asked in one.",
        "Asked in the other.": "Hello there.",
        "other begins other ends": "Asked in the other.",
    }
    assert {message.state for message in messages} == {AnswerState.COMPLETE}


def test_the_second_window_does_not_get_the_unsent_text_of_the_first(tmp_path, server):
    with LMChatScreen(tmp_path, server.url) as one:
        one.wait_ready()
        one.put("unsent words")
        files = tmp_path / "lmchat"
        one.wait_until(lambda: list(files.glob("sessions.db-window-*")), "the draft on the disk")
        with LMChatScreen(tmp_path, server.url) as other:
            other.wait_ready()
            assert "unsent" not in other.text
            other.put("mine")
            leave(one)
            other.type("\x15")
            other.wait_until(lambda: "mine" not in other.prompt_text, "an empty prompt")
            leave(other)
    with LMChatScreen(tmp_path, server.url) as later:
        later.wait_for("unsent words")
        assert "mine" not in later.text
        later.process.kill()
        later.wait_exit()
    with LMChatScreen(tmp_path, server.url) as later:
        later.wait_for("unsent words")
        leave(later)
