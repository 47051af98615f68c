from __future__ import annotations

import asyncio
import socket
from contextlib import aclosing, contextmanager

import pytest

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.event import LifeSign, RetryScheduled, StreamStalled, TextDelta
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint
from lmchat.proxy import timeouts as module
from lmchat.proxy.connections import RequestTrace
from lmchat.proxy.timeouts import PROBE_AFTER_S, PROBE_S, TICK_S, is_machine_alive
from tests.support.proxy_calls import ask, endpoint_of, events_of
from tests.support.scripted_products import CHAT, plain
from tests.support.scripted_server import (
    DONE,
    Gate,
    Hold,
    Pause,
    finish,
    free_port,
    json_reply,
    raw_reply,
    sse,
    text_reply,
)

HEALTH = "GET /health"
READY = json_reply({"status": "ok"})
HANGS = raw_reply(Hold())


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "PROBE_AFTER_S", 0.02)


@pytest.fixture
def connected(quick, monkeypatch):
    """Do not test connecting, which takes longer than a probe on a busy machine."""
    monkeypatch.setattr(
        RequestTrace, "is_connecting", property(lambda _: False, lambda _, __: None), raising=False
    )


@pytest.fixture
def hasty(quick, monkeypatch):
    """Where nothing ever answers a look: one that does would be taken for one that does not."""
    monkeypatch.setattr(module, "PROBE_S", 0.05)


