from __future__ import annotations

import asyncio
import time

import pytest

from lmchat.config.settings import TimeoutSettings
from lmchat.errors import ServerUnavailable, StreamInterrupted
from lmchat.proxy import timeouts as module
from lmchat.proxy.timeouts import IdleTimeout


async def for_ever() -> None:
    await asyncio.Event().wait()


async def test_without_limits_nothing_is_told_and_nothing_ends():
    posted = []
    settings = TimeoutSettings(first_token_s=0, stalled_after_s=0, give_up_after_s=0)
    async with IdleTimeout(settings, posted.append).watching() as timeout:
        timeout.note_data(has_token=False)
        timeout.note_data(has_token=True)
    assert posted == []


async def test_it_ends_a_wait_for_the_first_token_and_not_one_for_the_second():
    settings = TimeoutSettings(first_token_s=0.02)
    with pytest.raises(ServerUnavailable, match=r"no token arrived within 0\.02 s"):
        async with IdleTimeout(settings, print).watching():
            await for_ever()
    passed = asyncio.Event()
    async with IdleTimeout(settings, print).watching() as timeout:
        timeout.note_data(has_token=True)
        asyncio.get_running_loop().call_later(0.05, passed.set)
        await passed.wait()


async def test_a_stall_is_told_again_and_again_until_it_is_given_up(monkeypatch):
    monkeypatch.setattr(module, "TICK_S", 0.02)
    posted = []

    async def wait() -> None:
        settings = TimeoutSettings(stalled_after_s=0.02, give_up_after_s=0.1)
        async with IdleTimeout(settings, posted.append).watching() as timeout:
            timeout.note_data(has_token=False)
            await for_ever()

    with pytest.raises(StreamInterrupted, match=r"no data for 0\.1 s"):
        await wait()
    assert len(posted) >= 2
    assert [event.silent_s for event in posted] == sorted(event.silent_s for event in posted)


async def test_a_cancel_from_outside_stays_a_cancel():
    async def wait() -> None:
        async with IdleTimeout(TimeoutSettings(first_token_s=60), print).watching():
            await for_ever()

    task = asyncio.create_task(wait())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_process_that_was_asleep_does_not_blame_the_server(monkeypatch):
    monkeypatch.setattr(module, "SUSPENDED_S", 0.1)
    passed = asyncio.Event()
    async with IdleTimeout(
        TimeoutSettings(stalled_after_s=0, give_up_after_s=0.2), print
    ).watching() as timeout:
        timeout.note_data(has_token=True)
        time.sleep(0.5)  # noqa: ASYNC251 - this is the sleep that it is about
        asyncio.get_running_loop().call_later(0.05, passed.set)
        await passed.wait()


async def test_one_missing_sign_of_life_after_a_sleep_does_not_end_the_wait(monkeypatch):
    monkeypatch.setattr(module, "SUSPENDED_S", 0.1)
    monkeypatch.setattr(module, "PROBE_AFTER_S", 0.05)
    asked = asyncio.Event()

    async def no_sign() -> bool:
        asked.set()
        return False

    settings = TimeoutSettings(first_token_s=0, stalled_after_s=0, give_up_after_s=1.0)
    async with IdleTimeout(settings, lambda _: None, is_alive=no_sign).watching():
        await asyncio.sleep(0)  # the checks begin
        time.sleep(1.5)  # noqa: ASYNC251 - the process is asleep
        await asked.wait()
        await asyncio.sleep(0.1)
