"""The counters of a running lmchat, added to those of all runs while it runs, so that no end loses them.

A module of its own, because the chat screen needs it before SQLite is imported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from lmchat.domain.telemetry import Metrics
from lmchat.errors import LMChatError

log = logging.getLogger(__name__)

KEEP_EVERY_S = 3.0
"""A killed process loses the counters of this time at most."""


@asynccontextmanager
async def metrics_kept(
    counted: Callable[[], Metrics],
    add: Callable[[Metrics], Awaitable[object]],
    *,
    every_s: float = KEEP_EVERY_S,
) -> AsyncIterator[None]:
    """Hand on what was counted since the last time while the block runs, and what is left at its end.

    What a store does not take, it gets the next time. At the end the task is not cancelled, else it might
    count a write twice.
    """
    is_over = asyncio.Event()

    async def keep() -> None:
        kept = Metrics()
        while not is_over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await is_over.wait()
            now = counted()
            if (new := now.since(kept)) == Metrics():
                continue
            try:
                await add(new)
            except LMChatError as error:
                log.warning("the counters could not be kept: %s", error.kind)
            else:
                kept = now

    task = asyncio.create_task(keep(), name="counters")
    try:
        yield
    finally:
        is_over.set()
        await task
