"""Answers that their server keeps, with a scripted server: what is saved is never lost."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.errors import ServerRejected, ServerUnavailable
from lmchat.servers.events import RequestSent, StreamFinished, TextDelta
from lmchat.services.away import replay_id_of
from lmchat.sessions.message import AnswerState, ChatMessage
from tests.support.conversations import SETTINGS, begin, on_disk
from tests.support.scripted_backend import ScriptedBackend, read

pytestmark = pytest.mark.rule("R-42")

END = StreamFinished(reason="stop")
KEPT = replace(SETTINGS, is_kept=True)
SHORT = "Forty characters are less than sixty-four."
LONG = SHORT * 5


async def interrupted_conversation(store, text, second_script):
    """Return a conversation whose answer broke off behind a text, and its backend."""
    offline = ServerUnavailable("It is gone.", kind="offline")
    first_script = [RequestSent(is_kept=True), TextDelta(text=text), offline]
    backend = ScriptedBackend(first_script, second_script)
    conversation = begin(backend, store)
    await read(conversation.send("Hello", KEPT))
    backend.kept.add(replay_id_of(conversation.messages[-1]))
    assert await conversation.has_kept_answer()
    return conversation, backend


async def fetched(store, text, *script) -> ChatMessage:
    """Return the saved answer after it broke off behind a text, and was fetched."""
    conversation, _ = await interrupted_conversation(store, text, script)
    await read(conversation.catch_up())
    return (await on_disk(store, conversation))[-1]


async def test_fetching_that_breaks_off_loses_no_text(store):
    offline = ServerUnavailable("It is gone again.", kind="offline")
    unknown = ServerRejected("It has no such answer.", kind="not_found")
    begun = TextDelta(text="Forty")
    for text in (SHORT, LONG):
        for script in ([offline], [begun, offline], [unknown], [begun, unknown]):
            saved = await fetched(store, text, *script)
            assert (saved.state, saved.text) == (AnswerState.INTERRUPTED, text)
            assert bool(replay_id_of(saved)) is (script[-1] is offline)


async def test_the_fetched_answer_is_kept_if_it_begins_with_what_was_saved(store):
    for text, whole in (
        (SHORT, f"{SHORT} And more."),
        (LONG, f"{LONG} And more."),
        # half a tag at the end is not compared
        ("Plan it.</thi", "Plan it. And more."),
        ("Plan it.\n\n</", "Plan it. And more."),
        ("Plan it.\n", "Plan it. And more."),
    ):
        saved = await fetched(store, text, TextDelta(text=whole), END)
        assert (saved.state, saved.text) == (AnswerState.COMPLETE, whole)
    for text in ("No.", SHORT, LONG):
        other = TextDelta(text="Yes, delete all of them. " * 20)
        saved = await fetched(store, text, other, END)
        assert (saved.state, saved.text) == (AnswerState.INTERRUPTED, text)
        assert not replay_id_of(saved)


async def test_an_answer_that_the_server_has_forgotten_stays_and_is_not_asked_for_again(store):
    conversation, backend = await interrupted_conversation(store, SHORT, [])
    backend.kept.clear()
    assert not await conversation.has_kept_answer()
    for kept in (conversation.messages[-1], (await on_disk(store, conversation))[-1]):
        assert (kept.state, kept.text) == (AnswerState.INTERRUPTED, SHORT)
        assert replay_id_of(kept) == ""
