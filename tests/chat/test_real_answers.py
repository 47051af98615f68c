"""What only a real llama.cpp server can show of prompts, answers and their tokens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress

import httpx
import pytest

from lmchat.chat.answering import TurnSettings
from lmchat.chat.kept import replay_id_of
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import RetryScheduled, TextDelta
from lmchat.servers.model import Target
from lmchat.servers.request import Sampling
from lmchat.sessions.message import AnswerState
from tests.support.conversations import begin, on_disk
from tests.support.scripted_backend import read

pytestmark = pytest.mark.timeout(180)  # where others compute too, each answer takes its time
PROMPT = "Write a Python function that adds two numbers, with a short explanation."
LONG_PROMPT = "Write the numbers from 1 to 500 separated by commas."


async def target_at(server, url: str) -> Target:
    probed = await server.check(Endpoint.parse(url))
    model = probed.models[0]
    return Target(endpoint=model.endpoint, product=probed.product, model=model)


async def settings_for(client, url, tokens: int) -> TurnSettings:
    """Return settings for an answer of so many tokens, which is the same every time."""
    sampling = Sampling(temperature=0, seed=1, max_tokens=tokens)
    return TurnSettings(target=await target_at(client, url), sampling=sampling, is_kept=True)


async def asked(client, store, settings, *, first_words: str = ""):
    """Return a session with one answer."""
    conversation = begin(client, store)
    conversation.first_words = first_words
    await read(conversation.send(PROMPT, settings))
    return conversation


# Answers that the server keeps


class CuttingProxy:
    """A TCP proxy that cuts the connection of the first chat request after some bytes of its reply."""

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


@pytest.mark.rule("R-42")
async def test_a_lost_connection_loses_no_text_and_a_lost_network_fetches_it_later(
    client, store, real_server
):
    whole = (await asked(client, store, await settings_for(client, real_server.url, 100))).messages[
        -1
    ]
    for cut_after in (100, 9_000):
        conversation = begin(client, store)
        async with CuttingProxy(real_server.url, cut_after) as url:
            events = await read(conversation.send(PROMPT, await settings_for(client, url, 100)))
        answer = conversation.messages[-1]
        assert any(isinstance(event, RetryScheduled) for event in events)
        assert (answer.state, answer.text) == (AnswerState.COMPLETE, whole.text)
        assert replay_id_of(answer) == ""
    proxy = CuttingProxy(real_server.url, 9_000)
    proxy.is_open = False
    async with proxy as url:
        conversation = await asked(client, store, await settings_for(client, url, 100))
        assert conversation.messages[-1].state is AnswerState.INTERRUPTED
        assert not await conversation.has_kept_answer()  # the server cannot be asked
        proxy.is_open = True
        assert await conversation.has_kept_answer()
        await read(conversation.catch_up())
    answer = conversation.messages[-1]
    assert (answer.state, answer.text) == (AnswerState.COMPLETE, whole.text)
    assert answer.stats.was_away
    assert (await on_disk(store, conversation))[-1] == answer


async def until_idle(url) -> None:
    """Wait until the server generates nothing; the time limit of the test ends this."""
    async with httpx.AsyncClient() as http:
        while (await http.get(f"{url}/slots")).json()[0]["is_processing"]:
            pass


async def kept_at(url, replay_id) -> list:
    body = {"conversation_ids": [replay_id]}
    async with httpx.AsyncClient() as http:
        return (await http.post(f"{url}/v1/streams/lookup", json=body)).json()


@pytest.mark.rule("R-42")
async def test_a_stop_ends_the_answer_at_the_server_and_a_hang_up_leaves_it_running(
    client, store, start_real_server
):
    url = start_real_server().url
    long = await settings_for(client, url, 2000)
    conversation = begin(client, store)
    async with aclosing(conversation.send(LONG_PROMPT, long)) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                replay_id = replay_id_of(conversation.newest_answer)
                break
    await until_idle(url)
    assert conversation.messages[-1].state is AnswerState.STOPPED
    assert replay_id_of(conversation.messages[-1]) == ""
    assert await kept_at(url, replay_id) == []

    conversation = begin(client, store)  # stopped before its first byte
    task = asyncio.create_task(read(conversation.send(LONG_PROMPT, long)))
    is_begun = False
    while not is_begun:
        await asyncio.sleep(0)
        answer = conversation.newest_answer
        is_begun = answer is not None and bool(await kept_at(url, replay_id_of(answer)))
    task.cancel()
    await asyncio.wait([task])
    await until_idle(url)

    conversation = begin(client, store)
    async with aclosing(conversation.send(PROMPT, await settings_for(client, url, 40))) as events:
        async for event in events:
            if isinstance(event, TextDelta):
                client.leave_answers()
                conversation.is_hung_up = True
                break
    left = conversation.messages[-1]
    assert left.state is AnswerState.INTERRUPTED
    assert left.failure.message.startswith("The terminal was closed")
    assert await conversation.has_kept_answer()
    await read(conversation.catch_up())
    assert conversation.messages[-1].state is AnswerState.COMPLETE
    assert conversation.messages[-1].text.startswith(left.text)


# Answers that are continued


async def sent_directly(url: str, text: str, tokens: int) -> str:
    """Return what the server itself writes behind a text, which its reply repeats."""
    said = [{"role": "user", "content": PROMPT}, {"role": "assistant", "content": text}]
    body = {"messages": said, "temperature": 0, "seed": 1, "max_tokens": tokens}
    async with httpx.AsyncClient(timeout=60) as http:
        reply = await http.post(f"{url}/v1/chat/completions", json=body)
    return reply.json()["choices"][0]["message"]["content"].removeprefix(text)


@pytest.mark.rule("R-43")
async def test_an_answer_is_continued_as_if_it_had_never_been_cut(real_server, client, store):
    url = real_server.url
    whole = (await asked(client, store, await settings_for(client, url, 50))).messages[-1]
    for tokens in (1, 3, 20, 33):  # in the line of a fence, in a word, in a line, in a comment
        conversation = await asked(client, store, await settings_for(client, url, tokens))
        rest = await settings_for(client, url, 50 - tokens)
        await read(conversation.resume(conversation.messages[-1].message_id, rest))
        assert conversation.messages[-1].text == whole.text
    twenty = await settings_for(client, url, 20)
    written = "Adding numbers is easy:  first you tak"
    version = await conversation.rewrite(conversation.messages[-1].message_id, f"{written} \n")
    await read(conversation.resume(version.message_id, twenty))
    rest = await sent_directly(url, written, 20)
    assert conversation.messages[-1].text == written + rest
    begun = await asked(client, store, twenty, first_words="Numbers are")
    rest = await sent_directly(url, "Numbers are", 20)
    assert begun.messages[-1].text == f"Numbers are{rest}"


# What the next request has
