from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from lmchat.errors import EndpointNotAllowed
from lmchat.servers.discovery.monitor import KEPT_LATENCIES, Monitor
from lmchat.servers.discovery.probe_result import Verdict
from tests.support.scripted_backend import ScriptedBackend, model, probed, target


async def looks(monitor: Monitor, count: int) -> list:
    seen = []
    async with aclosing(monitor.watch()) as watched:
        async for health in watched:
            seen.append(health)
            if len(seen) == count:
                return seen
            monitor.check_now()
    return seen


async def test_latency_and_model_are_kept_until_another_server_is_looked_at():
    monitor = Monitor(ScriptedBackend(results=[probed(Verdict.READY, model())]).check)
    monitor.aim(target())
    seen = await looks(monitor, KEPT_LATENCIES + 3)
    assert (seen[0].verdict, seen[0].latency_ms, seen[0].is_down) == (Verdict.READY, 3.0, False)
    assert seen[0].model == model()
    assert len(seen[-1].latencies_ms) == KEPT_LATENCIES
    monitor.aim(None)
    assert (monitor.health.latencies_ms, monitor.health.verdict) == ((), None)


async def test_a_server_that_went_away_is_down_and_comes_back():
    backend = ScriptedBackend()
    up = backend.results
    monitor = Monitor(backend.check)
    monitor.aim(target())
    seen = []
    async with aclosing(monitor.watch()) as watched:
        async for health in watched:
            seen.append(health.is_down)
            backend.results = () if len(seen) == 1 else up
            if len(seen) == 3:
                break
            monitor.check_now()
    assert seen == [False, True, False]
    assert monitor.health.latencies_ms == (3.0, None, 3.0)
    assert monitor.health.seen_s is not None


@pytest.mark.rule("R-29")
async def test_nothing_is_asked_while_an_answer_streams():
    backend = ScriptedBackend()
    monitor = Monitor(backend.check)
    monitor.aim(target())
    monitor.is_streaming = True
    async with aclosing(monitor.watch()) as watched:
        waiting = asyncio.ensure_future(anext(watched))
        for _ in range(5):
            await asyncio.sleep(0)
        assert backend.checks == 0
        monitor.is_streaming = False
        monitor.check_now()
        await waiting
    assert backend.checks == 1


async def test_a_look_that_raises_is_a_server_in_error_and_the_watch_goes_on():
    backend = ScriptedBackend()
    check, refusals = backend.check, [EndpointNotAllowed("Endpoint not allowed", hint="Allow it.")]

    async def once(endpoint):
        if refusals:
            raise refusals.pop()
        return await check(endpoint)

    backend.check = once
    monitor = Monitor(backend.check)
    monitor.aim(target())
    first, second = await looks(monitor, 2)
    assert (first.verdict, first.detail, first.next_step) == (
        Verdict.SERVER_ERROR,
        "Endpoint not allowed",
        "Allow it.",
    )
    assert second.verdict is Verdict.READY
