"""Requests that are shown instead of sent: the same bytes as on the wire, and the text behind them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.product import Product
from lmchat.domain.request import AnyObject, ChatRequest, Sampling
from lmchat.domain.server import Endpoint
from lmchat.errors import EndpointNotAllowed, LMChatError, ServerUnavailable
from lmchat.proxy import client as client_module
from tests.support.proxy_calls import ask
from tests.support.scripted_backend import read
from tests.support.scripted_products import CHAT, LLAMA, chat_reply, llama_models
from tests.support.scripted_server import Hold, Seen, error_reply, json_reply, raw_reply

KEY = "sk-marked-key-4711"
TEMPLATE = "POST /apply-template"
TOKENIZE = "POST /tokenize"
TEXT = "<s>user\nHi <|end|></s>"


def request_to(server, product=Product.LLAMA_CPP, **more) -> ChatRequest:
    return replace(ask(server, "Hello\x1b é😀\ud800", product=product), **more)


async def sent_and_shown(client, server, request):
    """Return a request as it would be sent, and then as the server got it."""
    shown = await client.outgoing(request)
    await read(client.stream(request))
    return server.seen(CHAT)[-1], shown


async def test_url_headers_and_body_are_those_that_are_sent_but_for_the_key(server, make_client):
    server.on("GET /v1/models", llama_models()).on(CHAT, chat_reply("Hi"))
    client = make_client(key=KEY)
    sampling = Sampling(temperature=0.5, seed=7, more={"extra.no_such_field": "é😀"})
    seen, shown = await sent_and_shown(client, server, request_to(server, sampling=sampling))
    assert shown.url == f"{server.url}/v1/chat/completions"
    assert seen.body == shown.body
    assert seen.headers["authorization"] == f"Bearer {KEY}"
    assert shown.has_key
    for name, value in shown.headers.items():
        assert seen.headers[name.lower()] == value
    assert KEY not in repr(shown)


async def test_half_characters_in_options_are_replaced(server, client):
    server.on(CHAT, chat_reply("Hi"))
    more = {"extra.\udfff": ["a\ud800"], "grammar": 'root ::= "\ud800"'}
    seen, _ = await sent_and_shown(client, server, request_to(server, sampling=Sampling(more=more)))
    assert seen.json["\ufffd"] == ["a\ufffd"]
    assert seen.json["grammar"] == 'root ::= "\ufffd"'


@pytest.mark.parametrize("product", [Product.OLLAMA, Product.LM_STUDIO, Product.MISTRAL])
async def test_each_product_has_its_own_body(server, client, product):
    server.on(CHAT, chat_reply("Hi"))
    sampling = Sampling(seed=7, reasoning_effort="low", max_tokens=5)
    seen, shown = await sent_and_shown(
        client, server, request_to(server, product, sampling=sampling)
    )
    assert seen.body == shown.body


async def test_what_the_server_has_refused_before_is_left_out(server, client):
    server.on(CHAT, error_reply(400, "Unsupported parameter: seed", param="seed"), chat_reply("{}"))
    request = request_to(server, Product.VLLM, sampling=Sampling(seed=5), output=AnyObject())
    await read(client.stream(request))
    seen, shown = await sent_and_shown(client, server, request)
    assert seen.body == shown.body


async def test_nothing_is_sent_to_show_a_request(server, client):
    await client.outgoing(request_to(server))
    assert server.requests == []
    assert client.metrics().total_requests == 0
    assert client.budget().left == client.budget().limit


async def test_an_id_that_would_keep_the_answer_is_not_shown(server, client):
    server.on("GET /v1/models", llama_models())
    server.on("POST /v1/streams/lookup", json_reply([], headers=LLAMA))
    await client.check(Endpoint.parse(server.url))
    shown = await client.outgoing(request_to(server, replay_id="ab" * 16))
    assert "X-Conversation-Id" not in shown.headers


async def test_a_host_that_is_not_allowed_is_refused(server, client):
    elsewhere = Endpoint.parse("http://workstation.lan:9931")
    request = replace(request_to(server), endpoint=elsewhere)
    with pytest.raises(EndpointNotAllowed):
        await client.outgoing(request)
    with pytest.raises(EndpointNotAllowed):
        await client.template_text(request)


def tokenizer(seen: Seen):
    """Tokenize as a server with two special tokens, which puts <s> before a text that wants it."""
    text = seen.json["content"]
    tokens = [{"id": 1, "piece": "<s>"}] if seen.json.get("add_special") else []
    is_special = seen.json.get("parse_special", True)
    while text:
        piece = text[0]
        for special in ("<s>", "</s>", "<|end|>"):
            if is_special and text.startswith(special):
                piece = special
        number = {"<s>": 1, "</s>": 2, "<|end|>": 3}.get(piece, 100 + ord(piece[0]))
        shown = [240, 159] if piece == "é" else piece
        tokens.append({"id": number, "piece": shown})
        text = text[len(piece) :]
    return json_reply({"tokens": tokens}, headers=LLAMA)


async def test_the_text_comes_with_its_tokens_and_the_special_ones(server, client):
    server.on("GET /v1/models", llama_models())
    server.on(TEMPLATE, json_reply({"prompt": TEXT}, headers=LLAMA))
    server.on(TOKENIZE, tokenizer)
    prompt = await client.template_text(request_to(server))
    assert prompt.text == TEXT
    assert prompt.tokens == 1 + len("user\nHi ") + 3
    assert set(prompt.special_tokens) == {"<s>", "</s>", "<|end|>"}
    asked = server.seen(TEMPLATE)[0]
    assert asked.body == (await client.outgoing(request_to(server))).body
    assert server.seen(CHAT) == []


@pytest.mark.parametrize("state", ["unloaded", "sleeping", "loading"])
async def test_a_model_that_is_not_in_memory_is_not_woken(server, client, state):
    server.on("GET /v1/models", llama_models(state))
    with pytest.raises(LMChatError) as raised:
        await client.template_text(request_to(server))
    assert raised.value.kind == "model_not_loaded"
    assert server.seen(TEMPLATE) == server.seen(TOKENIZE) == []


@pytest.mark.parametrize("product", [Product.OLLAMA, Product.OPENAI_COMPATIBLE])
async def test_a_product_that_cannot_show_the_text_is_not_asked(server, client, product):
    with pytest.raises(LMChatError, match="does not show the text") as raised:
        await client.template_text(request_to(server, product))
    assert raised.value.kind == "unsupported"
    assert server.requests == []


async def test_an_old_llama_cpp_says_so_too(server, client):
    server.on("GET /v1/models", llama_models())
    server.on(TEMPLATE, error_reply(404, "no", code=404))
    with pytest.raises(LMChatError) as raised:
        await client.template_text(request_to(server))
    assert raised.value.kind == "unsupported"


async def test_a_server_that_hangs_is_left(server, client, monkeypatch):
    monkeypatch.setattr(client_module, "TEMPLATE_S", 0.05)
    server.on("GET /v1/models", llama_models())
    server.on(TEMPLATE, raw_reply(Hold()))
    with pytest.raises(ServerUnavailable) as raised:
        await client.template_text(request_to(server))
    assert raised.value.kind == "timeout"
