"""Saving of the counters of requests while a command runs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from lmchat.domain.telemetry import Metrics
from lmchat.errors import LMChatError

log = logging.getLogger(__name__)

_SAVE_EVERY_S = 3.0  # a killed process loses the counts of this time at most


@asynccontextmanager
async def counters_saved(
    counted: Callable[[], Metrics],
    add: Callable[[Metrics], Awaitable[object]],
    *,
    every_s: float = _SAVE_EVERY_S,
) -> AsyncIterator[None]:
    """Save new counts while the block runs and at its end; failed writes are tried again.

    The task is not cancelled at the end: a cancelled write might be counted twice.
    """
    is_over = asyncio.Event()

    async def save() -> None:
        saved = Metrics()
        while not is_over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), every_s)
            current = counted()
            new = current.since(saved)
            try:
                if new != Metrics():
                    await add(new)
                saved = current
            except LMChatError as error:
                log.warning("the counters could not be saved: %s", error.kind)

    task = asyncio.create_task(save(), name="counters")
    try:
        yield
    finally:
        is_over.set()
        await task
