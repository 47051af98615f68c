"""As many requests at once as a server has slots; further ones wait in order and say so."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, aclosing

import pytest

from lmchat.domain.event import RequestQueued, RequestSent, TextDelta
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint
from lmchat.slots import Slots
from tests.support.proxy_calls import ask, endpoint_of, events_of, text_of
from tests.support.scripted_products import CHAT, LLAMA, chat_reply, llama_cpp, lm_studio, router
from tests.support.scripted_server import DONE, Gate, Hold, delta, finish, json_reply, sse

pytestmark = [pytest.mark.rule("R-25"), pytest.mark.timeout(120)]


def request_to(server, text="Hi", **more):
    more.setdefault("model", "tiny.gguf")
    more.setdefault("product", Product.LLAMA_CPP)
    return ask(server, text, **more)


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


async def told_of_both(client, server) -> list[tuple[str, object]]:
    """Ask for two long answers at once; return the events of both as they arrive, with a name."""
    endpoint = Endpoint.parse(server.url)
    await client.check(endpoint)
    told: list[tuple[str, object]] = []

    async def listen(name):
        request = request_to(
            endpoint, f"Tell me about {name}.", model=server.models[0], max_tokens=60
        )
        events, error = await events_of(client, request, on_event=lambda e: told.append((name, e)))
        assert error is None
        assert text_of(events)

    await asyncio.gather(listen("Norway"), listen("Peru"))
    return told


def places(told, name, kind) -> list[int]:
    return [
        place for place, (of, event) in enumerate(told) if of == name and isinstance(event, kind)
    ]


async def test_a_real_server_with_two_slots_writes_two_answers_at_once(client, start_real_server):
    told = await told_of_both(client, start_real_server(slots=2))
    assert not [event for _, event in told if isinstance(event, RequestQueued)]
    assert places(told, "Peru", TextDelta)[0] < places(told, "Norway", TextDelta)[-1]
    assert places(told, "Norway", TextDelta)[0] < places(told, "Peru", TextDelta)[-1]


async def test_after_a_check_that_finds_another_number_this_many_run(server, client):
    with_slots(llama_cpp(server), 1).on(CHAT, sse(delta("one"), Hold()))
    endpoint, request = endpoint_of(server), request_to(server)
    await client.check(endpoint)
    assert [type(e) for e in await first_events(client, request, request)] == [
        RequestSent,
        RequestQueued,
    ]
    with_slots(server, 2)
    await client.check(endpoint)
    events = await first_events(client, request, request, request)
    assert [type(event) for event in events] == [RequestSent, RequestSent, RequestQueued]


async def test_a_server_that_was_not_checked_gets_one_request_at_a_time(server, client):
    with_slots(llama_cpp(server), 4).on(CHAT, sse(delta("one"), Hold()))
    events = await first_events(client, request_to(server), request_to(server))
    assert [type(event) for event in events] == [RequestSent, RequestQueued]


async def test_models_behind_a_router_have_slots_of_their_own(server, client):
    router(server, small="loaded", large="loaded").on(CHAT, sse(delta("one"), Hold()))
    await client.check(endpoint_of(server))
    requests = [request_to(server, model=name) for name in ("small", "large", "small")]
    events = await first_events(client, *requests)
    assert [type(event) for event in events] == [RequestSent, RequestSent, RequestQueued]


async def test_lm_studio_gets_four_requests_at_once(server, client):
    lm_studio(server).on(CHAT, sse(delta("one"), Hold()))
    request = request_to(server, model="qwen3-8b", product=Product.LM_STUDIO)
    await client.check(endpoint_of(server))
    events = await first_events(client, *[request] * 5)
    assert [type(event) for event in events] == [RequestSent] * 4 + [RequestQueued]


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
    assert (client.metrics().stopped_requests, client.metrics().total_requests) == (0, 2)


async def test_a_slot_given_to_a_request_that_is_stopped_in_the_same_moment_is_not_lost():
    slots = Slots()
    order = []

    async def use(name):
        async with slots.one_slot(lambda: 1):
            order.append(name)

    async with slots.one_slot(lambda: 1):
        second, third = asyncio.create_task(use("second")), asyncio.create_task(use("third"))
        await asyncio.sleep(0)
    second.cancel()  # it has the slot now, and has not run since
    await third
    assert order == ["third"]
    assert not slots.is_in_use


async def test_a_request_that_needs_all_slots_is_not_overtaken():
    slots = Slots()
    order = []
    ends = {name: asyncio.Event() for name in ("a", "b", "all", "c")}

    async def use(name, count):
        async with slots.one_slot(lambda: count):
            order.append(name)
            await ends[name].wait()

    tasks = []
    for name, count in (("a", 2), ("b", 2), ("all", 1), ("c", 2)):
        tasks.append(asyncio.create_task(use(name, count)))
        await asyncio.sleep(0)
    assert order == ["a", "b"]
    ends["a"].set()
    await tasks[0]
    assert order == ["a", "b"]
    for end in ends.values():
        end.set()
    await asyncio.gather(*tasks)
    assert order == ["a", "b", "all", "c"]
