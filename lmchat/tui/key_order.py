"""Keys in order: each is delivered when the one before it has had its whole effect.

A key that the focused widget does not take passes through the queues of all widgets around it, up
to the app, where its binding runs. Textual 8.2.8 sends the next keys to the old focus before that:
letters typed right after Esc on a message ran its commands, or arrived in another order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.widget import Widget
from textual.widgets import Input, TextArea

LONGEST_S = 2.0
"""Time that a key may keep the next ones waiting: its handler may wait for what the user does."""

Typed = events.Key | events.Paste


class KeyOrder:
    """Queue of keys and pastes, each of which is delivered and has its effect before the next one.

    Text for one field need not wait: the field has a queue itself, and can draw it at once.
    """

    def __init__(self, app: App[Any], deliver: Callable[[Typed], Awaitable[Widget | None]]) -> None:
        self._app = app
        self._deliver = deliver  # returns the widget that got it, if no binding of the app took it
        self._waiting: deque[Typed] = deque()
        self._current: Typed | None = None
        self._field: Widget | None = None  # that got the current one as text
        self._limit: asyncio.TimerHandle | None = None

    async def take(self, event: Typed) -> None:
        """Deliver a key or paste now, or after those before it."""
        self._waiting.append(event)
        await self._deliver_waiting()

    async def _deliver_waiting(self) -> None:
        """Deliver keys until one has to wait for the effect of the one before it."""
        while self._waiting and (self._current is None or self._is_more_text(self._waiting[0])):
            self._end_limit()
            self._current = event = self._waiting.popleft()
            loop = asyncio.get_running_loop()
            self._limit = loop.call_later(LONGEST_S, self._app.call_later, self._end, event)
            receiver = await self._deliver(event)
            is_field = isinstance(receiver, Input | TextArea)
            self._field = receiver if is_field and _is_text(event) else None
            self._pass_queues(event, self._queues_from(receiver))

    def _is_more_text(self, event: Typed) -> bool:
        """Return whether an event is text for the field that got the current one as text."""
        return self._field is not None and self._app.focused is self._field and _is_text(event)

    def _queues_from(self, receiver: Widget | None) -> list[MessagePump]:
        """Return the widgets whose queues an event passes, from the one that has got it up.

        Text for a field stays there.
        """
        if self._field is not None:
            return [self._field]
        return list(receiver.ancestors_with_self) if receiver is not None else []

    def _pass_queues(self, event: Typed, queues: list[MessagePump]) -> None:
        """Let a callback pass one queue after the other, behind the event, and then the app's.

        When it has passed that, the event has had its effect. A widget that is gone is left out.
        """
        while queues:
            is_queued = queues.pop(0).call_later(self._pass_queues, event, queues)
            if is_queued:
                return
        self._app.call_later(self._end, event)

    async def _end(self, event: Typed) -> None:
        """Deliver the next keys, unless the time limit of this event has done it before."""
        if self._current is event:
            self._end_limit()
            self._current = None
            self._field = None
            await self._deliver_waiting()

    def _end_limit(self) -> None:
        if self._limit is not None:
            self._limit.cancel()


def _is_text(event: Typed) -> bool:
    return isinstance(event, events.Paste) or event.is_printable
