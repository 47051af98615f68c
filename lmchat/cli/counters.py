"""Counters of a running lmchat, saved while it runs.

A separate module, because the chat screen needs it before SQLite is imported.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from lmchat.domain.telemetry import Metrics
from lmchat.errors import LMChatError

log = logging.getLogger(__name__)

KEEP_EVERY_S = 3.0  # a killed process loses the counters of this time at most


@asynccontextmanager
async def metrics_kept(
    counted: Callable[[], Metrics],
    add: Callable[[Metrics], Awaitable[object]],
    *,
    every_s: float = KEEP_EVERY_S,
) -> AsyncIterator[None]:
    """Save new counts while the block runs and at its end; failed writes are tried again.

    The task is not cancelled at the end: a cancelled write might be counted twice.
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
