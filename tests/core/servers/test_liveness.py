from __future__ import annotations

import asyncio
import time

import pytest

from lmchat.core.config.settings import EndpointSettings, TimeoutSettings
from lmchat.core.servers.events import LifeSign, RetryScheduled, StreamStalled
from lmchat.core.servers.stream import timeouts as module
from lmchat.core.servers.stream.end import AnswerEnd
from lmchat.core.servers.stream.timeouts import IdleTimeout
from tests.support.client_calls import answered, ask, events_of
from tests.support.scripted_products import CHAT
from tests.support.scripted_server import (
    DONE,
    Gate,
    Hold,
    finish,
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
    monkeypatch.setattr(module, "ASK_AFTER_S", 0.02)


@pytest.fixture
def hasty(quick, monkeypatch):
    """Where health never answers: an answer would not come within so short a time."""
    monkeypatch.setattr(module, "HEALTH_S", 0.05)


async def test_a_frozen_server_is_told_given_up_and_not_tried_again(hasty, server, make_client):
    server.on(CHAT, HANGS).on(HEALTH, HANGS).on("GET /api/version", HANGS)
    box, own = (
        EndpointSettings(name=url, url=url, timeouts=TimeoutSettings(give_up_after_s=limit_s))
        for url, limit_s in (("http://box:1", 0.4), (server.url, 0.2))
    )
    for number, product in enumerate(("llama.cpp", "Ollama")):
        client = make_client(timeouts=TimeoutSettings(give_up_after_s=0.3), endpoints=(box, own))
        events, error = await events_of(client, ask(server, product=product))
        stalled = [one for one in events if isinstance(one, StreamStalled)]
        assert stalled[0].silent_s >= 0.05, "with the wait for the health check"
        assert (error.kind, "has not answered for 0.2 s" in error.message) == ("timeout", True)
        assert not [one for one in events if isinstance(one, RetryScheduled)]
        requests = server.seen(CHAT)
        assert len(requests) == number + 1
        assert await asyncio.to_thread(requests[-1].client_left.wait, 5)


async def test_a_server_that_reads_a_long_prompt_and_answers_meanwhile_is_not_stalled(
    quick, server, make_client
):
    for health in (READY, text_reply("no", status=404), raw_reply(b"\0")):
        server.requests.clear()
        client = make_client()
        gate = Gate()
        server.on(CHAT, sse("late", finish(), DONE, before=[gate])).on(HEALTH, health)
        task = asyncio.create_task(answered(client, ask(server, product="llama.cpp")))
        await asyncio.to_thread(server.wait_for, HEALTH, count=3)
        gate.open()
        events = await task
        assert not [one for one in events if isinstance(one, StreamStalled)]


async def test_a_server_that_answers_again_is_stalled_no_more(
    quick, server, make_client, monkeypatch
):
    monkeypatch.setattr(module, "HEALTH_S", 0.5)
    gate = Gate()
    asked = []

    def health(_):
        asked.append(1)
        if len(asked) == 4:
            gate.open()
        return HANGS if len(asked) == 1 else READY

    server.on(CHAT, sse("late", finish(), DONE, before=[gate])).on(HEALTH, health)
    events = await answered(make_client(), ask(server, product="llama.cpp"))
    assert [type(event) for event in events[1:3]] == [StreamStalled, LifeSign]


async def test_a_prompt_that_is_read_for_long_behind_the_headers_is_not_stalled(
    quick, server, make_client
):
    gate = Gate()
    server.on(CHAT, sse(gate, "late", finish(), DONE)).on(HEALTH, READY)
    client = make_client(timeouts=TimeoutSettings(stalled_after_s=0.05, give_up_after_s=0.1))
    task = asyncio.create_task(answered(client, ask(server, product="llama.cpp")))
    await asyncio.to_thread(server.wait_for, HEALTH, count=8)
    gate.open()
    assert not [one for one in await task if isinstance(one, StreamStalled)]


async def test_the_limit_for_the_first_token_does_not_hold_for_the_second():
    passed = asyncio.Event()
    idle_timeout = IdleTimeout(TimeoutSettings(first_token_s=0.02), print, None)
    async with idle_timeout.watching():
        idle_timeout.note_data(has_token=True)
        asyncio.get_running_loop().call_later(0.05, passed.set)
        assert await passed.wait()


async def test_a_connection_that_timed_out_is_neither_silence_nor_the_end_of_an_answer():
    async def broken():
        raise TimeoutError("of the network")
        yield b""

    idle_timeout = IdleTimeout(TimeoutSettings(), print, None)
    with pytest.raises(TimeoutError, match="of the network"):
        async with idle_timeout.watching():
            await anext(broken())
    end = AnswerEnd(TimeoutSettings())
    end.note_chunk("stop", adds=True, has_open_call=False)
    with pytest.raises(TimeoutError, match="of the network"):
        await end.next_part(broken(), idle_timeout)


async def test_a_process_that_was_asleep_does_not_blame_the_server(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_ROUND_S", 0.1)
    passed = asyncio.Event()
    idle_timeout = IdleTimeout(TimeoutSettings(give_up_after_s=0.3), print, None)
    async with idle_timeout.watching():
        idle_timeout.note_data(has_token=True)
        await asyncio.sleep(0.2)  # the bytes are noticed
        time.sleep(0.5)  # noqa: ASYNC251 - this is the sleep that it is about
        asyncio.get_running_loop().call_later(0.05, passed.set)
        assert await passed.wait()
