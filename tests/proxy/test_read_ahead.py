"""Requests that let a server read ahead, as they are on the wire."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.domain.message import Role, text_message
from lmchat.domain.product import Product
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint
from lmchat.errors import LMChatError
from tests.support.proxy_calls import ask
from tests.support.scripted_backend import read
from tests.support.scripted_products import CHAT, llama_models
from tests.support.scripted_server import (
    DONE,
    Gate,
    delta,
    error_reply,
    finish,
    sse,
    usage,
)

PROGRESS = {**delta(), "prompt_progress": {"total": 900, "cache": 100, "processed": 500}}


def request_to(server, **sampling) -> ChatRequest:
    request = ask(server, product=Product.LLAMA_CPP, **sampling)
    return replace(request, messages=(*request.messages, text_message(Role.USER, "")))


@pytest.mark.rule("R-41")
async def test_the_prompt_is_read_and_nothing_is_counted(server, client):
    server.on("GET /v1/models", llama_models())
    server.on(CHAT, sse(PROGRESS, "x", finish("length"), usage(), DONE))
    progress = await read(client.read_ahead(request_to(server, max_tokens=50, temperature=0.5)))
    assert [step.fraction for step in progress] == [0.5]
    body = server.seen(CHAT)[0].json
    assert body["max_tokens"] == 0
    assert (body["temperature"], body["stream"], body["return_progress"]) == (0.5, True, True)
    assert client.metrics().total_requests == 0
    assert client.budget().left == client.budget().limit


@pytest.mark.parametrize("state", ["unloaded", "sleeping", "loading"])
async def test_nothing_is_read_by_a_model_that_is_not_in_memory(server, client, state):
    server.on("GET /v1/models", llama_models(state))
    with pytest.raises(LMChatError) as raised:
        await read(client.read_ahead(request_to(server)))
    assert raised.value.kind == "model_not_loaded"
    assert not server.seen(CHAT)


async def test_closing_the_reading_closes_its_connection(server, client):
    server.on("GET /v1/models", llama_models())
    gate = Gate()
    server.on(CHAT, sse(PROGRESS, gate, DONE))
    async with aclosing(client.read_ahead(request_to(server))) as steps:
        async for _ in steps:
            break
    left = await asyncio.to_thread(server.seen(CHAT)[0].client_left.wait, 10)
    assert left
    gate.open()


@pytest.mark.parametrize(
    "reply",
    [
        error_reply(500, "no", type="server_error"),
        sse(PROGRESS, {"error": {"message": "no", "type": "server_error"}}),
        sse(PROGRESS),
    ],
)
async def test_an_unfinished_reading_is_an_error(server, client, reply):
    server.on("GET /v1/models", llama_models())
    server.on(CHAT, reply)
    with pytest.raises(LMChatError):
        await read(client.read_ahead(request_to(server)))


async def test_a_host_that_is_not_allowed_gets_nothing(client):
    elsewhere = request_to(Endpoint.parse("http://workstation.lan:9931"))
    with pytest.raises(LMChatError) as raised:
        await read(client.read_ahead(elsewhere))
    assert raised.value.kind == "not_allowed"
