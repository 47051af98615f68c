"""Text that turns out to be thought: a conversation, and what is on the disk of it."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.servers.events import RefusalDelta, Rethought, StreamFinished, TextDelta
from lmchat.sessions.message import RESET, AnswerState, RefusalPart
from tests.support.conversations import SETTINGS, begin, on_disk
from tests.support.scripted_backend import ScriptedBackend, read

END = StreamFinished(reason="stop")
LATE = [TextDelta(text="Let me see: 2+2"), Rethought(), TextDelta(text="Four")]


@pytest.mark.rule("R-17")
async def test_an_answer_is_kept_as_what_it_turned_out_to_be(store):
    for events, thought, text in (
        (LATE, "Let me see: 2+2", "Four"),
        ([TextDelta(text="hm"), Rethought()], "hm", ""),
    ):
        conversation = begin(ScriptedBackend([*events, END]), store)
        await read(conversation.send("x", SETTINGS))
        assert await on_disk(store, conversation) == conversation.messages
        reply = conversation.messages[-1]
        assert (reply.reasoning, reply.text) == (thought, text)
        assert (reply.stats.reasoning_ms is not None) == bool(thought)


@pytest.mark.rule("R-17")
async def test_thought_and_text_are_separate_on_the_disk_while_the_answer_streams(store):
    gate, written = asyncio.Event(), asyncio.Queue()
    add_entries = store.add_entries

    async def noticing(message_id, pieces):
        await add_entries(message_id, pieces)
        written.put_nowait(pieces)

    store.add_entries = noticing
    first, *rest = LATE
    conversation = begin(ScriptedBackend([first, gate, *rest, asyncio.Event()]), store)
    task = asyncio.create_task(read(conversation.send("x", SETTINGS)))
    assert await written.get() == [("text", "Let me see: 2+2")]
    gate.set()
    assert (await written.get())[0] == RESET
    reply = (await on_disk(store, conversation))[-1]
    assert (reply.reasoning, reply.text, reply.state) == (
        "Let me see: 2+2",
        "Four",
        AnswerState.STREAMING,
    )
    shown = conversation.shown_messages[-1]
    assert (shown.reasoning, shown.text) == ("Let me see: 2+2", "Four")
    task.cancel()
    await asyncio.wait([task])


async def test_a_refusal_is_kept_apart_and_is_what_was_said(store):
    conversation = begin(
        ScriptedBackend([RefusalDelta(text="I can"), RefusalDelta(text="not."), END]), store
    )
    await read(conversation.send("x", SETTINGS))
    reply = (await on_disk(store, conversation))[-1]
    assert reply.parts == (RefusalPart(text="I cannot."),)
    assert (reply.text, reply.refusal, reply.state) == (
        "I cannot.",
        "I cannot.",
        AnswerState.COMPLETE,
    )
    (found,) = await store.search("cannot")
    assert found.session_id == conversation.header.session_id
