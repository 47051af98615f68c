"""Answers that their server keeps, with a scripted server: what is saved is never lost."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.event import RequestSent, StreamFinished, TextDelta
from lmchat.domain.message import AnswerState
from lmchat.errors import ServerRejected, ServerUnavailable
from lmchat.services.away import replay_id_of
from tests.support.conversations import SETTINGS, begin
from tests.support.scripted_backend import ScriptedBackend, read

pytestmark = pytest.mark.rule("R-42")

KEPT = replace(SETTINGS, is_kept=True)
SHORT = "Forty characters are less than sixty-four."
LONG = SHORT * 5


async def interrupted_conversation(store, text, second_script):
    """Return a conversation whose answer broke off behind a text, and what is fetched next."""
    offline = ServerUnavailable("It is gone.", kind="offline")
    first_script = [RequestSent(is_kept=True), TextDelta(text=text), offline]
    backend = ScriptedBackend(first_script, second_script)
    conversation = begin(backend, store)
    await read(conversation.send("Hello", KEPT))
    backend.kept.add(replay_id_of(conversation.messages[-1]))
    assert await conversation.has_kept_answer()
    return conversation


@pytest.mark.parametrize("text", [SHORT, LONG])
@pytest.mark.parametrize("fetched", ["", "Forty"])
@pytest.mark.parametrize(
    ("error", "can_be_fetched_again"),
    [
        (ServerUnavailable("It is gone again.", kind="offline"), True),
        (ServerRejected("It has no such answer.", kind="not_found"), False),
    ],
)
async def test_fetching_that_breaks_off_loses_no_text(
    store, text, fetched, error, can_be_fetched_again
):
    script = [TextDelta(text=fetched), error] if fetched else [error]
    conversation = await interrupted_conversation(store, text, script)
    await read(conversation.catch_up())
    saved = (await store.open_session(conversation.header.session_id)).messages[-1]
    assert (saved.state, saved.text) == (AnswerState.INTERRUPTED, text)
    assert bool(replay_id_of(saved)) is can_be_fetched_again


@pytest.mark.parametrize("text", [SHORT, LONG])
async def test_what_was_fetched_and_is_longer_is_kept(store, text):
    whole = f"{text} And more."
    script = [TextDelta(text=whole), StreamFinished(reason="stop")]
    conversation = await interrupted_conversation(store, text, script)
    await read(conversation.catch_up())
    saved = (await store.open_session(conversation.header.session_id)).messages[-1]
    assert (saved.state, saved.text) == (AnswerState.COMPLETE, whole)


@pytest.mark.parametrize("text", ["No.", SHORT, LONG])
async def test_another_answer_does_not_take_the_place_of_what_was_saved(store, text):
    script = [TextDelta(text="Yes, delete all of them. " * 20), StreamFinished(reason="stop")]
    conversation = await interrupted_conversation(store, text, script)
    await read(conversation.catch_up())
    saved = (await store.open_session(conversation.header.session_id)).messages[-1]
    assert (saved.state, saved.text) == (AnswerState.INTERRUPTED, text)
    assert not replay_id_of(saved)


@pytest.mark.parametrize("end", ["</thi", "\n\n</", "\n"])
async def test_half_a_tag_at_the_end_of_what_was_saved_is_not_compared(store, end):
    script = [TextDelta(text="Plan it. And more."), StreamFinished(reason="stop")]
    conversation = await interrupted_conversation(store, f"Plan it.{end}", script)
    await read(conversation.catch_up())
    saved = (await store.open_session(conversation.header.session_id)).messages[-1]
    assert (saved.state, saved.text) == (AnswerState.COMPLETE, "Plan it. And more.")
