from __future__ import annotations

from contextlib import aclosing

import pytest

from lmchat.config.settings import TimeoutSettings
from lmchat.servers import sender
from lmchat.servers.events import ModelLoading, RetryScheduled
from tests.support.client_calls import ask, events_of, replay, text_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import error_reply

LOADS = error_reply(503, "Loading model", type="unavailable_error")


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(sender, "LOADING_PAUSE_S", 0.01)


async def test_a_model_that_loads_is_waited_for_without_counting_attempts(quick, server, client):
    server.on(CHAT, replay("loading-chat"), LOADS, LOADS, LOADS, chat_reply())
    events, error = await events_of(client, ask(server, product="llama.cpp"))
    assert (error, text_of(events), len(server.seen(CHAT))) == (None, "Hello there.", 5)
    assert ModelLoading() in events
    assert not [one for one in events if isinstance(one, RetryScheduled)]
    assert client.metrics().retries == 0


async def test_the_time_that_was_set_for_the_first_token_holds_for_loading_too(
    quick, server, make_client
):
    client = make_client(timeouts=TimeoutSettings(first_token_s=0.1))
    server.on(CHAT, LOADS)
    events, error = await events_of(client, ask(server, product="llama.cpp"))
    assert (error.kind, "within 0.1 s" in error.message) == ("timeout", True)
    assert not [one for one in events if isinstance(one, RetryScheduled)]


async def test_waiting_for_a_model_can_be_stopped(server, client):
    server.on(CHAT, LOADS)
    async with aclosing(client.stream(ask(server, product="llama.cpp"))) as stream:
        async for event in stream:
            if event == ModelLoading():
                break
    assert client.metrics().stopped_requests == 1
