"""As many requests at once as a server has slots; further ones wait in order and say so."""

from __future__ import annotations

from contextlib import AsyncExitStack, aclosing

import pytest

from lmchat.core.servers.events import RequestQueued, RequestSent
from tests.support.client_calls import ask, endpoint_of, events_of, text_of
from tests.support.scripted_products import CHAT, LLAMA, chat_reply, llama_cpp, lm_studio, router
from tests.support.scripted_server import DONE, Gate, Hold, delta, finish, json_reply, sse

pytestmark = [pytest.mark.rule("R-25"), pytest.mark.timeout(120)]


def request_to(server, text="Hi", **more):
    return ask(server, text, **{"model": "tiny.gguf", "product": "llama.cpp"} | more)


def with_slots(server, count):
    """Let a scripted llama.cpp say how many slots it has."""
    props = {"total_slots": count, "is_sleeping": False}
    return server.on("GET /props", json_reply(props, headers=LLAMA))


async def first_events(client, *requests) -> list:
    """Return the first event of each request; all run until this function returns."""
    async with AsyncExitStack() as stack:
        events = []
        for request in requests:
            stream = await stack.enter_async_context(aclosing(client.stream(request)))
            events.append(await anext(stream))
        return events


async def test_a_server_gets_as_many_requests_as_it_has_slots_and_one_before_it_was_checked(
    server, make_client
):
    async def sent(client, request, count):
        events = await first_events(client, *[request] * count)
        waiting = [type(event) for event in events].count(RequestQueued)
        assert [type(event) for event in events][count - waiting :] == [RequestQueued] * waiting
        return count - waiting

    client = make_client()
    hold = sse(delta("one"), Hold())
    request = request_to(with_slots(llama_cpp(server), 4).on(CHAT, hold))
    assert await sent(client, request, 2) == 1
    for slots in (1, 2):
        with_slots(server, slots)
        await client.models.check(endpoint_of(server))
        assert await sent(client, request, 3) == slots


async def test_the_first_request_to_a_model_that_is_not_in_memory_goes_alone(server, make_client):
    """LM Studio loads an instance for each of them."""
    lm_studio(server, loaded=[])
    request = request_to(server, model="qwen3-8b", product="LM Studio")
    client = make_client()
    await client.models.check(endpoint_of(server))
    server.on(CHAT, sse(delta("one"), Hold()))
    waiting = [type(event) for event in await first_events(client, *[request] * 6)]
    assert waiting == [RequestSent, *[RequestQueued] * 5]
    server.on(CHAT, chat_reply("one"))
    await events_of(client, request)  # it is in memory
    server.on(CHAT, sse(delta("one"), Hold()))
    events = [type(event) for event in await first_events(client, *[request] * 6)]
    assert events == [*[RequestSent] * 4, *[RequestQueued] * 2]


async def test_models_behind_a_router_have_slots_of_their_own(server, client):
    router(server, small="loaded", large="loaded").on(CHAT, sse(delta("one"), Hold()))
    await client.models.check(endpoint_of(server))
    requests = [request_to(server, model=name) for name in ("small", "large", "small")]
    events = await first_events(client, *requests)
    assert [type(event) for event in events] == [RequestSent, RequestSent, RequestQueued]


async def test_where_a_waiting_request_is_stopped_the_next_one_gets_the_slot(server, client):
    gate = Gate()
    server.on(CHAT, sse("one", gate, finish(), DONE), chat_reply("three"))
    first, second, third = (client.stream(ask(server)) for _ in range(3))
    assert isinstance(await anext(first), RequestSent)
    assert isinstance(await anext(second), RequestQueued)
    assert isinstance(await anext(third), RequestQueued)
    await second.aclose()
    gate.open()
    assert text_of([event async for event in first]) == "one"
    assert text_of([event async for event in third]) == "three"
    assert len(server.seen(CHAT)) == 2
    assert (client.counters.metrics.stopped_requests, client.counters.metrics.total_requests) == (
        0,
        2,
    )
