"""Stops an answer of a real llama.cpp server in a stage of it, and tells when the other side saw it.

`STAGES` are for whoever measures: `await STAGES["reading"](client, other_client, proxy, model)`, where the
proxy is a `CuttingProxy` before the server; `took_ms` of what it returns is the figure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from lmchat.domain.event import PromptProgress, StreamEvent, TextDelta
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint, Product
from lmchat.proxy.client import ProxyClient
from tests.support.cutting_proxy import CuttingProxy, Exchange, Plan
from tests.support.proxy_calls import ask, events_of
from tests.support.waiting import until

STORY = "Tell me a very long story about a dog and a cat. Use many paragraphs."
NOTES = "\n".join(f"Note {number}: the quick brown fox jumps over the lazy dog." for number in range(80))


@dataclass(frozen=True)
class Stop:
    """What is known of it."""

    exchange: Exchange
    """As the proxy saw it."""
    took_ms: float
    """From the cancel to the close of the connection, by one monotonic clock."""
    events: list[StreamEvent]
    """What had come before."""


def to(address: str, model: str, text: str = STORY, **more: object) -> ChatRequest:
    """Ask a llama.cpp for an answer that does not end by itself for a long time."""
    sampling = {"max_tokens": 2000, "temperature": 0} | more
    return ask(Endpoint.parse(address), text, product=Product.LLAMA_CPP, model=model, **sampling)


async def stop(
    client: ProxyClient,
    request: ChatRequest,
    proxy: CuttingProxy,
    is_time: Callable[[list, Exchange], object],
) -> Stop:
    """Send a request through the proxy, cancel it when `is_time(events, exchange)`, wait until it is seen."""
    before, events = len(proxy.exchanges), []
    task = asyncio.create_task(events_of(client, request, on_event=events.append))

    def is_now() -> object:
        return task.done() or (len(proxy.exchanges) > before and is_time(events, proxy.exchanges[before]))

    try:
        await until(is_now, "the moment to stop")
        assert not task.done(), f"it ended before: {task.result()}"
    finally:
        began_s = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    exchange = proxy.exchanges[before]
    assert await asyncio.to_thread(exchange.client_left.wait, 15), "the connection stays open"
    return Stop(exchange=exchange, took_ms=(exchange.left_s - began_s) * 1000, events=events)


async def stop_queued(client: ProxyClient, other: ProxyClient, proxy: CuttingProxy, model: str) -> Stop:
    """Stop while the server's only slot is busy with another answer, which goes on."""
    async with aclosing(other.stream(to(proxy.upstream, model))) as story:
        async for event in story:
            if isinstance(event, TextDelta):
                break
        stopped = await stop(client, to(proxy.url, model), proxy, lambda _, seen: seen.request)
        assert isinstance(await anext(story), TextDelta), "the other answer had ended"
    return stopped


async def stop_before_headers(client: ProxyClient, _: ProxyClient, proxy: CuttingProxy, model: str) -> Stop:
    """Stop while nothing of the reply has come."""
    proxy.plan = plan = Plan(hold_at=0)
    try:
        return await stop(client, to(proxy.url, model), proxy, lambda *_: plan.gate.reached.is_set())
    finally:
        proxy.plan = Plan()


async def stop_reading(client: ProxyClient, _: ProxyClient, proxy: CuttingProxy, model: str) -> Stop:
    """Stop while the server reads a prompt that it has never read."""
    request = to(proxy.url, model, f"{time.time()} {NOTES}")
    return await stop(client, request, proxy, lambda events, _: _has(events, PromptProgress))


async def stop_answering(client: ProxyClient, _: ProxyClient, proxy: CuttingProxy, model: str) -> Stop:
    """Stop in the middle of an answer."""
    return await stop(client, to(proxy.url, model), proxy, lambda events, _: _has(events, TextDelta))


def _has(events: list[StreamEvent], kind: type[StreamEvent]) -> bool:
    return any(isinstance(one, kind) for one in events)


STAGES = {
    "queued": stop_queued,
    "before the headers": stop_before_headers,
    "reading": stop_reading,
    "answering": stop_answering,
}
