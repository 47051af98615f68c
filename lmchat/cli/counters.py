"""Saving of the counters of requests while a command runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from lmchat.errors import LMChatError
from lmchat.sessions.stats import Metrics

log = logging.getLogger(__name__)

_SAVE_EVERY_S = 3.0  # a killed process loses the counts of this time at most


@asynccontextmanager
async def counters_saved(
    read_counters: Callable[[], Metrics],
    add: Callable[[Metrics], Awaitable[object]],
    *,
    every_s: float = _SAVE_EVERY_S,
) -> AsyncIterator[None]:
    """Save the counters while the block runs: every `every_s` seconds, and when it ends.

    `read_counters` returns the counts of this run so far; `add` adds counts to those on the disk.
    If `add` raises `LMChatError`, the next save, if there is one, has the same counts too.
    """
    has_ended = asyncio.Event()  # set when the block has ended

    async def save_until_end() -> None:
        saved = Metrics()  # the counts of this run that are on the disk
        while not has_ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(has_ended.wait(), every_s)
            current = read_counters()
            increase = current.since(saved)
            try:
                if increase != Metrics():
                    await add(increase)
                saved = current
            except LMChatError as error:
                log.warning("the counters could not be saved: %s", error.kind)

    task = asyncio.create_task(save_until_end(), name="counters")
    try:
        yield
    finally:
        # the task is not cancelled: counts of a cancelled write might be saved and added again
        has_ended.set()
        await task
