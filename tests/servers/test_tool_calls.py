from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.servers.events import RequestAdapted
from lmchat.servers.http.json_values import dicts_in
from lmchat.servers.stream.tool_calls import ToolCalls
from lmchat.sessions.message import ChatMessage, Role, ToolCallPart, ToolResultPart, text_message
from tests.support.client_calls import READ_TOOL, answered, ask, events_of, message_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import error_reply


def put_together(*chunks):
    """Return {index: [id, name, arguments]} of all fragments."""
    calls, found = ToolCalls(), {}
    for chunk in chunks:
        for one in map(calls.read, dicts_in(chunk)):
            entry = found.setdefault(one.index, ["", "", ""])
            entry[0] += one.call_id
            entry[1] += one.name
            entry[2] += one.arguments
    return found


def fragment(index=None, call_id=None, name=None, arguments=None):
    told = {"index": index, "id": call_id, "function": {"name": name, "arguments": arguments}}
    return {key: value for key, value in told.items() if value is not None}


TABLE = {
    "id and name count once, arguments add up": (
        [
            [fragment(0, "a", "f", "{")],
            [fragment(0, "a", "f", '"a"')],
            [fragment(0, "a", "", ":1}")],
        ],
        {0: ["a", "f", '{"a":1}']},
    ),
    "fragments of two calls in turn": (
        [
            [fragment(0, "a", "f")],
            [fragment(1, "b", "g", "{")],
            [fragment(0, "a", "", "1")],
            [fragment(1, arguments="}")],
            [fragment(0, arguments="2")],
        ],
        {0: ["a", "f", "12"], 1: ["b", "g", "{}"]},
    ),
    "without an index the id tells the call": (
        [
            [fragment(None, "a", "f", "1")],
            [fragment(None, "b", "g", "2")],
            [fragment(None, "a", None, "3")],
        ],
        {0: ["a", "f", "13"], 1: ["b", "g", "2"]},
    ),
    "complete calls without index and id": (
        [[fragment(name="f", arguments="{}")], [fragment(name="g", arguments="{}")]],
        {0: ["", "f", "{}"], 1: ["", "g", "{}"]},
    ),
    "one index with two ids": (
        [
            [fragment(0, "a", "f", "1"), fragment(0, "b", "g", "2")],
            [fragment(0, arguments="3")],
            [fragment(None, "a", None, "4")],
        ],
        {0: ["a", "f", "14"], 1: ["b", "g", "23"]},
    ),
    "an id of its own for each fragment": (
        [[fragment(0, "a", "f", "1")], [fragment(0, "b", "", "2")], [fragment(0, "c", None, "3")]],
        {0: ["a", "f", "123"]},
    ),
    "arguments that are an object become text": (
        [[fragment(0, "a", "f", {"x": [1]})]],
        {0: ["a", "f", '{"x":[1]}']},
    ),
}


@pytest.mark.rule("R-20")
def test_fragments_are_put_together():
    for name, (chunks, found) in TABLE.items():
        assert put_together(*chunks) == found, name


def test_rubbish_is_no_call():
    assert put_together(None, "x", [None, 7], {}) == {}
    assert put_together([{"index": "x", "id": 7, "function": "f"}]) == {0: ["", "", ""]}


def _talk() -> tuple[ChatMessage, ...]:
    """A prompt, two calls of which one was stopped, a result, and an answer."""
    made = [
        ToolCallPart(call_id=f"c{n}", name="files__read", arguments="{}{"[: n + 2])
        for n in range(2)
    ]
    ran = replace(made[0], name="files/read")
    return (
        text_message(Role.USER, "Read it"),
        message_of(Role.ASSISTANT, *made),
        message_of(Role.TOOL, ran, ToolResultPart(text="found")),
        text_message(Role.ASSISTANT, "It says found."),
        text_message(Role.USER, "And?"),
    )


async def test_calls_are_sent_with_their_results_and_without_one_not_at_all(server, client):
    server.on(CHAT, chat_reply("Hi"))
    await events_of(
        client, replace(ask(server), messages=_talk(), tools=(READ_TOOL,), must_call=True)
    )
    body = server.seen(CHAT)[-1].json
    function = {"name": "files__read", "description": "", "parameters": {"type": "object"}}
    assert body["tools"] == [{"type": "function", "function": function}]
    assert body["tool_choice"] == "required"
    call = {"id": "c0", "type": "function", "function": {"name": "files__read", "arguments": "{}"}}
    assert body["messages"][1:3] == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c0", "content": "found"},
    ]


async def test_a_server_that_refuses_tools_is_asked_without_them_and_that_is_said(
    server, make_client
):
    for refusal in (
        "registry.ollama.ai/library/gemma:2b does not support tools",
        '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
    ):
        server.requests.clear()
        client = make_client()
        server.on(CHAT, error_reply(400, refusal), chat_reply("Hi"))
        events = await answered(client, replace(ask(server), tools=(READ_TOOL,), must_call=True))
        assert [one.note for one in events if isinstance(one, RequestAdapted)] == [
            f"The server says: {refusal}. Sending the request again without tools."
        ]
        assert not {"tools", "tool_choice"} & set(server.seen(CHAT)[-1].json)


async def test_an_option_that_a_server_refuses_beside_tools_is_lost_and_the_tools_are_kept(
    server, client
):
    refusal = "logprobs is not supported with tools + stream"
    server.on(CHAT, error_reply(400, refusal), chat_reply("Hi"))
    asked = ask(server, more={"logprobs": 5}, product="llama.cpp")
    events = await answered(client, replace(asked, tools=(READ_TOOL,)))
    assert [one.note for one in events if isinstance(one, RequestAdapted)] == [
        f"llama.cpp says: {refusal}. Sending the request again without logprobs."
    ]
    assert "tools" in server.seen(CHAT)[-1].json
