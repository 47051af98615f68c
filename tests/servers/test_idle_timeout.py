from __future__ import annotations

import asyncio
import time

from lmchat.config.settings import TimeoutSettings
from lmchat.servers.stream import timeouts as module
from lmchat.servers.stream.timeouts import IdleTimeout


async def test_the_limit_for_the_first_token_does_not_hold_for_the_second():
    passed = asyncio.Event()
    idle_timeout = IdleTimeout(TimeoutSettings(first_token_s=0.02), print, None)
    async with idle_timeout.watching():
        idle_timeout.note_data(has_token=True)
        asyncio.get_running_loop().call_later(0.05, passed.set)
        await passed.wait()


async def test_a_process_that_was_asleep_does_not_blame_the_server(monkeypatch):
    monkeypatch.setattr(module, "LONGEST_ROUND_S", 0.1)
    passed = asyncio.Event()
    idle_timeout = IdleTimeout(TimeoutSettings(give_up_after_s=0.3), print, None)
    async with idle_timeout.watching():
        idle_timeout.note_data(has_token=True)
        await asyncio.sleep(0.2)  # the bytes are noticed
        time.sleep(0.5)  # noqa: ASYNC251 - this is the sleep that it is about
        asyncio.get_running_loop().call_later(0.05, passed.set)
        await passed.wait()
