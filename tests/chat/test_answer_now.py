"""Answer now: a thought ends early, by the server's own means or by a request that continues."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.chat.answer_now import NOT_THINKING, answer_now, can_answer_now
from lmchat.chat.answering import TurnSettings
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import ReasoningDelta, RequestSent, StreamFinished, TextDelta
from lmchat.servers.model import Target
from lmchat.sessions.message import AnswerState
from tests.support.conversations import begin, on_disk
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model
from tests.support.scripted_server import (
    DONE,
    Gate,
    Hold,
    Reply,
    ScriptedServer,
    delta,
    finish,
    json_reply,
    sse,
    text_reply,
    usage,
)

CHAT = "POST /v1/chat/completions"
CONTROL = "POST /v1/chat/completions/control"
END = StreamFinished(reason="stop")


def settings_for(product: str, url: str = ENDPOINT.url) -> TurnSettings:
    endpoint = Endpoint.parse(url)
    known = replace(model("tiny"), endpoint=endpoint, product=product)
    return TurnSettings(target=Target(endpoint=endpoint, product=product, model=known))


def thought(text: str) -> dict:
    return delta(reasoning_content=text)


@pytest.fixture
def server():
    with ScriptedServer() as scripted:
        yield scripted


async def answered_now(conversation, settings, *, after: type = ReasoningDelta) -> list:
    """Send a prompt, press the key once at the first event of a kind, and return all events."""
    events = []
    async with aclosing(conversation.send("How many beds?", settings)) as stream:
        async for event in stream:
            if isinstance(event, after) and not any(isinstance(past, after) for past in events):
                assert answer_now(conversation) == ""
            events.append(event)
    return events


def told_by(server: ScriptedServer, reply: Reply) -> Gate:
    """Let the server answer so when it is told to end a thought; return the gate that this opens."""
    gate = Gate()

    def control(_):
        gate.open()
        return reply

    server.on(CONTROL, control)
    return gate


async def test_llama_cpp_is_told_the_id_of_the_answer_and_the_model_of_the_request(
    store, client, server
):
    told = told_by(server, json_reply({"success": True}))
    server.on(CHAT, sse(thought("Hm. "), told, thought("So."), "Four.", finish(), DONE))
    conversation = begin(client, store)
    await answered_now(conversation, settings_for("llama.cpp", server.url))
    assert server.seen(CHAT)[0].json["reasoning_control"] is True
    assert [order.json for order in server.seen(CONTROL)] == [
        {"model": "tiny", "id": "chatcmpl-1", "action": "reasoning_end"}
    ]
    answer = (await on_disk(store, conversation))[-1]
    assert (answer.reasoning, answer.text) == ("Hm. So.", "Four.")
    assert len(server.seen(CHAT)) == 1


async def test_a_llama_cpp_that_refuses_gets_a_request_that_continues_behind_the_thought(
    store, client, server
):
    told = told_by(server, text_reply("File Not Found", status=404))
    begun = sse(thought("Let me see. "), told, thought("Two by two. "), Hold())
    server.on(CHAT, begun, sse("Four", " beds.", usage(30, 2), finish(), DONE))
    conversation = begin(client, store)
    await answered_now(conversation, settings_for("llama.cpp", server.url))
    first, second = (request.json for request in server.seen(CHAT))
    answer = (await on_disk(store, conversation))[-1]
    assert answer.reasoning == "Let me see. Two by two. "
    assert second["messages"] == [
        *first["messages"],
        {"role": "assistant", "content": "", "reasoning_content": answer.reasoning},
    ]
    assert (second["continue_final_message"], second["add_generation_prompt"]) == ("content", False)
    assert answer.text == "Four beds."
    assert answer.state is AnswerState.COMPLETE
    assert len(server.seen(CONTROL)) == 1


async def test_a_key_before_the_thought_ends_it_and_further_keys_do_nothing(store):
    hm, well = ReasoningDelta(text="Hm."), ReasoningDelta(text="Well.")
    backend = ScriptedBackend([RequestSent(), hm, well, TextDelta(text="Four."), END])
    conversation = begin(backend, store)
    assert answer_now(conversation) == NOT_THINKING
    async with aclosing(conversation.send("x", settings_for("llama.cpp"))) as stream:
        async for event in stream:
            if isinstance(event, RequestSent):
                assert answer_now(conversation) == ""
                assert backend.thoughts_to_end == []
            if isinstance(event, ReasoningDelta):
                assert answer_now(conversation) == ""
                assert not can_answer_now(conversation)
            if isinstance(event, TextDelta):
                assert answer_now(conversation) == NOT_THINKING
    assert answer_now(conversation) == NOT_THINKING
    assert backend.thoughts_to_end == [backend.requests[0].request_id]
    assert len(backend.requests) == 1
