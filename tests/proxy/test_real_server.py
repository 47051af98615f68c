"""The layer against a real llama.cpp server."""

from __future__ import annotations

import time
from contextlib import aclosing

import pytest

from lmchat.domain.event import ModelLoading, ModelNamed, PromptProgress
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, LoadState
from tests.support.proxy_calls import ask, events_of

pytestmark = pytest.mark.timeout(
    120
)  # reading a long prompt takes its time where others compute too
LONG = "\n".join(
    f"Note {number}: the quick brown fox jumps over the lazy dog." for number in range(60)
)


def request_to(server, text="Say hi.", **more):
    more.setdefault("model", server.models[0])
    return ask(Endpoint.parse(server.url), text, product=Product.LLAMA_CPP, **more)


@pytest.mark.rule("R-14")
async def test_a_long_prompt_is_told_in_steps_between_which_a_stop_is_heard(client, real_server):
    """The server listens only between two batches: their size is the time that a stop can take."""
    events, _ = await events_of(
        client, request_to(real_server, f"{time.time()} {LONG}", max_tokens=2)
    )
    progress = [one for one in events if isinstance(one, PromptProgress)]
    assert progress[-1].total_tokens > 800
    assert len({one.fraction for one in progress}) >= progress[-1].total_tokens // 256


def named_models(events) -> list[str]:
    """Return the names of the models that answer, as the server said them."""
    return [event.model for event in events if isinstance(event, ModelNamed)]


@pytest.mark.router
async def test_the_router_loads_switches_and_unloads(client, real_router):
    endpoint = Endpoint.parse(real_router.url)
    models = {one.model_id: one for one in (await client.models(endpoint)).models}
    assert set(models) == set(real_router.models)
    assert [(one.slots, one.has_own_slots) for one in models.values()] == [(1, True)] * 2
    for name in real_router.models:
        events, error = await events_of(client, request_to(real_router, model=name, max_tokens=4))
        assert (error, named_models(events)) == (None, [name])
    await client.unload(models[real_router.models[1]])
    after = {
        one.model_id: one.state for one in (await client.models(endpoint, is_refresh=True)).models
    }
    assert after[real_router.models[1]] is LoadState.NOT_LOADED
    await client.load(models[real_router.models[1]])
    after = {
        one.model_id: one.state for one in (await client.models(endpoint, is_refresh=True)).models
    }
    assert after[real_router.models[1]] is LoadState.LOADED
    _, error = await events_of(client, request_to(real_router, model="no-such-model"))
    assert (error.kind, "no-such-model" in error.message) == ("model_missing", True)


@pytest.mark.rule("R-28")
@pytest.mark.router
async def test_a_stop_while_the_router_loads_leaves_it_ready_for_the_next_one(client, real_router):
    first, second = real_router.models
    _, error = await events_of(client, request_to(real_router, model=first, max_tokens=4))
    assert error is None
    await client.models(Endpoint.parse(real_router.url), is_refresh=True)
    async with aclosing(
        client.stream(request_to(real_router, model=second, max_tokens=2000))
    ) as stream:
        async for event in stream:
            if isinstance(event, ModelLoading):
                break
    for model in (first, second):
        events, error = await events_of(client, request_to(real_router, model=model, max_tokens=4))
        assert (error, named_models(events)) == (None, [model])
