"""The layer against a real server through a proxy that cuts, holds and splits what it sends."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial

import pytest

from lmchat.domain.event import (
    LifeSign,
    PromptProgress,
    ReasoningDelta,
    RequestSent,
    StreamFinished,
    TextDelta,
    UsageReported,
)
from lmchat.domain.server import Endpoint, Product
from tests.support.cutting_proxy import CuttingProxy, Plan
from tests.support.programs import until
from tests.support.proxy_calls import ask, events_of


@pytest.fixture
def proxy(real_server):
    with CuttingProxy(real_server.url) as one:
        one.model = real_server.models[0]
        yield one


def to(proxy, text="Say hi.", **more):
    more = {"max_tokens": 6, "temperature": 0, "seed": 1} | more
    return ask(Endpoint.parse(proxy.url), text, product=Product.LLAMA_CPP, model=proxy.model, **more)


ENDED = b"data: [DONE]\n\n"


def merged(events) -> list[object]:
    """Return what an answer says, without what the cuts and the clock decide."""
    said: list[object] = []
    for event in events:
        if isinstance(event, LifeSign | PromptProgress | RequestSent):
            continue
        if isinstance(event, UsageReported):
            event = (event.prompt_tokens, event.completion_tokens)  # noqa: PLW2901 - speeds differ
            said = [one for one in said if not isinstance(one, tuple)]
        last = said[-1] if said else None
        if isinstance(event, TextDelta | ReasoningDelta):
            before = said.pop().text if type(last) is type(event) else ""
            said.append(type(event)(text=before + event.text))
        else:
            said.append(event)
    return said


def text_of(events) -> str:
    return "".join(one.text for one in events if isinstance(one, TextDelta))


async def whole(client, proxy):
    """Return the events of the short answer, and the bytes that brought them."""
    await events_of(client, to(proxy))  # from here on the prompt is in the server's memory
    events, error = await events_of(client, to(proxy))
    assert (error, bool(text_of(events))) == (None, True)
    return events, proxy.exchanges[-1].told


def check_cut(events, error, told: bytes, reference, *, is_reset: bool) -> None:
    """Hold what came of a cut answer against the whole one; a reset takes back what was not read."""
    assert text_of(reference).startswith(text_of(events)), "what arrived is the beginning of the whole"
    assert error is None or (error.kind in ("interrupted", "dropped") and error.hint), error
    if error is None:
        assert ENDED in told
        assert merged(events) == merged(reference)
    else:
        assert not [one for one in events if isinstance(one, StreamFinished)]
        assert error.kind == "interrupted" or not text_of(events)
        assert is_reset or ENDED not in told, "it was there to the end"


STEP = 37
"""Bytes from one cut to the next where each costs an answer of the real server."""


@pytest.mark.rule("R-27")
@pytest.mark.timeout(180)
@pytest.mark.parametrize("is_reset", [False, True])
async def test_an_answer_that_is_cut_is_the_beginning_of_the_whole_and_is_called_interrupted(
    make_client, proxy, is_reset
):
    reference, reply = await whole(make_client(), proxy)
    for place in range(STEP * (1 + is_reset), len(reply), STEP * 2):
        before = len(proxy.exchanges)
        proxy.plan = Plan(cut_at=place, is_reset=is_reset)
        events, error = await events_of(make_client(), to(proxy))
        (exchange,) = proxy.exchanges[before:]
        assert exchange.passed == min(place, len(exchange.arrived))
        check_cut(events, error, exchange.told, reference, is_reset=is_reset)


@pytest.mark.rule("R-39")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("every", [1, 2, 3, 7, 64, 1000])
async def test_an_answer_in_pieces_of_any_size_is_the_same_answer(make_client, proxy, every):
    reference, _ = await whole(make_client(), proxy)
    proxy.plan = Plan(every=every)
    events, error = await events_of(make_client(), to(proxy))
    assert error is None
    assert merged(events) == merged(reference)


def whole_events_in(told: bytes) -> str:
    """Return the text of the events that are complete."""
    chunks = [json.loads(one) for one in re.findall(rb"data: (\{.*?\})\n\n", told)]
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


@pytest.mark.timeout(120)
async def test_what_has_come_is_handed_on_while_the_rest_is_held_back(make_client, proxy):
    reference, reply = await whole(make_client(), proxy)
    for place in range(200, reply.index(ENDED) - 200, 400):  # later ones are some bytes shorter or longer
        proxy.plan = plan = Plan(hold_at=place)
        got: list[object] = []
        task = asyncio.create_task(events_of(make_client(), to(proxy), on_event=got.append))
        assert await asyncio.to_thread(plan.gate.reached.wait, 15)
        expected = whole_events_in(proxy.exchanges[-1].told)
        await until(partial(lambda got, text: text_of(got) == text, got, expected), f"the text {expected!r}")
        assert not [one for one in got if isinstance(one, StreamFinished)]
        plan.gate.open()
        events, error = await task
        assert (error, merged(events)) == (None, merged(reference))


@pytest.mark.rule("R-1")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_list_of_models_that_is_cut_is_no_list_and_no_surprise(make_client, proxy, is_reset):
    endpoint = Endpoint.parse(proxy.url)
    whole = await make_client().check(endpoint)
    sizes = [len(one.told) for one in proxy.exchanges]
    for place in range(0, max(sizes), STEP):
        before = len(proxy.exchanges)
        proxy.plan = Plan(cut_at=place, is_reset=is_reset)
        found = await make_client().check(endpoint)
        asked = proxy.exchanges[before:]
        if place < sizes[0]:
            assert not found.verdict.is_usable
            assert (found.models, bool(found.next_step)) == ((), True)
        else:
            assert [model.model_id for model in found.models] == [model.model_id for model in whole.models]
        assert len(asked) <= 3
