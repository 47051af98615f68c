"""Details of answers of real llama.cpp servers: seeds that repeat them, and why one was slow."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.domain.event import TextDelta
from lmchat.domain.message import ChatMessage, Receipt
from lmchat.domain.request import Sampling
from lmchat.domain.server import Endpoint, LoadState
from lmchat.proxy.client import ProxyClient
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.conversation import Conversation
from lmchat.tui.screens.answer_details import details_text
from tests.services.test_conversation import begin, reading
from tests.support.real_sessions import target_at
from tests.support.scripted_backend import read

pytestmark = pytest.mark.timeout(180)
PROMPT = "Which crop needs the most water?"
LONG = "The garden has carrots, beans and lettuce in ten beds. " * 40
SHORT = Sampling(max_tokens=8)
_CHECKS = 400


async def settings_for(client: ProxyClient, url: str, sampling: Sampling = SHORT) -> TurnSettings:
    return TurnSettings(target=await target_at(client, url), sampling=sampling)


async def ask(
    conversation: Conversation, settings: TurnSettings, text: str = PROMPT
) -> ChatMessage:
    await read(conversation.send(text, settings))
    return conversation.messages[-1]


def receipt_of(answer: ChatMessage) -> Receipt:
    assert answer.receipt is not None
    return answer.receipt


async def test_the_noted_seed_repeats_an_answer_and_regenerating_draws_another(
    real_server, client, store
):
    sampling = Sampling(temperature=1.5, max_tokens=40, more={"cache_prompt": False})
    settings = await settings_for(client, real_server.url, sampling)
    conversation = begin(client, store)
    first = await ask(conversation, settings)
    await read(conversation.regenerate(first.message_id, settings))
    other = conversation.messages[-1]
    seeds = [receipt_of(answer).sampling["seed"] for answer in (first, other)]
    assert seeds[0] != seeds[1]
    assert first.text != other.text
    assert "(drawn by lmchat)" in await details_text(first, store)

    noted = replace(settings, sampling=sampling.with_options({"seed": seeds[0]}))
    repeated = await ask(begin(client, store), noted)
    assert repeated.text == first.text
    assert receipt_of(repeated).sampling == receipt_of(first).sampling
    assert "(drawn by lmchat)" not in await details_text(repeated, store)


async def test_waiting_for_another_answer_is_measured(real_server, client, store):
    settings = await settings_for(client, real_server.url, Sampling(max_tokens=200))
    running = await reading(begin(client, store).send("Write a long story.", settings), TextDelta)
    waiting = begin(client, store)
    receipt = receipt_of(await ask(waiting, replace(settings, sampling=SHORT)))
    await running
    assert 0 < receipt.queue_ms <= receipt.wait_ms


async def test_a_sleeping_server_is_noted_with_the_time_of_waking(start_real_server, client, store):
    server = start_real_server(sleep_s=1)
    settings = await settings_for(client, server.url)
    for _ in range(_CHECKS):
        if (await target_at(client, server.url)).model.state is LoadState.ASLEEP:
            break
        await asyncio.sleep(0.05)
    receipt = receipt_of(await ask(begin(client, store), settings))
    assert (receipt.was_loaded, receipt.was_asleep) == (True, True)
    assert 0 < receipt.load_ms <= receipt.wait_ms


@pytest.mark.router
async def test_a_model_that_is_loaded_first_is_noted(real_router, client, store):
    endpoint = Endpoint.parse(real_router.url)
    settings = await settings_for(client, real_router.url)
    models = {model.state: model for model in (await client.check(endpoint)).models}
    unloaded = models[LoadState.NOT_LOADED]
    target = replace(settings.target, model=unloaded)
    receipt = receipt_of(await ask(begin(client, store), replace(settings, target=target)))
    assert (receipt.was_loaded, receipt.was_asleep) == (True, False)
    assert 0 < receipt.load_ms <= receipt.ttft_ms
    assert receipt.build.startswith("b1")
