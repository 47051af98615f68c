"""Slots for requests that run at once, with a queue of those that wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from msgspec import Struct, field

CountSlots = Callable[[], int]  # returns how many slots there are now, at least 1


class _Waiter(Struct, eq=False):
    """A request that waits for a slot.

    Two waiters are never equal (`eq=False`), so `in` and `remove` find this one in the queue.
    """

    count: CountSlots
    has_slot: asyncio.Event = field(default_factory=asyncio.Event)


class Slots:
    """Slots of one server, or of one model of it, taken in the order of arrival.

    Each request brings a function that counts the slots. It is called whenever a request begins or
    ends, because the number changes when the server is checked again.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._waiters: deque[_Waiter] = deque()

    def must_wait(self, count: CountSlots) -> bool:
        """Return whether a request that counts the slots with `count` would have to wait now."""
        return bool(self._waiters) or self._taken >= count()

    @asynccontextmanager
    async def one_slot(self, count: CountSlots) -> AsyncIterator[None]:
        """Wait for a free slot, and hold it while the block runs.

        `_serve_waiters` takes the slot for the waiter and removes it from the queue.
        """
        waiter = _Waiter(count)
        self._waiters.append(waiter)
        self._serve_waiters()
        try:
            await waiter.has_slot.wait()
            yield
        finally:
            if waiter in self._waiters:  # cancelled while it waited: it has no slot
                self._waiters.remove(waiter)
            else:  # it has a slot, which is free now
                self._taken -= 1
            self._serve_waiters()

    def _serve_waiters(self) -> None:
        """Give the free slots to the first waiters.

        If the first one has to wait, so do all others, even if they count more slots.
        """
        while self._waiters and self._taken < self._waiters[0].count():
            self._taken += 1
            self._waiters.popleft().has_slot.set()
