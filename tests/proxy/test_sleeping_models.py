"""Servers that take a model out of memory while it is not used, and models that cannot chat."""

from __future__ import annotations

from lmchat.domain.event import ModelLoading, RequestSent
from lmchat.domain.product import Product
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import LoadState, Verdict
from lmchat.domain.target_choice import choose_model
from lmchat.proxy import client as client_module
from tests.support.proxy_calls import ask, endpoint_of, events_of, text_of
from tests.support.scripted_products import LLAMA, llama_cpp
from tests.support.scripted_server import json_reply

WAKING = ModelLoading(is_asleep=True)
HARMLESS = {"/v1/models", "/props", "/health", "/v1/streams/lookup"}
"""Paths that wake nobody; all others of llama.cpp may."""


def doze(server, *, is_sleeping: bool):
    """Let a scripted llama.cpp tell whether its model is asleep."""
    props = {"is_sleeping": is_sleeping, "chat_template_caps": {"supports_tools": True}}
    return server.on("GET /props", json_reply(props, headers=LLAMA))


async def state_of(client, endpoint) -> LoadState:
    (model,) = (await client.check(endpoint)).models
    return model.state


def request_to(server, **more):
    return ask(server, product=Product.LLAMA_CPP, model="tiny.gguf", **more)


async def test_a_model_is_asleep_from_the_look_on_that_says_so(server, client):
    doze(llama_cpp(server), is_sleeping=False)
    endpoint = endpoint_of(server)
    assert await state_of(client, endpoint) is LoadState.LOADED
    doze(server, is_sleeping=True)
    candidate = await client.check(endpoint)
    assert (candidate.verdict, candidate.models[0].state) == (Verdict.READY, LoadState.ASLEEP)
    assert candidate.models[0].capabilities == ("tools",), "what was known of it is kept"
    doze(server, is_sleeping=False)
    assert await state_of(client, endpoint) is LoadState.LOADED


async def test_nothing_that_may_wake_it_is_asked_for_a_look_or_a_list_or_a_count(server, client):
    doze(llama_cpp(server), is_sleeping=True)
    endpoint = endpoint_of(server)
    for _ in range(2):
        await client.check(endpoint)
        await client.models(endpoint, is_refresh=True)
    assert await client.count_tokens(request_to(server)) is None
    assert {one.path for one in server.seen()} <= HARMLESS


async def test_the_answer_of_a_sleeping_model_says_that_it_is_loaded_first(server, client):
    doze(llama_cpp(server), is_sleeping=True)
    await client.check(endpoint_of(server))
    first, _ = await events_of(client, request_to(server))
    second, _ = await events_of(client, request_to(server))
    assert first[:2] == [RequestSent(), WAKING]
    assert text_of(first) == "Hello there."
    assert not [event for event in second if isinstance(event, ModelLoading)]


async def test_a_model_that_fell_asleep_unseen_is_noticed_with_the_next_prompt(
    server, client, monkeypatch
):
    monkeypatch.setattr(client_module, "SLEEP_CHECK_S", -1.0)
    doze(llama_cpp(server), is_sleeping=False)
    await client.check(endpoint_of(server))
    doze(server, is_sleeping=True)
    events, error = await events_of(client, request_to(server))
    assert (error, events[:2]) == (None, [RequestSent(), WAKING])


def decide(server, *, name: str = "judge", beside: str = ""):
    """Let a scripted llama.cpp list a decision model, and perhaps one that can chat behind it."""
    kinds = {name: ["decisions"], **({beside: ["text"]} if beside else {})}
    rows = [
        {
            "id": model,
            "object": "model",
            "owned_by": "llamacpp",
            "status": {"value": "loaded"},
            "architecture": {"input_modalities": ["text"], "output_modalities": outputs},
        }
        for model, outputs in kinds.items()
    ]
    return server.on("GET /v1/models", json_reply({"object": "list", "data": rows}, headers=LLAMA))


async def test_a_decision_model_is_known_as_one_and_never_chosen_to_chat(server, client):
    decide(llama_cpp(server), beside="talker")
    candidate = await client.check(endpoint_of(server))
    judge, talker = candidate.models
    assert (judge.only_for, talker.only_for) == ("decisions", "")
    chosen = choose_model(candidate, model="", remembered=Remembered())
    assert chosen is not None
    assert chosen.model_id == "talker"
    assert choose_model(candidate, model="judge", remembered=Remembered()) is None
