from __future__ import annotations

import asyncio

import pytest

from lmchat.config.settings import TimeoutSettings
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import RetryScheduled, StreamStalled
from lmchat.servers.http.connections import RequestTrace
from lmchat.servers.stream import timeouts as module
from tests.support.proxy_calls import answered, ask, endpoint_of, events_of
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    Gate,
    Hold,
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


async def test_a_frozen_server_is_told_given_up_and_not_tried_again(hasty, server, make_client):
    server.on(CHAT, HANGS).on(HEALTH, HANGS)
    for number, product in enumerate(("llama.cpp", "vLLM")):
        client = make_client(timeouts=TimeoutSettings(give_up_after_s=0.2))
        events, error = await events_of(client, ask(server, product=product))
        stalled = [one for one in events if isinstance(one, StreamStalled)]
        assert stalled[0].silent_s >= 0.02
        assert (error.kind, "has not answered for 0.2 s" in error.message) == ("timeout", True)
        assert not [one for one in events if isinstance(one, RetryScheduled)]
        requests = server.seen(CHAT)
        assert len(requests) == number + 1
        assert await asyncio.to_thread(requests[-1].client_left.wait, 5)


async def test_a_server_that_reads_a_long_prompt_and_answers_meanwhile_is_not_stalled(
    connected, server, make_client
):
    for health in (
        READY,
        json_reply({}, status=503),
        text_reply("no", status=404),
        raw_reply(b"\0"),
    ):
        server.requests.clear()
        client = make_client()
        gate = Gate()
        server.on(CHAT, sse("late", finish(), DONE, before=[gate])).on(HEALTH, health)
        task = asyncio.create_task(answered(client, ask(server, product="llama.cpp")))
        await asyncio.to_thread(server.wait_for, HEALTH, count=3)
        gate.open()
        events = await task
        assert not [one for one in events if isinstance(one, StreamStalled)]


async def test_a_knock_finds_a_machine_that_answers_and_one_that_refuses(server):
    assert await module.is_machine_alive(endpoint_of(server))
    with free_port() as port:
        assert await module.is_machine_alive(Endpoint.parse(f"127.0.0.1:{port}"))
