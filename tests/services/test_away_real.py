"""Answers that a real llama.cpp server keeps: lost connections, stops, a server that has forgotten."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing, suppress

import httpx
import pytest

from lmchat.config.settings import LimitSettings, Settings
from lmchat.domain.event import RetryScheduled, TextDelta
from lmchat.domain.message import AnswerState
from lmchat.domain.request import Sampling
from lmchat.domain.server import Endpoint
from lmchat.proxy.client import ProxyClient
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.away import replay_id_of
from tests.services.test_conversation import begin
from tests.support.real_sessions import target_at
from tests.support.scripted_backend import read

pytestmark = [pytest.mark.timeout(120), pytest.mark.rule("R-42")]
_PROMPT = "Write a Python function that adds two numbers, with a short explanation."
_LONG_PROMPT = "Write the numbers from 1 to 500 separated by commas."


class CuttingProxy:
    """A TCP proxy that cuts the connection of each chat request after some bytes of its reply."""

    def __init__(self, url: str, cut_after: int) -> None:
        self.is_open = True  # whether it takes connections after the first cut
        self._target = Endpoint.parse(url)
        self._cut_after = cut_after
        self._was_cut = False

    async def __aenter__(self) -> str:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._was_cut and not self.is_open:
            writer.close()
            return
        server = await asyncio.open_connection(self._target.host, self._target.port)
        sent = bytearray()

        async def upwards() -> None:
            while data := await reader.read(65536):
                sent.extend(data)
                server[1].write(data)

        sending = asyncio.create_task(upwards())
        received = 0
        with suppress(ConnectionError):
            while data := await server[0].read(512):
                received += len(data)
                writer.write(data)
                is_chat = b"POST /v1/chat/completions" in sent
                if is_chat and not self._was_cut and received > self._cut_after:
                    self._was_cut = True
                    break
        sending.cancel()
        writer.close()
        server[1].close()


@pytest.fixture
async def client():
    limits = LimitSettings(retry_base_s=0.05)
    client = ProxyClient(Settings(limits=limits))
    yield client
    await client.aclose()


async def settings_for(client, url, tokens: int = 100, *, is_kept: bool = True) -> TurnSettings:
    target = await target_at(client, url)
    sampling = Sampling(temperature=0, seed=1, max_tokens=tokens)
    return TurnSettings(target=target, sampling=sampling, is_kept=is_kept)


def kept_at(url, replay_id) -> list:
    body = {"conversation_ids": [replay_id]}
    return httpx.post(f"{url}/v1/streams/lookup", json=body).json()


def wait_idle(url) -> None:
    """Wait until the server generates nothing; the time limit of the test ends this."""
    while httpx.get(f"{url}/slots").json()[0]["is_processing"]:
        time.sleep(0.02)


async def first_text(conversation, prompt, settings) -> str:
    """Send a prompt, leave after the first text, and return the id of the answer."""
    async with aclosing(conversation.send(prompt, settings)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                return replay_id_of(conversation.newest_answer)
    raise AssertionError("no text came")


@pytest.mark.parametrize("cut_after", [100, 9_000, 20_000])
async def test_a_lost_connection_loses_no_text(client, store, real_server, cut_after):
    whole = begin(client, store)
    await read(whole.send(_PROMPT, await settings_for(client, real_server.url)))
    conversation = begin(client, store)
    async with CuttingProxy(real_server.url, cut_after) as url:
        events = await read(conversation.send(_PROMPT, await settings_for(client, url)))
    answer = conversation.messages[-1]
    assert any(isinstance(event, RetryScheduled) for event in events)
    assert (answer.state, answer.text) == (AnswerState.COMPLETE, whole.messages[-1].text)
    assert answer.receipt.replay_id == ""


async def test_where_the_network_stays_away_the_answer_is_fetched_later(client, store, real_server):
    whole = begin(client, store)
    await read(whole.send(_PROMPT, await settings_for(client, real_server.url)))
    conversation = begin(client, store)
    proxy = CuttingProxy(real_server.url, 9_000)
    proxy.is_open = False
    async with proxy as url:
        await read(conversation.send(_PROMPT, await settings_for(client, url)))
        assert conversation.messages[-1].state is AnswerState.INTERRUPTED
        assert not await conversation.has_kept_answer()  # the server cannot be asked
        proxy.is_open = True
        assert await conversation.has_kept_answer()
        await read(conversation.catch_up())
    answer = conversation.messages[-1]
    assert (answer.state, answer.text) == (AnswerState.COMPLETE, whole.messages[-1].text)
    assert answer.receipt.was_away
    on_disk = await store.open_session(conversation.header.session_id)
    assert on_disk.messages[-1] == answer


async def test_a_stop_ends_the_answer_at_the_server_too(client, store, real_server):
    settings = await settings_for(client, real_server.url, tokens=2000)
    conversation = begin(client, store)
    replay_id = await first_text(conversation, _LONG_PROMPT, settings)
    await asyncio.to_thread(wait_idle, real_server.url)
    assert conversation.messages[-1].state is AnswerState.STOPPED
    assert conversation.messages[-1].receipt.replay_id == ""
    assert kept_at(real_server.url, replay_id) == []


async def test_a_stop_before_the_first_byte_ends_it_too(client, store, real_server):
    settings = await settings_for(client, real_server.url, tokens=2000)
    conversation = begin(client, store)
    task = asyncio.create_task(read(conversation.send(_LONG_PROMPT, settings)))
    is_asked = False
    while not is_asked:
        await asyncio.sleep(0.005)
        answer = conversation.newest_answer
        is_asked = answer is not None and bool(kept_at(real_server.url, replay_id_of(answer)))
    task.cancel()
    await asyncio.wait([task])
    await asyncio.to_thread(wait_idle, real_server.url)


async def test_an_answer_is_left_running_when_the_terminal_hangs_up(client, store, real_server):
    settings = await settings_for(client, real_server.url, tokens=40)
    conversation = begin(client, store)
    async with aclosing(conversation.send(_PROMPT, settings)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                client.leave_answers()
                conversation.is_hung_up = True
                break
    answer = conversation.messages[-1]
    assert answer.state is AnswerState.INTERRUPTED
    assert answer.failure.message.startswith("The terminal was closed")
    assert await conversation.has_kept_answer()
    await read(conversation.catch_up())
    assert conversation.messages[-1].state is AnswerState.COMPLETE
    assert conversation.messages[-1].text.startswith(answer.text)


async def test_an_answer_that_the_server_has_forgotten_stays_interrupted(
    client, store, start_real_server
):
    server = start_real_server()
    conversation = begin(client, store)
    settings = await settings_for(client, server.url, tokens=400)
    async with aclosing(conversation.send(_LONG_PROMPT, settings)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                server.port = Endpoint.parse(server.url).port
                await asyncio.to_thread(server.stop)
    answer = conversation.messages[-1]
    assert (answer.state, bool(answer.receipt.replay_id)) == (AnswerState.INTERRUPTED, True)
    await asyncio.to_thread(server.start)
    assert not await conversation.has_kept_answer()
    kept = conversation.messages[-1]
    assert (kept.state, kept.text) == (answer.state, answer.text)
    assert kept.receipt.replay_id == ""


async def test_an_answer_that_is_not_to_be_kept_has_no_id(client, store, real_server):
    settings = await settings_for(client, real_server.url, tokens=5, is_kept=False)
    conversation = begin(client, store)
    assert await first_text(conversation, _PROMPT, settings) == ""
