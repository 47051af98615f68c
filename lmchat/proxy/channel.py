"""Carries events from the task that owns a response to the one that shows them."""

from __future__ import annotations

import asyncio

from lmchat.domain.event import StreamEvent

MAX_WAITING = 256
"""Pieces that may wait before the reader of the network waits too: that is the backpressure."""


class Channel:
    """One sender, one receiver, events in batches; ends with an error or without."""

    def __init__(self) -> None:
        self._events: list[StreamEvent] = []
        self._waiting = 0
        self._error: BaseException | None = None
        self._is_closed = False
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()

    def post(self, *events: StreamEvent) -> None:
        """Hand over events without waiting."""
        self._events.extend(events)
        self._waiting += sum(getattr(event, "pieces", 1) for event in events)
        self._has_news.set()

    @property
    def is_full(self) -> bool:
        """Whether so much is not taken that its sender is to wait."""
        return self._waiting > MAX_WAITING

    async def wait_for_room(self) -> None:
        """Wait while too much is not taken."""
        while self.is_full:
            self._has_room.clear()
            await self._has_room.wait()

    def close(self, error: BaseException | None = None) -> None:
        """End it; the error is raised at the receiver, behind the last event."""
        self._error, self._is_closed = error, True
        self._has_news.set()

    async def take(self) -> list[StreamEvent]:
        """Wait for events and return them all; an empty list is the end."""
        while not self._events:
            if self._error is not None:
                raise self._error
            if self._is_closed:
                return []
            self._has_news.clear()
            await self._has_news.wait()
        events, self._events, self._waiting = self._events, [], 0
        self._has_room.set()
        return events
