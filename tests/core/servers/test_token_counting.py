"""Requests beside answers: counts of a prompt, and prompts that a server reads ahead."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.base.errors import ServerUnavailable
from lmchat.base.metrics import Metrics
from lmchat.core.servers import client as counting_module
from lmchat.core.servers.products import PRODUCTS
from lmchat.core.sessions.message import Role, text_message
from tests.support.client_calls import ask, endpoint_of
from tests.support.scripted_backend import read
from tests.support.scripted_products import (
    CHAT,
    LLAMA,
    llama_cpp,
    llama_models,
    plain,
    router,
    vllm,
)
from tests.support.scripted_server import (
    DONE,
    Hold,
    delta,
    finish,
    json_reply,
    sse,
    usage,
)

COUNT = "POST /v1/chat/completions/input_tokens"
COUNTED = json_reply({"input_tokens": 37, "object": "response.input_tokens"}, headers=LLAMA)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A machine that is busy is no reason to fail."""
    monkeypatch.setattr(counting_module, "COUNT_S", 15.0)


def request_to(server, text="Hi", *, product="llama.cpp", model="tiny.gguf", **more):
    return ask(server, text, product=product, model=model, **more)


async def test_llama_cpp_counts_with_what_shapes_the_prompt_and_nothing_else(server, client):
    llama_cpp(server).on(COUNT, COUNTED)
    await client.models.check(endpoint_of(server))
    request = request_to(server, "Hi \ud83d", reasoning_effort="none", temperature=1, seed=4)
    assert await client.count_tokens(request) == 37
    assert server.seen(COUNT)[0].json == {
        "model": "tiny.gguf",
        "messages": [{"role": "user", "content": "Hi \ufffd"}],
        "reasoning_effort": "none",
        "chat_template_kwargs": {"enable_thinking": False},
    }
    assert client.rate_limit().left == client.rate_limit().limit
    assert client.counters.metrics == Metrics()


async def test_who_is_not_known_to_count_is_asked_nothing_and_vllm_counts_messages(server, client):
    plain(server)
    for product in (one.name for one in PRODUCTS if not one.acts.count_path):
        assert await client.count_tokens(request_to(server, product=product)) is None
    assert server.requests == []
    counted = json_reply({"count": 12, "max_model_len": 32768, "tokens": []})
    vllm(server).on("POST /tokenize", counted)
    request = request_to(server, product="vLLM", model="Qwen/Qwen3-8B")
    assert await client.count_tokens(request) == 12
    assert set(server.seen("POST /tokenize")[0].json) == {"model", "messages"}


async def test_a_model_that_is_not_in_memory_is_not_loaded_to_count(server, client):
    router(server, small="loaded", large="unloaded").on(COUNT, COUNTED)
    await client.models.check(endpoint_of(server))
    assert await client.count_tokens(request_to(server, model="large")) is None
    assert server.seen(COUNT) == []
    assert await client.count_tokens(request_to(server, model="small")) == 37


PROGRESS = {**delta(), "prompt_progress": {"total": 900, "cache": 100, "processed": 500}}


@pytest.mark.rule("R-41")
async def test_a_prompt_is_read_ahead_and_nothing_is_counted(server, client):
    server.on("GET /v1/models", llama_models())
    server.on(CHAT, sse(PROGRESS, "x", finish("length"), usage(), DONE))
    limits = {"max_tokens": 50, "more": {"extra.n_predict": 60}}
    request = request_to(server, model="tiny", temperature=0.5, **limits)
    request = replace(request, messages=(*request.messages, text_message(Role.USER, "")))
    assert [step.fraction for step in await read(client.read_ahead(request))] == [0.5]
    body = server.seen(CHAT)[0].json
    assert (body["max_tokens"], body["n_predict"]) == (0, 0)
    assert (body["temperature"], body["stream"], body["return_progress"]) == (0.5, True, True)
    assert client.counters.metrics == Metrics()
    assert client.rate_limit().left == client.rate_limit().limit
    server.on(CHAT, sse(PROGRESS, Hold()))
    async with aclosing(client.read_ahead(request)) as steps:
        await anext(steps)
    assert await asyncio.to_thread(server.seen(CHAT)[1].client_left.wait, 10), "a stop closes it"
    server.on(CHAT, sse(PROGRESS, "x"))
    with pytest.raises(ServerUnavailable, match="has not read the prompt to its end"):
        await read(client.read_ahead(request))
