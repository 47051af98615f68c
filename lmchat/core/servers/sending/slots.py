"""Slots for requests that run at once, with a queue of those that wait."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from msgspec import Struct, field

from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.model import LoadState
from lmchat.core.servers.products import product_named
from lmchat.core.servers.target import Target

CountSlots = Callable[[], int]  # at least 1


class _Waiter(Struct, eq=False):
    """Waiter in a queue, equal only to itself (`eq=False`)."""

    count: CountSlots
    has_slot: asyncio.Event = field(default_factory=asyncio.Event)


class SlotQueue:
    """Slots of one server, or of one model of it, taken in the order of arrival.

    They are counted whenever a request starts or ends, as a check may change their number.
    """

    def __init__(self) -> None:
        self._taken = 0
        self._waiters: deque[_Waiter] = deque()

    @asynccontextmanager
    async def one_slot(self, count: CountSlots, on_wait: Callable[[], None]) -> AsyncIterator[None]:
        """Hold a slot while the block runs; call `on_wait` if none is free yet."""
        waiter = _Waiter(count)
        self._waiters.append(waiter)
        self._serve_waiters()
        try:
            if not waiter.has_slot.is_set():
                on_wait()
            await waiter.has_slot.wait()
            yield
        finally:
            if waiter in self._waiters:  # cancelled while it waited: it has no slot
                self._waiters.remove(waiter)
            else:  # which is free now
                self._taken -= 1
            self._serve_waiters()

    def _serve_waiters(self) -> None:
        """Let all wait if the first one has to, even if others count more slots."""
        while self._waiters and self._taken < self._waiters[0].count():
            self._taken += 1
            self._waiters.popleft().has_slot.set()


class ServerSlots:
    """Slots of all servers in the user's network."""

    def __init__(self, lists: ModelLists) -> None:
        self._lists = lists
        # By `Endpoint.netloc` and name of the model. The name is empty if all models of the server
        # share its slots; behind a router, each model has slots of its own.
        self._slots: dict[tuple[str, str], SlotQueue] = {}

    @asynccontextmanager
    async def one_slot(
        self, target: Target, *, on_wait: Callable[[], None] = lambda: None
    ) -> AsyncIterator[None]:
        """Hold a slot of a near server while the block runs (R-25).

        Other servers are made for many requests at once, so there is no wait.
        """
        if not target.endpoint.is_near:
            yield
            return
        model = self._lists.model(target)
        has_own_slots = model is not None and model.has_own_slots
        key = (target.endpoint.netloc, target.model_id if has_own_slots else "")
        slots = self._slots.setdefault(key, SlotQueue())
        # a probe may have changed the number
        count = partial(self._slot_count, target)
        async with slots.one_slot(count, on_wait):
            yield

    def _slot_count(self, target: Target) -> int:
        """Return what the server said last, else the usual number.

        The first request to a model that is not in memory loads it. Others at the same time would
        make some servers load it again, beside the first.
        """
        model = self._lists.model(target)
        if model is not None and model.state is LoadState.NOT_LOADED:
            return 1
        if model is not None and model.slots:
            return model.slots
        return product_named(target.product).lists.slots
