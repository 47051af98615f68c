"""The waits of pilots leave out only what would be slept through."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest
from textual import app, pilot

from tests.support import tui_host
from tests.support.programs import until
from tests.support.tui_host import STEP_S, can_be_woken, is_at_work, pass_over_others, wait_for_idle


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


async def test_where_nothing_can_happen_nothing_is_slept_through(slept):
    later = asyncio.get_running_loop().call_later(60, print)
    await wait_for_idle(0)
    later.cancel()
    assert slept == []


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


async def test_a_timer_that_is_cancelled_is_not_waited_for(slept):
    asyncio.get_running_loop().call_later(STEP_S / 2, print).cancel()
    await wait_for_idle(0)
    assert slept == []


async def test_a_thread_of_a_pool_is_at_work_until_the_loop_was_told_and_waited_for_to_the_end_of_the_step(
    slept,
):
    may_end = threading.Event()
    work = asyncio.create_task(asyncio.to_thread(may_end.wait))
    await asyncio.sleep(0)
    assert is_at_work()
    slept.clear()
    await wait_for_idle(0)
    assert any(slept)
    may_end.set()
    await until(lambda: not is_at_work(), "the end of the work")
    assert not can_be_woken(asyncio.get_running_loop())
    await wait_for_idle(0)
    assert work.done()


async def test_one_who_watches_a_socket_can_be_woken_and_waits_for_the_whole_step(slept):
    loop = asyncio.get_running_loop()
    here, there = socket.socketpair()
    with here, there:
        assert not can_be_woken(loop)
        loop.add_reader(here, print)
        assert can_be_woken(loop)
        await wait_for_idle(0)
        loop.remove_reader(here)
    assert max(slept) > STEP_S / 2


async def test_a_thread_of_its_own_beside_the_test_can_wake_it_and_one_that_ran_before_it_cannot():
    may_end = threading.Event()
    other = threading.Thread(target=may_end.wait)
    other.start()
    assert can_be_woken(asyncio.get_running_loop())
    pass_over_others()
    assert not can_be_woken(asyncio.get_running_loop())
    may_end.set()
    other.join()
