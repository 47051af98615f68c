"""Messages that the user has taken out of requests."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.chat.context import plan_context
from lmchat.chat.next_request import context_of_next_request
from lmchat.chat.open_sessions import OpenSessions
from lmchat.chat.starts import messages_together
from lmchat.config.settings import ChatSettings
from lmchat.errors import RequestInvalid, StoreUnavailable
from lmchat.servers.events import RequestSent
from lmchat.sessions.message import Role, ToolCallPart, ToolResultPart, text_message
from lmchat.sessions.session import MessagePath
from tests.support.scripted_backend import ScriptedBackend, answer_steps, target


@pytest.fixture
def backend():
    return ScriptedBackend()


@pytest.fixture
def sessions(backend, store):
    sessions = OpenSessions(chat=ChatSettings(), server=backend, store=store)
    sessions.next_turn.target = target()
    return sessions


async def say(sessions, *texts):
    for text in texts:
        sessions.send(sessions.shown, text)
        await sessions.wait(sessions.shown)


async def toggle(sessions, index):
    await sessions.toggle_excluded(sessions.shown, sessions.shown.messages[index].message_id)


def sent(backend) -> list[str]:
    return [message.text for message in backend.requests[-1].messages]


def call(call_id: str) -> ToolCallPart:
    return ToolCallPart(call_id=call_id, name="read", arguments="{}")


def test_results_go_with_the_answer_that_called_for_them():
    asked = text_message(Role.USER, "Read both.")
    calls = replace(text_message(Role.ASSISTANT, "Yes."), parts=(call("a"), call("b")))
    results = [
        replace(text_message(Role.TOOL, ""), parts=(call(name), ToolResultPart(text=name)))
        for name in "ab"
    ]
    said = text_message(Role.ASSISTANT, "Read.")
    path = MessagePath([asked, calls, *results, said])
    for message in (calls, *results):
        assert messages_together(path, message.message_id) == [calls, *results]
    assert messages_together(path, said.message_id) == [said]
    assert messages_together(path, "gone") == []
    out = [replace(message, is_excluded=message is calls) for message in path]
    assert [one.text for one in plan_context(out, limit=None).messages] == ["Read both.", "Read."]


async def test_a_message_taken_out_is_sent_by_no_request_until_it_is_put_back(
    sessions, backend, store
):
    await say(sessions, "a", "b")
    conversation, next_turn = sessions.shown, sessions.next_turn
    assert not next_turn.context_use(conversation).is_estimated
    await toggle(sessions, 0)
    assert next_turn.context_use(conversation).is_estimated  # the count is of other messages
    await say(sessions, "c")
    assert sent(backend) == ["Lettuce does well.", "b", "Lettuce does well.", "c"]
    session_id = conversation.header.session_id
    opened = await store.open_session(session_id)
    fork = await store.fork(session_id, conversation.messages[-1].message_id)
    for messages in (opened.messages, fork.messages, conversation.messages):
        assert [one.is_excluded for one in messages] == [True, *[False] * 5]
    await toggle(sessions, 0)
    await say(sessions, "d")
    assert sent(backend)[0] == "a"
    assert not next_turn.context_use(conversation).is_estimated


async def test_nothing_is_taken_out_if_the_disk_fails_or_while_an_answer_runs(
    sessions, backend, store, monkeypatch
):
    async def fail(*_, **__):
        raise StoreUnavailable("The disk is full.")

    await say(sessions, "a")
    with monkeypatch.context() as patch:
        patch.setattr(store, "set_excluded", fail)
        with pytest.raises(StoreUnavailable):
            await toggle(sessions, 0)
    gate = asyncio.Event()
    backend.scripts.append([RequestSent(), gate, *answer_steps()])
    backend.asked.clear()
    turn = asyncio.create_task(say(sessions, "b"))
    await backend.asked.wait()
    with pytest.raises(RequestInvalid, match="still streaming"):
        await toggle(sessions, 0)
    gate.set()
    await turn
    assert not sessions.shown.messages[0].is_excluded


async def test_a_prompt_that_is_out_is_not_answered_again_and_an_answer_that_is_out_is(
    sessions, backend
):
    await say(sessions, "a")
    conversation = sessions.shown
    await toggle(sessions, 1)
    sessions.regenerate(conversation, conversation.messages[1])
    await sessions.wait(conversation)
    assert not conversation.messages[1].is_excluded
    await toggle(sessions, 0)
    for message in conversation.messages:
        sessions.regenerate(conversation, message)
        with pytest.raises(RequestInvalid, match="taken out"):
            await sessions.wait(conversation)
    sessions.edit(conversation, conversation.messages[0].message_id, "b", None)
    await sessions.wait(conversation)
    assert sent(backend) == ["b"]


async def test_the_list_says_what_is_sent_and_what_is_not(sessions, backend):
    await say(sessions, "a", "b")
    await toggle(sessions, 0)
    estimated = await context_of_next_request(sessions, sessions.shown, "What else?")
    backend.tokens = 1000
    counted = await context_of_next_request(sessions, sessions.shown, "What else?")
    for listed in (estimated, counted):
        assert [(item.author, item.words, item.state) for item in listed.items] == [
            ("you", "a", "not sent"),
            ("qwen3-8b", "Lettuce does well.", ""),
            ("you", "b", ""),
            ("qwen3-8b", "Lettuce does well.", ""),
            ("draft", "What else?", ""),
        ]
    assert estimated.tokens == sum(item.tokens for item in estimated.items[1:])
    assert (estimated.is_estimated, counted.is_estimated) == (True, False)
    assert counted.tokens == 1000
    assert sum(item.tokens for item in counted.items[1:]) == pytest.approx(1000, abs=2)
    assert counted.items[0].tokens == estimated.items[0].tokens, "it is not in the count"
