"""Requests that are shown instead of sent: the same bytes as on the wire."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.servers.request import Sampling, Tool
from lmchat.core.sessions.message import Role, ToolCallPart, ToolResultPart, text_message
from tests.support.client_calls import ask, message_of
from tests.support.scripted_backend import read
from tests.support.scripted_products import CHAT, chat_reply, llama_models

KEY = "sk-marked-key-4711"


async def test_url_headers_and_body_are_those_that_are_sent_but_for_the_key(server, make_client):
    server.on("GET /v1/models", llama_models()).on(CHAT, chat_reply("Hi"))
    client = make_client(key=KEY)
    more = {"extra.no_such_field": "é😀", "extra.\udfff": ["a\ud800"]}
    sampling = Sampling(temperature=0.5, seed=7, more=more)
    request = replace(ask(server, "Hello\x1b é😀\ud800", product="llama.cpp"), sampling=sampling)
    shown = await client.prepare(request)
    assert server.requests == []
    assert client.rate_limit().left == client.rate_limit().limit
    await read(client.stream(request))
    seen = server.seen(CHAT)[-1]
    assert (shown.url, shown.body) == (f"{server.url}/v1/chat/completions", seen.body)
    assert seen.json["\ufffd"] == ["a\ufffd"]
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert (shown.has_key, KEY in repr(shown)) == (True, False)
    assert {
        name.lower(): value for name, value in shown.headers.items()
    }.items() <= seen.headers.items()


async def test_no_body_has_a_nul_at_which_a_server_would_cut_the_prompt(server, client):
    """As llama.cpp does (ggml-org/llama.cpp#25543)."""
    server.on(CHAT, chat_reply())
    call = ToolCallPart(call_id="c\0", name="weigh\0", arguments='{"of":"a\0"}')
    path = r"C:\u0000 and C:\\"
    request = replace(
        ask(server, more={"extra.x\0": "\0\0"}),
        tools=(Tool(server="s", name="weigh", wire_name="weigh", description=f"{path}\0"),),
        messages=(
            text_message(Role.USER, f"{path}\0"),
            message_of(Role.ASSISTANT, call),
            message_of(Role.TOOL, call, ToolResultPart(text="40\0 g")),
            text_message(Role.ASSISTANT, "a\0b\n\\\0"),
            text_message(Role.USER, "And?"),
        ),
    )
    await read(client.stream(request))
    (seen,) = server.seen(CHAT)
    prompt, called, result, answer, _ = seen.json["messages"]
    texts = [one["content"] for one in (prompt, result, answer)]
    assert texts == [path, "40 g", "ab\n\\"]
    (sent,) = called["tool_calls"]
    assert (sent["id"], sent["function"]) == ("c", {"name": "weigh", "arguments": "{}"})
    assert result["tool_call_id"] == "c"
    assert (seen.json["x"], seen.json["tools"][0]["function"]["description"]) == ("", path)
