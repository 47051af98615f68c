"""What only a real llama.cpp server can show of prompts, answers and their tokens."""

from __future__ import annotations

import httpx
import pytest

from lmchat.core.chat.events import AnswerStarted
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import TextDelta
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import AnswerState
from tests.support.chat_turns import ChatTurns

pytestmark = pytest.mark.timeout(180)  # where others compute too, each answer takes its time
PROMPT = "Write a Python function that adds two numbers, with a short explanation."
LONG_PROMPT = "Write the numbers from 1 to 500 separated by commas."


async def target_at(server, url: str) -> Target:
    probed = await server.models.check(Endpoint.parse(url))
    model = probed.models[0]
    return Target(endpoint=model.endpoint, product=probed.product, model=model)


async def chat_at(client, store, url, tokens: int) -> ChatTurns:
    """Return a session whose answers have so many tokens, and are the same every time."""
    chat = ChatTurns(store, server=client, target=await target_at(client, url))
    await use_tokens(chat, tokens)
    return chat


async def use_tokens(chat: ChatTurns, tokens: int) -> None:
    options = {"temperature": 0.0, "seed": 1, "max_tokens": tokens}
    await chat.session.set_sampling(options)


async def asked(client, store, url, tokens: int, *, prefill: str = "") -> ChatTurns:
    """Return a session with one answer."""
    chat = await chat_at(client, store, url, tokens)
    if prefill:
        chat.session.set_prefill(prefill, chat.sessions.turn_options.target)
    await chat.send(PROMPT)
    return chat


# Answers that are stopped


async def until_idle(url) -> None:
    """Wait until the server generates nothing; the time limit of the test ends this."""
    async with httpx.AsyncClient() as http:
        while (await http.get(f"{url}/slots")).json()[0]["is_processing"]:
            pass


@pytest.mark.rule("R-28")
async def test_a_stop_ends_the_answer_at_the_server(client, store, start_real_server):
    url = start_real_server().url
    for kind in (AnswerStarted, TextDelta):  # before its first byte, and in the middle
        chat = await chat_at(client, store, url, 2000)
        await chat.start(LONG_PROMPT, kind)
        await chat.stop()
        await until_idle(url)
        assert chat.path[-1].state is AnswerState.STOPPED


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
    whole = (await asked(client, store, url, 50)).path[-1]
    for tokens in (1, 3, 20, 33):  # in the line of a fence, in a word, in a line, in a comment
        chat = await asked(client, store, url, tokens)
        await use_tokens(chat, 50 - tokens)
        await chat.continue_answer(chat.path[-1])
        assert chat.path[-1].text == whole.text
    await use_tokens(chat, 20)
    written = "Adding numbers is easy:  first you tak"
    session = chat.session
    version = await session.rewrite(session.messages[-1].message_id, f"{written} \n")
    await chat.continue_answer(version)
    rest = await sent_directly(url, written, 20)
    assert chat.path[-1].text == written + rest
    started = await asked(client, store, url, 20, prefill="Numbers are")
    rest = await sent_directly(url, "Numbers are", 20)
    assert started.path[-1].text == f"Numbers are{rest}"
