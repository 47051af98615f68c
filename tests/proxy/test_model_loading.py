from __future__ import annotations

from contextlib import aclosing

import pytest

from lmchat.config.settings import TimeoutSettings
from lmchat.domain.event import ModelLoading, RequestSent, RetryScheduled, StreamStalled
from lmchat.domain.product import Product
from lmchat.errors import ServerUnavailable
from lmchat.proxy import timeouts as module
from lmchat.proxy.connections import Reply
from lmchat.proxy.life_signs import HEALTH_S
from lmchat.proxy.timeouts import POLL_S, REQUEST_PAUSE_S, Loading
from tests.support.proxy_calls import ask, events_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import Hold, error_reply, json_reply, raw_reply, text_reply

LOADS = error_reply(503, "Loading model", type="unavailable_error")
READY = json_reply({"status": "ok"})
HEALTH = "GET /health"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "POLL_S", 0.01)
    monkeypatch.setattr(module, "REQUEST_PAUSE_S", 0.05)


@pytest.mark.parametrize("health", [READY, text_reply("Not Found", status=404)])
async def test_a_server_that_says_for_ever_that_it_loads_is_asked_seldom_and_then_given_up(
    quick, server, make_client, health
):
    server.on(CHAT, LOADS).on(HEALTH, health)
    client = make_client(timeouts=TimeoutSettings(give_up_after_s=0.1))
    events, error = await events_of(client, ask(server, product=Product.LLAMA_CPP))
    assert error.kind == "loading"
    assert "has been loading the model" in error.message
    assert error.hint
    assert len(server.seen(CHAT)) <= 10
    assert not [one for one in events if isinstance(one, RetryScheduled)]


@pytest.mark.rule("R-29")
@pytest.mark.parametrize(
    "product", [Product.SGLANG, Product.JAN, Product.LM_STUDIO, Product.OLLAMA]
)
async def test_who_may_not_be_asked_for_its_health_is_sent_the_request_again(
    quick, server, client, product
):
    server.on(CHAT, LOADS, LOADS, chat_reply()).on(HEALTH, READY)
    events, error = await events_of(client, ask(server, product=product))
    assert (error, len(server.seen(CHAT)), len(server.seen())) == (None, 3, 3)
    sent = [number for number, one in enumerate(events) if isinstance(one, RequestSent)]
    assert [isinstance(events[number + 1], ModelLoading) for number in sent] == [True, True, True]


async def test_a_health_that_does_not_exist_is_asked_for_once(quick, server, client):
    server.on(CHAT, LOADS, LOADS, chat_reply()).on(HEALTH, text_reply("no", status=404))
    _, error = await events_of(client, ask(server, product=Product.LLAMA_CPP))
    assert (error, len(server.seen(HEALTH)), len(server.seen(CHAT))) == (None, 1, 3)


async def test_a_health_that_confirms_it_is_believed_for_longer_than_a_silent_stream(
    quick, server, make_client
):
    server.on(CHAT, LOADS, chat_reply()).on(HEALTH, *[LOADS] * 30, READY)
    client = make_client(timeouts=TimeoutSettings(give_up_after_s=0.05))
    _, error = await events_of(client, ask(server, product=Product.LLAMA_CPP))
    assert (error, len(server.seen(CHAT)), len(server.seen(HEALTH))) == (None, 2, 31)


async def test_a_look_without_an_answer_is_told_and_the_model_is_waited_for(
    quick, server, make_client
):
    client = make_client(timeouts=TimeoutSettings(health_s=0.3))
    server.on(CHAT, LOADS, chat_reply()).on(
        HEALTH, raw_reply(Hold()), LOADS, raw_reply(Hold()), READY
    )
    events, error = await events_of(client, ask(server, product=Product.LLAMA_CPP))
    assert error is None
    assert sum(isinstance(one, StreamStalled) for one in events) == 2


def test_a_server_that_freezes_while_it_loads_is_told_within_five_seconds():
    assert POLL_S + HEALTH_S < 5


async def test_the_time_that_was_set_for_the_first_token_holds_for_loading_too(
    quick, server, make_client
):
    client = make_client(timeouts=TimeoutSettings(first_token_s=0.1))
    server.on(CHAT, LOADS).on(HEALTH, LOADS)
    events, error = await events_of(client, ask(server, product=Product.LLAMA_CPP))
    assert (error.kind, "within 0.1 s" in error.message) == ("timeout", True)
    assert not [one for one in events if isinstance(one, RetryScheduled)]


async def test_waiting_for_a_model_can_be_stopped(server, client):
    server.on(CHAT, LOADS).on(HEALTH, LOADS)
    async with aclosing(client.stream(ask(server, product=Product.LLAMA_CPP))) as stream:
        async for event in stream:
            if event == ModelLoading():
                break
    assert client.metrics().stopped_requests == 1


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self, monkeypatch) -> None:
        self.now_s = 1000.0
        self.slept_s: list[float] = []
        monkeypatch.setattr(module.asyncio, "sleep", self.sleep)
        monkeypatch.setattr(module.asyncio, "get_running_loop", lambda: self)

    def time(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        self.now_s += seconds


async def test_a_model_that_loads_for_five_minutes_is_waited_for_whoever_tells_it(monkeypatch):
    clock = Clock(monkeypatch)

    async def look() -> Reply:
        return Reply(status=503 if clock.now_s < 1300 else 200, headers={}, body=b"", elapsed_ms=1)

    told = []
    await Loading(look, TimeoutSettings(), told.append).wait()
    assert 1300 <= clock.now_s <= 1300 + 2 * POLL_S
    assert set(clock.slept_s) == {POLL_S}
    by_request = Loading(None, TimeoutSettings(), told.append)
    clock.now_s, clock.slept_s = 1000.0, []
    while clock.now_s < 1300:
        await by_request.wait()
    assert clock.now_s <= 1300 + REQUEST_PAUSE_S
    assert set(clock.slept_s) == {REQUEST_PAUSE_S}
    assert set(told) == {ModelLoading()}


async def test_a_server_that_is_only_believed_is_believed_for_ten_minutes(monkeypatch):
    clock = Clock(monkeypatch)
    waiting = Loading(None, TimeoutSettings(), lambda _: None)

    async def wait_for_ever() -> None:
        while True:
            await waiting.wait()

    with pytest.raises(ServerUnavailable, match="for 10 minutes"):
        await wait_for_ever()
    assert 1600 <= clock.now_s <= 1600 + REQUEST_PAUSE_S
