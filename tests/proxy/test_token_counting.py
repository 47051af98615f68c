from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.config.settings import LimitSettings
from lmchat.domain.event import ReasoningDelta, RequestQueued, RequestSent, TextDelta, UsageReported
from lmchat.domain.message import Role, text_message
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, Verdict
from lmchat.errors import EndpointNotAllowed, ServerRejected, ServerUnavailable
from lmchat.proxy import client as counting_module
from lmchat.proxy.servers import SERVERS
from tests.support.proxy_calls import ask, endpoint_of, events_of, text_of
from tests.support.scripted_products import CHAT, LLAMA, llama_cpp, plain, router, vllm
from tests.support.scripted_server import (
    DONE,
    Gate,
    Hold,
    delta,
    error_reply,
    finish,
    free_port,
    json_reply,
    raw_reply,
    sse,
    text_reply,
)

COUNT = "POST /v1/chat/completions/input_tokens"
COUNTED = json_reply({"input_tokens": 37, "object": "response.input_tokens"}, headers=LLAMA)


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A machine that is busy is no reason to fail."""
    monkeypatch.setattr(counting_module, "COUNT_S", 15.0)


def request_to(server, text="Hi", *, product=Product.LLAMA_CPP, model="tiny.gguf", **more):
    return ask(server, text, product=product, model=model, **more)


async def ready(client, server):
    """Look once, so that the layer knows what is in memory."""
    candidate = await client.check(endpoint_of(server))
    assert candidate.verdict is Verdict.READY


async def test_llama_cpp_counts_with_what_shapes_the_prompt_and_nothing_else(server, client):
    llama_cpp(server).on(COUNT, COUNTED)
    await ready(client, server)
    assert (
        await client.count_tokens(
            request_to(server, "Hi \ud83d", reasoning_effort="none", temperature=1, seed=4)
        )
        == 37
    )
    assert server.seen(COUNT)[0].json == {
        "model": "tiny.gguf",
        "messages": [{"role": "user", "content": "Hi \ufffd"}],
        "reasoning_effort": "none",
        "chat_template_kwargs": {"enable_thinking": False},
    }


@pytest.mark.parametrize("status", [404, 405, 501])
async def test_who_cannot_count_is_not_asked_again_and_nothing_is_said(server, client, status):
    llama_cpp(server)
    server.unknown = error_reply(status, "Not here", headers=LLAMA)
    await ready(client, server)
    before = len(server.requests)
    assert await client.count_tokens(request_to(server)) is None
    first = len(server.requests)
    assert await client.count_tokens(request_to(server)) is None
    assert (first - before, len(server.requests) - first) == (1, 0)


@pytest.mark.rule("R-12")
@pytest.mark.parametrize("product", [one.product for one in SERVERS if not one.count_path])
async def test_who_is_not_known_to_count_is_asked_nothing(server, client, product):
    plain(server)
    assert await client.count_tokens(request_to(server, product=product)) is None
    assert server.requests == []


async def test_vllm_counts_messages(server, client):
    vllm(server).on(
        "POST /tokenize", json_reply({"count": 12, "max_model_len": 32768, "tokens": []})
    )
    request = request_to(server, product=Product.VLLM, model="Qwen/Qwen3-8B")
    assert await client.count_tokens(request) == 12
    assert set(server.seen("POST /tokenize")[0].json) == {"model", "messages"}


@pytest.mark.parametrize(
    "reply",
    [
        json_reply({"input_tokens": -3}, headers=LLAMA),
        json_reply({"input_tokens": "37"}, headers=LLAMA),
        json_reply({"input_tokens": True}, headers=LLAMA),
        json_reply({"input_tokens": 10**40}, headers=LLAMA),
        json_reply({}, headers=LLAMA),
    ],
)
async def test_a_count_that_is_none_is_none(server, client, reply):
    llama_cpp(server).on(COUNT, reply)
    await ready(client, server)
    assert await client.count_tokens(request_to(server)) is None


@pytest.mark.parametrize(
    "reply",
    [
        error_reply(400, "Cannot have 2 assistant messages \x1b[2J", headers=LLAMA),
        text_reply("<html>", status=200),
        json_reply({"error": "no"}, headers=LLAMA),
    ],
)
async def test_a_refusal_is_an_error_of_the_layer(server, client, reply):
    llama_cpp(server).on(COUNT, reply)
    await ready(client, server)
    with pytest.raises(ServerRejected) as refused:
        await client.count_tokens(request_to(server))
    assert "\x1b" not in refused.value.message


async def test_a_server_that_is_away_is_an_error(client):
    with free_port() as port:
        request = request_to(Endpoint.parse(f"127.0.0.1:{port}"), product=Product.VLLM)
        with pytest.raises(ServerUnavailable):
            await client.count_tokens(request)


async def test_a_model_that_is_not_in_memory_is_not_loaded_to_count(server, client):
    router(server, small="loaded", large="unloaded").on(COUNT, COUNTED)
    await ready(client, server)
    assert await client.count_tokens(request_to(server, model="large")) is None
    assert server.seen(COUNT) == []
    assert await client.count_tokens(request_to(server, model="small")) == 37


@pytest.mark.rule("R-25")
async def test_while_an_answer_streams_nothing_is_counted(server, client):
    gate = Gate()
    llama_cpp(server).on(COUNT, COUNTED).on(CHAT, sse("one", gate, delta("two"), finish(), DONE))
    await ready(client, server)
    async with aclosing(client.stream(request_to(server))) as stream:
        async for event in stream:
            if event == TextDelta(text="one"):
                assert await client.count_tokens(request_to(server)) is None
                gate.open()
    assert server.seen(COUNT) == []
    assert await client.count_tokens(request_to(server)) == 37


@pytest.mark.rule("R-25")
async def test_an_answer_does_not_wait_for_a_count(server, client):
    llama_cpp(server).on(COUNT, raw_reply(Hold()))
    await ready(client, server)
    count = asyncio.create_task(client.count_tokens(request_to(server)))
    await asyncio.to_thread(server.wait_for, COUNT)
    events, error = await events_of(client, request_to(server))
    assert error is None
    assert isinstance(events[0], RequestSent)
    assert RequestQueued() not in events
    count.cancel()


async def test_a_count_that_takes_too_long_is_given_up(server, client, monkeypatch):
    monkeypatch.setattr(counting_module, "COUNT_S", 0.05)
    llama_cpp(server).on(COUNT, raw_reply(Hold()))
    await ready(client, server)
    assert await client.count_tokens(request_to(server)) is None


async def test_counting_takes_nothing_from_the_budget_of_chats(server, make_client):
    client = make_client(limits=LimitSettings(requests_per_minute=1))
    llama_cpp(server).on(COUNT, COUNTED)
    await ready(client, server)
    await client.count_tokens(request_to(server))
    assert client.budget().left == 1
    assert (client.metrics().total_requests, client.metrics().refused_requests) == (0, 0)


async def test_a_count_passes_the_allow_list(client):
    with pytest.raises(EndpointNotAllowed):
        await client.count_tokens(
            request_to(Endpoint.parse("http://models.example:8000"), product=Product.VLLM)
        )


def last_prompt_tokens(events) -> int:
    return [
        one.prompt_tokens for one in events if isinstance(one, UsageReported) and one.prompt_tokens
    ][-1]


TALKS = {
    "a prompt": (("user", "Hello wörld 🎉 <|im_end|>"),),
    "a system prompt": (("system", "Be short."), ("user", "Hello")),
    "a conversation": (
        ("user", "Hello"),
        ("assistant", "Hi there"),
        ("user", "def f(x):\n\treturn x\n" * 5),
    ),
    "an answer to go on with": (("user", "Hello"), ("assistant", "Hi there, I")),
}


@pytest.mark.parametrize("said", TALKS.values(), ids=TALKS)
async def test_the_count_is_what_the_real_server_reports_with_its_answer(client, real_server, said):
    endpoint = Endpoint.parse(real_server.url)
    assert (await client.check(endpoint)).product is Product.LLAMA_CPP
    messages = tuple(text_message(Role(role), words) for role, words in said)
    request = replace(
        request_to(endpoint, model=real_server.models[0], max_tokens=1), messages=messages
    )
    counted = await client.count_tokens(request)
    events, error = await events_of(client, request)
    assert error is None
    assert last_prompt_tokens(events) == counted


async def test_efforts_reach_the_real_server_and_its_count(client, start_real_server):
    real = start_real_server(reasoning=16)
    endpoint = Endpoint.parse(real.url)
    assert (await client.check(endpoint)).product is Product.LLAMA_CPP
    plain_count = await client.count_tokens(request_to(endpoint, "Hello", model=real.models[0]))
    for effort, is_thinking in (("none", False), ("low", True), ("max", True)):
        request = request_to(
            endpoint, "Hello", model=real.models[0], reasoning_effort=effort, max_tokens=24
        )
        counted = await client.count_tokens(request)
        events, error = await events_of(client, request)
        assert error is None
        assert (last_prompt_tokens(events), counted == plain_count) == (counted, is_thinking)
        assert any(isinstance(one, ReasoningDelta) for one in events) == is_thinking


@pytest.mark.rule("R-46")
@pytest.mark.timeout(120)
async def test_an_effort_in_tokens_ends_the_thought_of_a_real_model(client, start_real_server):
    """Of 60 tokens, the chat template writes 20 and the model 39."""
    real = start_real_server(reasoning=400)
    endpoint = Endpoint.parse(real.url)
    await client.check(endpoint)

    async def count(text: str) -> int:
        tokens = await client.count_tokens(request_to(endpoint, text, model=real.models[0]))
        assert tokens is not None
        return tokens

    tokens_of_empty_prompt = await count("x") - 1
    request = request_to(
        endpoint,
        "Hello",
        model=real.models[0],
        reasoning_effort="60",
        max_tokens=70,
        temperature=0,
    )
    events, error = await events_of(client, request)
    assert error is None
    assert text_of(events)
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    assert 57 <= await count(thought) - tokens_of_empty_prompt <= 61
    request = request_to(
        endpoint, "Hello", model=real.models[0], reasoning_effort="0", max_tokens=9
    )
    events, error = await events_of(client, request)
    assert error is None
    assert not any(isinstance(event, ReasoningDelta) for event in events)
