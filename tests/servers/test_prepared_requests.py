"""Requests that are shown instead of sent: the same bytes as on the wire, and the text behind them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.errors import ServerRejected
from lmchat.servers.request import ChatRequest, Sampling
from tests.support.client_calls import ask
from tests.support.scripted_backend import read
from tests.support.scripted_products import CHAT, LLAMA, chat_reply, llama_models, ollama
from tests.support.scripted_server import json_reply

KEY = "sk-marked-key-4711"
TEMPLATE = "POST /apply-template"
TOKENIZE = "POST /tokenize"


def request_to(server, product="llama.cpp", **more) -> ChatRequest:
    return replace(ask(server, "Hello\x1b é😀\ud800", product=product), **more)


async def test_url_headers_and_body_are_those_that_are_sent_but_for_the_key(server, make_client):
    server.on("GET /v1/models", llama_models()).on(CHAT, chat_reply("Hi"))
    client = make_client(key=KEY)
    more = {"extra.no_such_field": "é😀", "extra.\udfff": ["a\ud800"]}
    request = request_to(server, sampling=Sampling(temperature=0.5, seed=7, more=more))
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


async def test_the_text_of_a_prompt_comes_with_the_number_of_its_tokens(server, client):
    server.on("GET /v1/models", llama_models())
    server.on(TEMPLATE, json_reply({"prompt": "<s>Hi"}, headers=LLAMA))
    pieces = [{"id": 1, "piece": "<s>"}, {"id": 172, "piece": "Hi"}]
    server.on(TOKENIZE, json_reply({"tokens": pieces}, headers=LLAMA))
    prompt = await client.template_text(request_to(server))
    assert (prompt.text, prompt.tokens) == ("<s>Hi", 2)
    (asked,) = server.seen(TEMPLATE)
    assert asked.body == (await client.prepare(request_to(server))).body


async def test_a_server_that_shows_no_text_says_so_also_if_the_model_is_not_loaded(server, client):
    ollama(server)
    with pytest.raises(ServerRejected, match="Ollama does not show the text"):
        await client.template_text(request_to(server, "Ollama"))
