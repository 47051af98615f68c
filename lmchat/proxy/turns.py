"""Whose turn it is: a server in the own network gets one chat request at a time (R-25)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from lmchat.domain.server import Endpoint
from lmchat.proxy.nearness import is_near, one_name


class Turns:
    """A queue for each server, whatever its addresses are called."""

    def __init__(self) -> None:
        self._locks: dict[tuple[str, int], asyncio.Lock] = {}

    def is_taken(self, endpoint: Endpoint) -> bool:
        """Whether a chat request is on its way to a server that takes one at a time."""
        lock = self._locks.get(one_name(endpoint))
        return lock is not None and lock.locked()

    @asynccontextmanager
    async def taken(self, endpoint: Endpoint, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Wait for the turn and hold it; `on_wait` is called where another has it."""
        if not is_near(endpoint):
            yield
            return
        lock = self._locks.setdefault(one_name(endpoint), asyncio.Lock())
        if lock.locked():
            on_wait()
        async with lock:
            yield
