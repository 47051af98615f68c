from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from lmchat.errors import (
    RequestInvalid,
    ServerUnavailable,
    StreamInterrupted,
)
from lmchat.servers.events import ReasoningDelta, RequestSent, StreamFinished, TextDelta
from lmchat.services.conversation_events import AnswerBegun, MessageAdded
from lmchat.services.turn_stats import failure_of
from lmchat.sessions.message import AnswerState, Role
from tests.support.conversations import SETTINGS, begin, on_disk, reading
from tests.support.scripted_backend import (
    ScriptedBackend,
    answer_steps,
    read,
)


async def test_the_prompt_is_on_the_disk_before_the_request_goes_out(store):
    class Curious(ScriptedBackend):
        async def stream(self, request):
            self.seen = await on_disk(store, conversation)
            async with aclosing(super().stream(request)) as events:
                async for event in events:
                    yield event

    backend = Curious(answer_steps())
    conversation = begin(backend, store)
    await read(conversation.send("What grows in shade?", SETTINGS))
    assert [message.text for message in backend.seen if message.role is Role.USER] == [
        "What grows in shade?"
    ]


async def test_a_prompt_is_shown_before_it_is_on_the_disk_and_kept_also_if_its_reader_leaves(
    store,
):
    backend = ScriptedBackend(answer_steps())
    conversation = begin(backend, store)
    async with aclosing(conversation.send("What grows in shade?", SETTINGS)) as events:
        assert isinstance(await anext(events), MessageAdded)
        assert not await store.list_sessions()
    assert [message.text for message in await on_disk(store, conversation)] == [
        "What grows in shade?"
    ]
    assert backend.requests == []


async def test_a_whole_answer_is_kept_with_its_figures(store):
    conversation = begin(ScriptedBackend(answer_steps("Lettuce does well.", thought="hm")), store)
    events = await read(conversation.send("What grows in shade?", SETTINGS))
    assert isinstance(events[0], MessageAdded)
    assert isinstance(events[1], AnswerBegun)
    assert isinstance(events[-1], StreamFinished)
    prompt, reply = await on_disk(store, conversation)
    assert (prompt.text, reply.text, reply.reasoning) == (
        "What grows in shade?",
        "Lettuce does well.",
        "hm",
    )
    assert reply.state is AnswerState.COMPLETE
    assert reply.stats.completion_tokens == 3
    assert reply.parent_id == prompt.message_id
    assert conversation.header.title == "What grows in shade?"
    assert not conversation.is_running


async def test_the_history_goes_along_without_reasoning(store):
    backend = ScriptedBackend(answer_steps("One.", thought="secret"), answer_steps("Two."))
    conversation = begin(backend, store, system_prompt="Be brief.")
    await read(conversation.send("a", SETTINGS))
    await read(conversation.send("b", SETTINGS))
    assert [(m.role.value, m.text) for m in backend.requests[1].messages] == [
        ("system", "Be brief."),
        ("user", "a"),
        ("assistant", "One."),
        ("user", "b"),
    ]


@pytest.mark.rule("R-30")
async def test_stopping_keeps_what_came_as_stopped(store):
    gate = asyncio.Event()
    backend = ScriptedBackend([RequestSent(), TextDelta(text="Let"), gate])
    conversation = begin(backend, store)
    task = await reading(conversation.send("x", SETTINGS), TextDelta)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    reply = (await on_disk(store, conversation))[-1]
    assert (reply.text, reply.state, reply.failure) == ("Let", AnswerState.STOPPED, None)
    assert backend.stopped == 1
    assert not conversation.is_running


@pytest.mark.rule("R-27")
async def test_an_answer_that_breaks_off_is_kept_and_says_why(store):
    half = TextDelta(text="Hal")
    interrupted, failed = AnswerState.INTERRUPTED, AnswerState.FAILED
    for script, state, text in (
        ([half, StreamInterrupted("It broke off.")], interrupted, "Hal"),
        ([ReasoningDelta(text="hm"), StreamInterrupted("It broke off.")], interrupted, ""),
        ([ServerUnavailable("Nothing answers at 127.0.0.1:1234.")], failed, ""),
        ([half, ZeroDivisionError("ours")], interrupted, "Hal"),
    ):
        conversation = begin(ScriptedBackend(script), store)
        await read(conversation.send("x", SETTINGS))
        reply = (await on_disk(store, conversation))[-1]
        assert (reply.state, reply.text) == (state, text)
        assert reply.failure.message
        assert reply.failure.failure_id
        assert "ours" not in reply.failure.message


async def test_a_prompt_without_an_answer_is_answered_and_an_edited_one_is_a_sibling(store):
    backend = ScriptedBackend([ServerUnavailable("away")], *map(answer_steps, ("There.", "Two.")))
    conversation = begin(backend, store)
    await read(conversation.send("x", SETTINGS))
    await read(conversation.regenerate(conversation.messages[0].message_id, SETTINGS))
    assert [m.text for m in conversation.messages] == ["x", "There."]
    await read(conversation.edit(conversation.messages[0].message_id, "second", SETTINGS))
    prompt, reply = await on_disk(store, conversation)
    assert (prompt.text, prompt.version, prompt.versions, reply.text) == ("second", 2, 2, "Two.")
    assert [m.text for m in backend.requests[2].messages] == ["second"]
    assert len(await store.tree(conversation.header.session_id)) == 5


async def test_two_turns_at_once_in_one_session_are_refused(store):
    gate = asyncio.Event()
    backend = ScriptedBackend([RequestSent(), gate, StreamFinished(reason="")])
    conversation = begin(backend, store)
    task = asyncio.create_task(read(conversation.send("x", SETTINGS)))
    await backend.asked.wait()
    with pytest.raises(RequestInvalid):
        await read(conversation.send("y", SETTINGS))
    gate.set()
    await task
    assert [m.text for m in conversation.messages if m.role is Role.USER] == ["x"]


def test_the_log_has_each_failure_under_the_id_that_its_card_shows(caplog):
    offline = ServerUnavailable("Nothing answers.", details="secret words")
    for error, kind in ((offline, "offline"), (KeyError("secret words"), "bug")):
        failure = failure_of(error)
        assert failure.kind == kind
        assert failure.failure_id
        assert f"id {failure.failure_id}" in caplog.messages[-1]
        assert "secret words" not in caplog.messages[-1]
