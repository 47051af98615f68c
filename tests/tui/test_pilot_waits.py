"""The waits of pilots leave out only what would be slept through."""

from __future__ import annotations

import asyncio

import pytest
from textual import app, pilot

from tests.support import tui_host
from tests.support.tui_host import STEP_S, wait_for_idle


@pytest.fixture
def slept(monkeypatch):
    """How long each sleep of a wait was to be, in seconds."""
    found, sleep = [], asyncio.sleep

    async def noted(seconds):
        found.append(seconds)
        await sleep(seconds)

    monkeypatch.setattr(tui_host.asyncio, "sleep", noted)
    return found


def test_all_pilots_wait_so():
    assert app.wait_for_idle is pilot.wait_for_idle is wait_for_idle


async def test_what_is_ready_is_done_with_all_that_follows_from_it(slept):
    loop, done = asyncio.get_running_loop(), []

    def step(number):
        done.append(number)
        if number < 5:
            loop.call_soon(step, number + 1)

    loop.call_soon(step, 1)
    await wait_for_idle(0)
    assert done == [1, 2, 3, 4, 5]
    assert set(slept) == {0}


async def test_a_timer_that_falls_into_the_step_is_waited_for(slept):
    done = []
    asyncio.get_running_loop().call_later(STEP_S * 0.9, done.append, "timer")
    await wait_for_idle(0)
    assert done == ["timer"]