@contextmanager
def full_listener():
    """Yield a port at which the system does not answer: its queue of connections is full."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listener.getsockname())
        try:
            yield listener.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


async def first_stall(client, request, *, seen_by=None) -> StreamStalled:
    async with aclosing(client.stream(request)) as stream:
        async for event in stream:
            if isinstance(event, StreamStalled):
                if seen_by is not None:
                    await asyncio.to_thread(seen_by.wait_for, CHAT)
                return event
    raise AssertionError("it ended before it was called stalled")


def test_a_dead_server_is_told_within_five_seconds():
    assert PROBE_AFTER_S + TICK_S + PROBE_S <= 5


@pytest.mark.parametrize("product", [Product.LLAMA_CPP, Product.BUILT_IN, Product.VLLM])
async def test_a_frozen_server_is_told_before_its_first_byte(hasty, server, client, product):
    server.on(CHAT, HANGS).on(HEALTH, HANGS)
    stalled = await first_stall(client, ask(server, product=product), seen_by=server)
    assert stalled.silent_s >= 0.02
    assert await asyncio.to_thread(server.seen(CHAT)[0].client_left.wait, 5)


async def test_a_server_that_freezes_in_the_middle_is_told_long_before_the_gap_is_too_long(
    hasty, server, client
):
    server.on(CHAT, sse("some text", Hold())).on(HEALTH, HANGS)
    has_text = False
    async with aclosing(client.stream(ask(server, product=Product.LLAMA_CPP))) as stream:
        async for event in stream:
            has_text = has_text or isinstance(event, TextDelta)
            if has_text and isinstance(event, StreamStalled):
                break
    assert event.silent_s < TimeoutSettings().stalled_after_s


@pytest.mark.parametrize(
    "health", [READY, json_reply({}, status=503), text_reply("no", status=404), raw_reply(b"\0")]
)
async def test_a_server_that_reads_a_long_prompt_and_answers_meanwhile_is_not_stalled(
    connected, server, client, health
):
    gate = Gate()
    server.on(CHAT, sse("late", finish(), DONE, before=[gate])).on(HEALTH, health)
    task = asyncio.create_task(events_of(client, ask(server, product=Product.LLAMA_CPP)))
    await asyncio.to_thread(server.wait_for, HEALTH, count=3)
    gate.open()
    events, error = await task
    assert error is None
    assert not [one for one in events if isinstance(one, StreamStalled)]


async def test_a_server_that_comes_back_to_life_is_told_too(connected, server, client, monkeypatch):
    monkeypatch.setattr(module, "PROBE_S", 0.3)
    gate = Gate()
    server.on(CHAT, sse("late", finish(), DONE, before=[gate])).on(HEALTH, HANGS, READY)
    events, error = await events_of(
        client,
        ask(server, product=Product.LLAMA_CPP),
        on_event=lambda event: gate.open() if isinstance(event, LifeSign) else None,
    )
    assert error is None
    kinds = [type(one) for one in events]
    assert kinds.index(StreamStalled) < kinds.index(LifeSign) < kinds.index(TextDelta)


async def test_a_server_that_stays_frozen_is_given_up_and_not_tried_again(
    hasty, server, make_client
):
    client = make_client(timeouts=TimeoutSettings(give_up_after_s=0.2))
    server.on(CHAT, HANGS).on(HEALTH, HANGS)
    events, error = await events_of(client, ask(server, product=Product.LLAMA_CPP))
    assert (error.kind, "has not answered for 0.2 s" in error.message) == ("timeout", True)
    assert not [one for one in events if isinstance(one, RetryScheduled)]
    assert len(server.seen(CHAT)) == 1


@pytest.mark.rule("R-29")
@pytest.mark.parametrize(
    "product",
    [Product.LM_STUDIO, Product.JAN, Product.OLLAMA, Product.SGLANG, Product.OPENAI_COMPATIBLE],
)
async def test_who_may_not_be_asked_while_it_works_is_asked_nothing(
    connected, server, client, product
):
    server.on(CHAT, sse("late", finish(), DONE, before=[Pause(0.3)]))
    events, error = await events_of(client, ask(server, product=product))
    assert (error, len(server.requests), server.connections) == (None, 1, 1)
    assert not [one for one in events if isinstance(one, StreamStalled)]


async def test_a_machine_that_does_not_take_the_connection_is_told_before_the_system_gives_up(
    hasty, make_client
):
    client = make_client(timeouts=TimeoutSettings(connect_s=60))
    with full_listener() as port:
        stalled = await first_stall(client, ask(Endpoint.parse(f"127.0.0.1:{port}")))
    assert stalled.silent_s < 60


async def test_a_knock_tells_a_machine_that_answers_from_one_that_does_not(server):
    assert await is_machine_alive(endpoint_of(server))
    with free_port() as port:
        assert await is_machine_alive(Endpoint.parse(f"127.0.0.1:{port}")), "who refuses is there"
    with full_listener() as port, pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await is_machine_alive(Endpoint.parse(f"127.0.0.1:{port}"))


@pytest.mark.parametrize(
    ("address", "directly", "by_proxy"),
    [
        ("192.168.1.2:1", True, True),
        ("workstation:1", True, False),
        ("api.example.com", False, False),
    ],
)
def test_only_a_machine_that_can_be_reached_directly_is_knocked_at(
    monkeypatch, address, directly, by_proxy
):
    for proxies, can in (({}, directly), ({"http": "http://proxy:1"}, by_proxy)):
        monkeypatch.setattr(module, "getproxies", lambda proxies=proxies: proxies)
        assert module.can_check_alive(Endpoint.parse(address)) is can


async def test_a_machine_of_the_own_network_that_does_not_answer_is_told(
    connected, server, client, monkeypatch
):
    knocks = []

    async def never(endpoint: Endpoint) -> bool:
        knocks.append(endpoint)
        return False

    monkeypatch.setattr(Endpoint, "is_loopback", property(lambda _: False))
    monkeypatch.setattr("lmchat.proxy.life_signs.is_machine_alive", never)
    client.allow("127.0.0.1")
    server.on(CHAT, HANGS)
    await first_stall(client, ask(server, product=Product.LM_STUDIO))
    assert knocks


async def test_a_silence_that_nobody_hears_leaves_no_task_behind(quick, server, client):
    plain(server)
    await events_of(client, ask(server))
    assert [one for one in asyncio.all_tasks() if one.get_name() == "liveness"] == []
