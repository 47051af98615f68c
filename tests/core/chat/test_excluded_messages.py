"""Messages that the user has taken out of requests."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid, StoreUnavailable, StreamInterrupted
from lmchat.core.chat.context import select_context
from lmchat.core.chat.preview import context_of_next_request
from lmchat.core.chat.turn_starts import messages_together
from lmchat.core.servers.events import RequestSent, StreamFinished, UsageReported
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import Role, ToolCallPart, ToolResultPart, text_message
from lmchat.core.sessions.prompts import Prompt
from lmchat.core.sessions.session import MessagePath
from tests.support.chat_turns import ChatTurns
from tests.support.scripted_backend import answer_steps, model
from tests.support.scripted_tools import toolbox


async def say(chat: ChatTurns, *texts: str) -> None:
    for text in texts:
        await chat.send(text)


async def toggle(chat: ChatTurns, index: int) -> None:
    await chat.session.toggle_excluded(chat.path[index].message_id)


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
    with pytest.raises(RequestInvalid, match="on another branch"):
        messages_together(path, "gone")
    out = [replace(message, is_excluded=message is calls) for message in path]
    assert [one.text for one in select_context(out, limit=None).messages] == ["Read both.", "Read."]


async def test_a_message_taken_out_is_sent_by_no_request_until_it_is_put_back(store):
    chat = ChatTurns(store)
    await say(chat, "a", "b")
    use = chat.sessions.context_window.context_use
    assert not use(chat.session).is_estimated
    await toggle(chat, 0)
    assert use(chat.session).is_estimated  # the count is of other messages
    await chat.send("c")
    assert chat.sent() == ["b", "Lettuce does well.", "c"], "no answer without its prompt"
    fork = await store.fork(chat.session.session_id, chat.path[-1].message_id)
    for messages in (await chat.on_disk(), fork.messages, chat.path):
        assert [one.is_excluded for one in messages] == [True, *[False] * 5]
    await toggle(chat, 0)
    await chat.send("d")
    assert chat.sent()[0] == "a"
    assert not use(chat.session).is_estimated


async def test_nothing_is_taken_out_if_the_disk_fails_or_while_an_answer_runs(store, monkeypatch):
    chat = ChatTurns(store, answer_steps(), [RequestSent(), asyncio.Event()])
    await chat.send("a")
    with monkeypatch.context() as patch:
        full = StoreUnavailable("The disk is full.")
        patch.setattr(store, "set_excluded", AsyncMock(side_effect=full))
        with pytest.raises(StoreUnavailable):
            await toggle(chat, 0)
    await chat.start("b", RequestSent)
    with pytest.raises(RequestInvalid, match="has not ended"):
        await toggle(chat, 0)
    await chat.stop()
    assert not chat.path[0].is_excluded


async def test_a_prompt_that_is_out_is_not_answered_again_and_an_answer_that_is_out_is(store):
    chat = ChatTurns(store)
    await chat.send("a")
    await toggle(chat, 1)
    await chat.regenerate(chat.path[1])
    assert not chat.path[1].is_excluded
    await toggle(chat, 0)
    for message in chat.path:
        with pytest.raises(RequestInvalid, match="taken out"):
            await chat.regenerate(message)
    await chat.edit(chat.path[0], "b")
    assert chat.sent() == ["b"]
    await chat.session.set_system_prompt("Be a pirate.")
    await toggle(chat, -1)
    await chat.edit(chat.path[0], "c")
    assert chat.sent() == ["c"]


async def test_the_list_says_what_is_sent_and_what_is_not(store):
    chat = ChatTurns(store)
    await say(chat, "a", "b")
    await toggle(chat, 0)
    used = chat.sessions.context_window.context_use(chat.session)
    estimated = await context_of_next_request(chat.sessions, chat.session, Prompt("What else?"))
    chat.server.tokens = 1000
    counted = await context_of_next_request(chat.sessions, chat.session, Prompt("What else?"))
    for listed in (estimated, counted):
        assert [(item.author, item.text, item.state) for item in listed.items] == [
            ("you", "a", "not sent"),
            ("qwen3-8b", "Lettuce does well.", "not sent"),
            ("you", "b", ""),
            ("qwen3-8b", "Lettuce does well.", ""),
            ("draft", "What else?", ""),
        ]
    assert estimated.tokens == sum(item.tokens for item in estimated.items[2:])
    assert used.tokens == sum(item.tokens for item in estimated.items[2:-1])
    assert (estimated.is_estimated, counted.is_estimated) == (True, False)
    assert counted.tokens == 1000
    assert sum(item.tokens for item in counted.items[2:]) == pytest.approx(1000, abs=2)
    assert counted.items[0].tokens == estimated.items[0].tokens, "it is not in the count"


async def test_the_list_has_the_tools_what_the_window_left_out_and_the_cache_of_the_model(store):
    cached = UsageReported(prompt_tokens=400, completion_tokens=2, cached_tokens=90)
    failed = [StreamInterrupted("The connection broke.")]
    scripts = failed, [*answer_steps("A.")[:-2], cached, StreamFinished(reason="stop")]
    chat = ChatTurns(store, *scripts, box=toolbox(), system_prompt="Be brief.")

    async def listed() -> list[tuple[str, str]]:
        items = (await context_of_next_request(chat.sessions, chat.session, Prompt("c"))).items
        return [(item.author, item.state) for item in items]

    assert await listed() == [("system", ""), ("tools", ""), ("draft", "")]
    await say(chat, "a", "b " * 300)
    told = ["system", "tools", "you", "you", "qwen3-8b", "draft"]
    states = [*["cached"] * 3, *[""] * 3]
    assert await listed() == list(zip(told, states, strict=True)), "no answer without a word"
    chat.use("LM Studio", window=400)
    states[2:5] = ["left out"] * 3
    assert [state for _, state in await listed()] == states
    chat.sessions.turn_options.target = Target.of(model("tiny"))
    assert not any(state for _, state in await listed()), "another model has read nothing"


async def test_the_list_is_of_the_messages_for_which_the_request_was_made(store):
    chat = ChatTurns(store)
    await say(chat, "a")

    async def count_late(_request):
        chat.session.add(
            text_message(Role.ASSISTANT, "Late.", parent_id=chat.session.messages.leaf_id)
        )

    chat.server.count_tokens = count_late
    listed = await context_of_next_request(chat.sessions, chat.session, Prompt("b"))
    assert [item.text for item in listed.items] == ["a", "Lettuce does well.", "b"]
