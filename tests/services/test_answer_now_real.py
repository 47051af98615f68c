"""Answer now at real llama.cpp servers, with a chat template that opens a thought."""

from __future__ import annotations

from contextlib import aclosing

import pytest

from lmchat.config.settings import Settings
from lmchat.domain.event import ReasoningDelta
from lmchat.domain.request import Sampling
from lmchat.domain.server import Endpoint
from lmchat.proxy.client import ProxyClient
from lmchat.services.answer_now import answer_now
from lmchat.services.answer_stream import TurnSettings
from tests.services.test_conversation import begin, on_disk
from tests.support.real_sessions import target_at

pytestmark = pytest.mark.timeout(120)  # where others compute too, each answer takes its time
MAX_TOKENS = 80
ENDLESS = 3_000  # tokens of a thought: an answer of `MAX_TOKENS` has no text behind it
SOON = 5  # pieces of the thought after which the key is pressed


class Refused(ProxyClient):
    """A client whose servers cannot end a thought."""

    async def end_thought(self, request_id: str) -> bool:
        return False


async def answered_now(store, client, url, model_name=""):
    """Ask, press the key at the fifth piece of the thought, and return the saved answer."""
    settings = TurnSettings(
        target=await target_at(client, url, model_name),
        sampling=Sampling(temperature=0, seed=1, max_tokens=MAX_TOKENS),
    )
    conversation = begin(client, store)
    pieces = 0
    async with aclosing(conversation.send("How many beds fit?", settings)) as events:
        async for event in events:
            if isinstance(event, ReasoningDelta):
                pieces += event.pieces
                if pieces >= SOON:
                    assert answer_now(conversation) == ""
    return (await on_disk(store, conversation))[-1]


@pytest.mark.parametrize(("kind", "requests"), [(ProxyClient, 1), (Refused, 2)])
async def test_the_answer_follows_the_key(start_real_server, store, kind, requests):
    server = start_real_server(reasoning=ENDLESS)
    client = kind(Settings())
    answer = await answered_now(store, client, server.url)
    assert answer.reasoning
    assert answer.text
    assert answer.receipt.completion_tokens <= MAX_TOKENS * requests
    assert client.metrics().total_requests == requests
    await client.aclose()


@pytest.mark.router
async def test_a_router_ends_the_thought_of_the_model_that_answers(real_router, store):
    client = ProxyClient(Settings())
    await client.check(Endpoint.parse(real_router.url))
    answer = await answered_now(store, client, real_router.url, real_router.models[1])
    assert answer.text
    assert len(answer.reasoning.split()) < 40  # its own budget is 48 tokens
    assert client.metrics().total_requests == 1
    await client.aclose()
