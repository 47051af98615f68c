"""Adds the counters of a running lmchat to those of all runs while it runs, so that no end loses them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

from lmchat.domain.telemetry import Metrics
from lmchat.errors import LMChatError

log = logging.getLogger(__name__)

KEEP_EVERY_S = 3.0
"""What a process that is killed loses, at most; nothing is written where nothing was counted."""


class MetricsKeeper:
    """Hands on what was counted since the last time, once."""

    def __init__(self, counted: Callable[[], Metrics], add: Callable[[Metrics], Awaitable[object]]) -> None:
        self._counted = counted
        self._add = add
        self._kept = Metrics()
        self._is_over = asyncio.Event()

    async def run(self) -> None:
        """Keep until `finish` is called."""
        while not self._is_over.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(KEEP_EVERY_S):
                    await self._is_over.wait()
            await self.keep()

    async def keep(self) -> None:
        """Add what is new; a store that fails gets it the next time, and costs the counters alone."""
        counted = self._counted()
        new = counted.since(self._kept)
        if new == Metrics():
            return
        try:
            await self._add(new)
        except LMChatError as error:
            log.warning("the counters could not be kept: %s", error.kind)
        else:
            self._kept = counted

    def finish(self) -> None:
        """Let `run` keep what is left and return; it is not cancelled, else it might add something twice."""
        self._is_over.set()


@asynccontextmanager
async def metrics_kept(
    counted: Callable[[], Metrics], add: Callable[[Metrics], Awaitable[object]]
) -> AsyncIterator[None]:
    """Keep the counters while the block runs, and what is left at its end."""
    keeper = MetricsKeeper(counted, add)
    task = asyncio.create_task(keeper.run(), name="counters")
    try:
        yield
    finally:
        keeper.finish()
        await task
