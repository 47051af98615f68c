from __future__ import annotations

from contextlib import aclosing

import pytest

from lmchat.config.settings import TimeoutSettings
from lmchat.servers.events import ModelLoading, RetryScheduled
from lmchat.servers.stream import timeouts as module
from tests.support.proxy_calls import ask, events_of
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import error_reply, json_reply, text_reply

LOADS = error_reply(503, "Loading model", type="unavailable_error")
READY = json_reply({"status": "ok"})
HEALTH = "GET /health"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "REQUEST_PAUSE_S", 0.05)


async def test_a_server_that_says_for_ever_that_it_loads_is_asked_seldom_and_then_given_up(
    quick, server, make_client
):
    for health in (READY, text_reply("Not Found", status=404)):
        server.requests.clear()
        server.on(CHAT, LOADS).on(HEALTH, health)
        client = make_client(timeouts=TimeoutSettings(give_up_after_s=0.1))
        events, error = await events_of(client, ask(server, product="llama.cpp"))
        assert error.kind == "loading"
        assert "has been loading the model" in error.message
        assert error.hint
        assert len(server.seen(CHAT)) <= 10
        assert not [one for one in events if isinstance(one, RetryScheduled)]


async def test_the_time_that_was_set_for_the_first_token_holds_for_loading_too(
    quick, server, make_client
):
    client = make_client(timeouts=TimeoutSettings(first_token_s=0.1))
    server.on(CHAT, LOADS).on(HEALTH, LOADS)
    events, error = await events_of(client, ask(server, product="llama.cpp"))
    assert (error.kind, "within 0.1 s" in error.message) == ("timeout", True)
    assert not [one for one in events if isinstance(one, RetryScheduled)]


async def test_waiting_for_a_model_can_be_stopped(server, client):
    server.on(CHAT, LOADS).on(HEALTH, LOADS)
    async with aclosing(client.stream(ask(server, product="llama.cpp"))) as stream:
        async for event in stream:
            if event == ModelLoading():
                break
    assert client.metrics().stopped_requests == 1
