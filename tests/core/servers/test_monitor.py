from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.base.errors import EndpointNotAllowed
from lmchat.core.servers.discovery.monitor import LATENCY_COUNT, Monitor
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState
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


async def test_a_server_that_goes_away_and_a_look_that_raises_do_not_end_the_watch():
    backend = ScriptedBackend()
    away = probed("offline", product="Jan")  # another product is only expected there
    refusal = EndpointNotAllowed("Endpoint not allowed", next_step="Allow it.")
    found = [backend.results[0], away, refusal, backend.results[0]]

    async def check(_):
        one = found.pop(0)
        if isinstance(one, Exception):
            raise one
        return one

    monitor = Monitor(check)
    monitor.aim(target())
    seen = await looks(monitor, 4)
    assert [one.is_down for one in seen] == [False, True, True, False]
    assert {one.target.product for one in seen} == {"LM Studio"}
    assert [one.status.word for one in seen][1:] == ["refused", "server error", "ready"]
    failed = seen[2].status
    assert (failed.detail, failed.next_step) == ("Endpoint not allowed", "Allow it.")
    assert monitor.health.latencies_ms == (3.0, None, None, 3.0)
    assert seen[0].seen_s is not None
    assert seen[2].seen_s == seen[0].seen_s


async def test_latency_and_model_are_kept_until_another_server_is_looked_at():
    monitor = Monitor(ScriptedBackend(results=[probed("", model())]).check)
    monitor.aim(target())
    seen = await looks(monitor, LATENCY_COUNT + 3)
    assert (seen[0].status.word, seen[0].latency_ms, seen[0].is_down) == ("ready", 3.0, False)
    assert seen[0].model == model()
    assert len(seen[-1].latencies_ms) == LATENCY_COUNT
    monitor.aim(None)
    assert (monitor.health.latencies_ms, monitor.health.status) == ((), None)

    async def check(_):
        other.aim(replace(target("b"), endpoint=elsewhere))  # chosen during the check
        return probed("", model())

    other = Monitor(check)
    elsewhere = Endpoint.parse("http://localhost:8080")
    other.aim(target())
    (health,) = await looks(other, 1)
    assert (health.target.endpoint, health.status) == (elsewhere, None)


async def test_a_model_that_is_not_listed_any_more_has_no_known_state_unless_it_is_remote():
    for state, after in (
        (LoadState.LOADED, LoadState.UNKNOWN),
        (LoadState.REMOTE, LoadState.REMOTE),
    ):
        monitor = Monitor(ScriptedBackend(results=[probed("", model("other"))]).check)
        monitor.aim(target(state=state))
        (health,) = await looks(monitor, 1)
        assert (health.model.model_id, health.model.state) == ("qwen3-8b", after)


async def test_a_server_that_goes_away_keeps_the_model_that_it_listed_last():
    listed = model(context_loaded=4096)
    found = [probed("", listed), probed("offline")]

    async def check(_):
        return found.pop(0)

    monitor = Monitor(check)
    monitor.aim(target(context_loaded=None))
    assert [health.model for health in await looks(monitor, 2)] == [listed, listed]


@pytest.mark.rule("R-29")
async def test_a_server_is_asked_once_and_no_more_while_an_answer_streams():
    backend = ScriptedBackend()
    monitor = Monitor(backend.models.check)
    monitor.aim(target())
    monitor.note_streaming(is_streaming=True)
    async with aclosing(monitor.watch()) as watched:
        assert (await anext(watched)).status.word == "ready"
        monitor.check_now()
        waiting = asyncio.ensure_future(anext(watched))
        for _ in range(5):
            await asyncio.sleep(0)
        assert backend.checks == 1
        monitor.note_streaming(is_streaming=False)
        monitor.check_now()
        await waiting
    assert backend.checks == 2


async def test_one_refused_list_is_no_fall_of_a_server_that_answers_between_and_two_are():
    ready = probed("", model())
    refuses = probed("server_error")
    for answers_between, words in (
        (False, ["ready", "ready", "server error"]),
        (True, ["ready"] * 3),
    ):
        found = [ready, refuses, refuses, ready]

        async def check(_, found=found):
            return found.pop(0)

        monitor = Monitor(check)
        monitor.aim(target())
        shown = []
        async with aclosing(monitor.watch()) as watched:
            async for health in watched:
                shown.append(health.status.word)
                if len(shown) == len(words):
                    break
                if answers_between:
                    monitor.note_streaming(is_streaming=False)
                monitor.check_now()
        assert shown == words
