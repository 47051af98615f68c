"""Stopping, as a real server's side of the connection sees it, in each stage of an answer."""

from __future__ import annotations

import asyncio

import pytest

from lmchat.domain.event import ModelLoading, PromptProgress, StreamFinished
from lmchat.domain.server import Product
from tests.support.cutting_proxy import STAGES, CuttingProxy, to
from tests.support.programs import until
from tests.support.proxy_calls import ask, events_of, replay
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import Hold, json_reply, raw_reply, sse


@pytest.fixture
def stop_at(make_client, real_server):
    """Stop in a stage; afterwards the server has to answer the next one."""
    client, model = make_client(), real_server.models[0]

    async def run(stage: str):
        with CuttingProxy(real_server.url) as proxy:
            stopped = await STAGES[stage](client, make_client(), proxy, model)
            events, error = await events_of(client, to(proxy.url, model, "Say hi.", max_tokens=4))
        assert (error, isinstance(events[-1], StreamFinished)) == (None, True)
        return stopped

    return run


@pytest.mark.rule("R-28")
@pytest.mark.timeout(120)
async def test_a_stop_while_another_is_answered_is_seen_before_the_server_says_a_word(stop_at):
    stopped = await stop_at("queued")
    assert bytes(stopped.exchange.arrived) == b""


@pytest.mark.rule("R-14", "R-28")
@pytest.mark.timeout(120)
async def test_a_stop_while_the_prompt_is_read_is_seen_before_the_answer_begins(stop_at):
    """The server itself hears of it only between two batches; the connection is closed at once."""
    stopped = await stop_at("reading")
    progress = [one.fraction for one in stopped.events if isinstance(one, PromptProgress)]
    assert max(progress) < 1
    assert b'"content":"' not in stopped.exchange.arrived


@pytest.mark.rule("R-28")
@pytest.mark.timeout(120)
async def test_a_stop_in_an_answer_is_seen_before_it_would_have_ended(stop_at):
    stopped = await stop_at("answering")
    assert b"[DONE]" not in stopped.exchange.arrived
    assert b'"finish_reason":"' not in stopped.exchange.arrived


@pytest.mark.rule("R-28")
@pytest.mark.parametrize("reply", [raw_reply(Hold()), sse(Hold()), sse(b": ping\n\n", Hold())])
async def test_a_stop_is_seen_by_a_server_that_hangs_before_or_after_its_headers(server, client, reply):
    server.on(CHAT, reply)
    task = asyncio.create_task(events_of(client, ask(server)))
    request = await asyncio.to_thread(server.wait_for, CHAT)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(request.client_left.wait, 5)
    assert (client.metrics().stopped_requests, len(server.seen())) == (1, 1)


@pytest.mark.rule("R-28")
@pytest.mark.parametrize("health", [replay("loading-health"), raw_reply(Hold())])
async def test_a_stop_while_the_model_loads_ends_the_looks_at_it(server, client, health):
    loading = json_reply({"error": {"message": "Loading model", "type": "unavailable_error"}}, status=503)
    server.on(CHAT, loading).on("GET /health", health)
    events: list[object] = []
    request = ask(server, product=Product.LLAMA_CPP)
    task = asyncio.create_task(events_of(client, request, on_event=events.append))
    look = await asyncio.to_thread(server.wait_for, "GET /health")
    await until(lambda: ModelLoading() in events, "the word that it loads")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(look.over.wait, 5), "nobody waits for the look any more"
    assert [one.get_name() for one in asyncio.all_tasks() if one is not asyncio.current_task()] == []
    assert len(server.seen(CHAT)) == 1
    assert client.metrics().stopped_requests == 1
