"""What only a real server can show."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing

import httpx
import pytest
from msgspec.structs import replace

from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import (
    ModelLoading,
    ModelNamed,
    PromptProgress,
    ReasoningDelta,
    RequestSent,
    TextDelta,
    UsageReported,
)
from lmchat.core.sessions.message import ReasoningPart, Role, TextPart, text_message
from tests.support.client_calls import answered, ask, message_of, text_of
from tests.support.real_server.server import BATCH

pytestmark = pytest.mark.timeout(
    120
)  # reading a long prompt takes its time where others compute too
LONG = "\n".join(
    f"Note {number}: the quick brown fox jumps over the lazy dog." for number in range(20)
)


def request_to(server, text="Say hi.", **more):
    more.setdefault("model", server.models[0])
    return ask(Endpoint.parse(server.url), text, product="llama.cpp", **more)


async def count(client, request) -> int:
    tokens = await client.count_tokens(request)
    assert tokens is not None
    return tokens


async def test_a_long_prompt_is_told_in_steps_between_which_a_stop_is_heard_and_is_counted_exactly(
    client, real_server
):
    """The server listens only between two batches: their size is the time that a stop can take."""
    await client.models.check(Endpoint.parse(real_server.url))
    request = request_to(real_server, f"{time.time()} {LONG} wörld 🎉 <|im_end|>", max_tokens=2)
    request = replace(
        request, messages=(*request.messages, text_message(Role.ASSISTANT, "Hi there, I"))
    )
    counted = await count(client, request)
    events = await answered(client, request)
    progress = [one for one in events if isinstance(one, PromptProgress)]
    assert progress[-1].total_tokens > 275
    assert len({one.fraction for one in progress}) >= progress[-1].total_tokens // BATCH
    usage = [one.prompt_tokens for one in events if isinstance(one, UsageReported)]
    assert [*filter(None, usage)][-1] == counted


async def slot_of(server, *, is_processing) -> dict:
    """Return the slot of a server as soon as it is at work, or is not."""
    async with httpx.AsyncClient() as http:
        while True:
            slot = (await http.get(f"{server.url}/slots")).json()[0]
            if slot["is_processing"] == is_processing:
                return slot
            await asyncio.sleep(0.01)


async def started(client, request, kind):
    """Ask until the first event of a kind, then close the connection, and return that event."""
    async with aclosing(client.stream(request)) as stream:
        async for event in stream:
            if isinstance(event, kind):
                return event
    return None


@pytest.mark.rule("R-28")
async def test_closing_the_connection_alone_ends_an_answer_also_while_its_prompt_is_read(
    client, real_server
):
    """No time is measured: the server has read and written less than all of it."""
    await client.models.check(Endpoint.parse(real_server.url))
    endless = request_to(
        real_server, f"{time.time()} Write the numbers from 1 to 500.", max_tokens=2000
    )
    assert await started(client, endless, TextDelta)
    slot = await slot_of(real_server, is_processing=False)
    assert slot["n_prompt_tokens"] < 2000, "the prompt, and the answer as far as it has come"

    for moment in (PromptProgress, RequestSent):  # between two batches, and before any event
        long = request_to(real_server, f"{time.time()} {LONG * 5}", max_tokens=2)
        async with aclosing(client.stream(long)) as stream:
            async for event in stream:
                if isinstance(event, moment):
                    break
            await slot_of(real_server, is_processing=True)
        await slot_of(real_server, is_processing=False)
        progress = await started(client, long, PromptProgress)
        assert progress.total_tokens > 10 * BATCH
        assert progress.processed_tokens < progress.total_tokens / 2, "the rest was never read"


async def test_an_effort_reaches_the_template_and_the_count_and_its_tokens_end_the_thought(
    client, start_real_server
):
    """Of 60 tokens, the chat template writes 20 and the model 39."""
    real = start_real_server(reasoning=400)
    (model,) = (await client.models.check(Endpoint.parse(real.url))).models
    assert model.keeps_thoughts
    without = await count(client, request_to(real, "Hello"))
    for effort in ("none", "0"):
        request = request_to(real, "Hello", reasoning_effort=effort, max_tokens=9, temperature=0)
        assert await count(client, request) != without
        events = await answered(client, request)
        assert not any(isinstance(event, ReasoningDelta) for event in events)
    request = request_to(real, "Hello", reasoning_effort="60", max_tokens=70, temperature=0)
    events = await answered(client, request)
    assert text_of(events)
    thought = "".join(event.text for event in events if isinstance(event, ReasoningDelta))
    tokens_of_empty_prompt = await count(client, request_to(real, "x")) - 1
    assert 57 <= await count(client, request_to(real, thought)) - tokens_of_empty_prompt <= 61
    counts = []
    for parts in ((), (ReasoningPart(text="Be kind. " * 20),)):
        answer = message_of(Role.ASSISTANT, *parts, TextPart(text="Hello!"))
        messages = (*request.messages, answer, text_message(Role.USER, "And now?"))
        counts.append(await count(client, replace(request, messages=messages)))
    assert counts[1] > counts[0] + 20, "the thoughts go back and are counted"


@pytest.mark.router
async def test_the_router_switches_models_and_takes_a_stop_while_it_loads(client, real_router):
    endpoint = Endpoint.parse(real_router.url)
    models = {one.model_id: one for one in await client.models.listed(endpoint)}
    assert set(models) == set(real_router.models)
    assert [(one.slots, one.has_own_slots) for one in models.values()] == [(1, True)] * 2
    first, second = real_router.models

    async def answer_by(name):
        events = await answered(client, request_to(real_router, model=name, max_tokens=4))
        assert [one.model for one in events if isinstance(one, ModelNamed)] == [name]

    await answer_by(second)
    await client.models.unload(models[second])
    await client.models.listed(endpoint, is_refresh=True)
    long = request_to(real_router, model=second, max_tokens=2000)
    async with aclosing(client.stream(long)) as stream:
        async for event in stream:
            if isinstance(event, ModelLoading):
                break
    await answer_by(first)
    await answer_by(second)
