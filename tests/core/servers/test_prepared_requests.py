"""Requests that are shown instead of sent: the same bytes as on the wire."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.servers.request import STREAM_HEADERS, Sampling, Tool
from tests.support.client_calls import ask
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
        name.lower(): value for name, value in STREAM_HEADERS.items()
    }.items() <= seen.headers.items()


async def test_no_body_has_a_nul_at_which_a_server_would_cut_the_prompt(server, client):
    """As llama.cpp does (ggml-org/llama.cpp#25543)."""
    server.on(CHAT, chat_reply())
    path = r"C:\u0000 and C:\\"
    weigh = Tool(server="s", name="weigh", wire_name="weigh", description=f"{path}\0")
    request = ask(server, f"{path}\0", more={"extra.x\0": "\0\0"})
    await read(client.stream(replace(request, tools=(weigh,))))
    (seen,) = server.seen(CHAT)
    texts = (seen.json["messages"][0]["content"], seen.json["tools"][0]["function"]["description"])
    assert (texts, seen.json["x"]) == ((path, path), "")
