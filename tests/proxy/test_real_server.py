"""What only a real server can show."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import httpx
import pytest
from msgspec.structs import replace

from lmchat.domain.event import (
    ModelLoading,
    ModelNamed,
    PromptProgress,
    ReasoningDelta,
    RequestAdapted,
    UsageReported,
)
from lmchat.domain.message import ReasoningPart, Role, TextPart, text_message
from lmchat.domain.product import Product
from lmchat.domain.request import FittingValue, Sampling
from lmchat.domain.sampling import checked_option
from lmchat.domain.server import Endpoint, LoadState
from lmchat.proxy.model_cache import ModelCache
from lmchat.proxy.request_writer import RequestWriter
from tests.support.proxy_calls import answered, ask, failure_of, message_of, text_of

pytestmark = pytest.mark.timeout(
    120
)  # reading a long prompt takes its time where others compute too
LONG = "\n".join(
    f"Note {number}: the quick brown fox jumps over the lazy dog." for number in range(40)
)


def request_to(server, text="Say hi.", **more):
    more.setdefault("model", server.models[0])
    return ask(Endpoint.parse(server.url), text, product=Product.LLAMA_CPP, **more)


async def count(client, request) -> int:
    tokens = await client.count_tokens(request)
    assert tokens is not None
    return tokens


async def test_a_long_prompt_is_told_in_steps_between_which_a_stop_is_heard_and_is_counted_exactly(
    client, real_server
):
    """The server listens only between two batches: their size is the time that a stop can take."""
    await client.check(Endpoint.parse(real_server.url))
    request = request_to(real_server, f"{time.time()} {LONG} wörld 🎉 <|im_end|>", max_tokens=2)
    request = replace(
        request, messages=(*request.messages, text_message(Role.ASSISTANT, "Hi there, I"))
    )
    counted = await count(client, request)
    events = await answered(client, request)
    progress = [one for one in events if isinstance(one, PromptProgress)]
    assert progress[-1].total_tokens > 550
    assert len({one.fraction for one in progress}) >= progress[-1].total_tokens // 256
    usage = [one.prompt_tokens for one in events if isinstance(one, UsageReported)]
    assert [*filter(None, usage)][-1] == counted


async def test_an_answer_fits_its_schema_and_one_that_the_server_cannot_use_is_sent_as_words(
    client, real_server
):
    # by chance, blanks may fill the whole answer
    request = request_to(real_server, temperature=0.0, max_tokens=30)
    schema = {
        "type": "object",
        "properties": {"age": {"type": "integer"}},
        "required": ["age"],
        "additionalProperties": False,
    }
    events = await answered(client, replace(request, output=FittingValue(schema=schema, name="p")))
    assert text_of(events).lstrip().startswith("{")
    assert '"age"' in text_of(events)
    odd = FittingValue(schema=schema | {"properties": {"age": {"type": "odd"}}}, name="p")
    events = await answered(client, replace(request, output=odd))
    (note,) = [event.note for event in events if isinstance(event, RequestAdapted)]
    assert note.endswith("lmchat now asks for JSON as a JSON object, the schema in words.")


_SHOWN = {
    "temperature": 0.5,
    "top_p": 0.75,
    "top_k": 7,
    "min_p": 0.25,
    "typical_p": 0.5,
    "max_tokens": 3,
    "seed": 11,
    "repeat_penalty": 1.25,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.25,
    "stop": ["###"],
    "dynatemp_range": 0.5,
    "dynatemp_exponent": 1.5,
    "top_n_sigma": 2.0,
    "xtc_probability": 0.5,
    "xtc_threshold": 0.25,
    "repeat_last_n": 32,
    "dry_multiplier": 0.5,
    "dry_base": 2.0,
    "dry_allowed_length": 3,
    "dry_penalty_last_n": 16,
    "dry_sequence_breakers": ["\n"],
    "mirostat": 1,
    "mirostat_tau": 4.0,
    "mirostat_eta": 0.25,
    "ignore_eos": True,
    "n_keep": 2,
    "n_discard": 3,
    "min_keep": 2,
    "samplers": ["top_k", "temperature"],
    "adaptive_target": 0.5,
    "adaptive_decay": 0.5,
    "n_probs": 2,
    "post_sampling_probs": True,
    "grammar": "root ::= [a-z]+",
}
"""Values that differ from the defaults, of the options that the server shows in its settings."""


def test_each_sampling_option_arrives_in_the_settings_of_the_server(real_server):
    options = {name: checked_option(name, value) for name, value in _SHOWN.items()}
    request = replace(request_to(real_server), sampling=Sampling().with_options(options))
    body = RequestWriter(ModelCache(600)).body(request)
    body |= {"stream": False, "verbose": True}
    del body["stream_options"]
    reply = httpx.post(f"{request.endpoint.base_url}/chat/completions", json=body, timeout=100)
    assert reply.status_code == 200, reply.text
    settings = reply.json()["__verbose"]["generation_settings"]
    for name, value in _SHOWN.items():
        shown = settings["n_predict" if name == "max_tokens" else name]
        if name in ("stop", "dry_sequence_breakers", "samplers"):
            assert set(value) <= set(shown), name
        else:
            assert shown == pytest.approx(value), name


async def test_an_effort_reaches_the_template_and_the_count_and_its_tokens_end_the_thought(
    client, start_real_server
):
    """Of 60 tokens, the chat template writes 20 and the model 39."""
    real = start_real_server(reasoning=400)
    (model,) = (await client.check(Endpoint.parse(real.url))).models
    assert model.keeps_thoughts
    without = await count(client, request_to(real, "Hello"))
    for effort in ("none", "0"):
        request = request_to(real, "Hello", reasoning_effort=effort, max_tokens=9)
        assert await count(client, request) != without
        events = await answered(client, request)
        assert not any(isinstance(event, ReasoningDelta) for event in events)
    request = request_to(real, "Hello", reasoning_effort="60", max_tokens=70, temperature=0)
    events = await answered(client, request)
    assert text_of(events)
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    tokens_of_empty_prompt = await count(client, request_to(real, "x")) - 1
    assert 57 <= await count(client, request_to(real, thought)) - tokens_of_empty_prompt <= 61
    counts = []
    for parts in ((), (ReasoningPart(text="Be kind. " * 20),)):
        answer = message_of(Role.ASSISTANT, *parts, TextPart(text="Hello!"))
        messages = (*request.messages, answer, text_message(Role.USER, "And now?"))
        counts.append(await count(client, replace(request, messages=messages)))
    assert counts[1] > counts[0] + 20, "the thoughts go back and are counted"


async def asleep(client, endpoint, name):
    """Look until a model sleeps, which the looks must not hinder; return it."""
    async with asyncio.timeout(60):
        while True:
            models = {one.model_id: one for one in (await client.check(endpoint)).models}
            if models[name].state is LoadState.ASLEEP:
                return models[name]
            await asyncio.sleep(0.2)


async def test_a_server_falls_asleep_while_it_is_looked_at_and_wakes_for_a_prompt(
    client, start_real_server
):
    server = start_real_server(sleep_s=1)
    endpoint, name = Endpoint.parse(server.url), server.models[0]
    await asleep(client, endpoint, name)
    (listed,) = (await client.models(endpoint, is_refresh=True)).models
    assert (listed.state, listed.context_loaded) == (LoadState.ASLEEP, 4096)
    request = request_to(server, max_tokens=4)
    assert await client.count_tokens(request) is None
    async with httpx.AsyncClient(trust_env=False) as http:
        props = (await http.get(f"{server.url}/props")).json()
    assert props["is_sleeping"], "a look woke it"
    events = await answered(client, request)
    assert text_of(events)
    assert ModelLoading(is_asleep=True) in events
    await client.load(await asleep(client, endpoint, name))
    (model,) = (await client.check(endpoint)).models
    assert model.state is LoadState.LOADED


@pytest.mark.router
async def test_the_router_loads_switches_unloads_and_takes_a_stop_while_it_loads(
    client, real_router
):
    endpoint = Endpoint.parse(real_router.url)
    models = {one.model_id: one for one in (await client.models(endpoint)).models}
    assert set(models) == set(real_router.models)
    assert [(one.slots, one.has_own_slots) for one in models.values()] == [(1, True)] * 2
    first, second = real_router.models

    async def answer_by(name):
        events = await answered(client, request_to(real_router, model=name, max_tokens=4))
        assert [one.model for one in events if isinstance(one, ModelNamed)] == [name]

    async def state_of(name):
        listed = (await client.models(endpoint, is_refresh=True)).models
        return {one.model_id: one.state for one in listed}[name]

    await answer_by(second)
    await client.unload(models[second])
    assert await state_of(second) is LoadState.NOT_LOADED
    await client.load(models[second])
    assert await state_of(second) is LoadState.LOADED
    await answer_by(first)
    await client.models(endpoint, is_refresh=True)
    long = request_to(real_router, model=second, max_tokens=2000)
    async with aclosing(client.stream(long)) as stream:
        async for event in stream:
            if isinstance(event, ModelLoading):
                break
    await answer_by(first)
    await answer_by(second)
    error = await failure_of(client, request_to(real_router, model="no-such-model"))
    assert (error.kind, "no-such-model" in error.message) == ("model_missing", True)
