"""Queue of keys: each is delivered when the one before it has had its whole effect.

A key passes through the queues of the focused widget and all around it, and its binding runs in the
app. Textual 8.2.8 sends the next keys to the old focus before that: letters typed right after Esc
on a message ran the message's commands, or came in another order. A binding may also start a
worker, which opens a dialog: a title typed right after `n` in the list of sessions ran commands of
the list.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from msgspec import Struct, field
from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.widget import Widget
from textual.widgets import Input, TextArea

from lmchat.app.tui.quirks.keys import Paste

LONGEST_S = 2.0  # a handler may wait for the user
_LOOK_AGAIN_S = 0.01  # interval of the checks whether keys are held
_MOST_PASSES = 20  # for a key: while an answer streams, a queue may never be empty

Typed = events.Key | Paste


class _Delivered(Struct, eq=False):
    """The key or paste that has still to have its effect."""

    event: Typed
    time_limit: asyncio.TimerHandle  # of the wait for its effect
    field: Widget | None = None  # input that got it as text
    way: list[MessagePump] = []  # the receiver, and the widgets around it without the app
    is_held: Callable[[], bool] = bool  # of `hold_while`; `bool` returns False
    passes: int = _MOST_PASSES  # how often queues may still be passed


class KeyQueue(Struct, eq=False):
    """Queue of keys and pastes.

    Text does not wait for earlier text in the same input, which can draw several letters at once.

    An event has had its effect when callbacks behind it have passed all queues on its way, those
    queues are empty, and the condition of `hold_while` has ended; at the latest after `LONGEST_S`.
    Then the next keys go where the focus is: one may be the Esc that stops what takes so long.
    """

    _app: App[Any]
    # returns the widget that got it, if no binding took it
    _deliver: Callable[[Typed], Awaitable[Widget | None]]
    last_key: str = ""  # also if it waits; "" after a paste
    early: int = 0  # keys that are not done, of those before `note_question`
    _waiting: deque[Typed] = field(default_factory=deque)
    _current: _Delivered | None = None  # None if no key has still to have its effect

    async def put(self, event: Typed) -> None:
        self.last_key = event.key if isinstance(event, events.Key) else ""
        self._waiting.append(event)
        await self._deliver_waiting()

    def note_question(self) -> None:
        """Count the keys so far as `early`: they were pressed before it was seen."""
        self.early = len(self._waiting) + (self._current is not None)

    def hold_while(self, condition: Callable[[], bool]) -> None:
        """Let the keys behind the current one wait."""
        if self._current is not None:
            self._current.is_held = condition

    async def _deliver_waiting(self) -> None:
        while self._waiting and (
            self._current is None or self._is_more_text(self._waiting[0], self._current.field)
        ):
            if self._current is not None:
                self._current.time_limit.cancel()
                self.early -= 1
            event = self._waiting.popleft()
            # in the queue of the app, as a timer can await nothing
            loop = asyncio.get_running_loop()
            timer = loop.call_later(LONGEST_S, self._app.call_later, self._end_late, event)
            self._current = current = _Delivered(event, timer)
            receiver = await self._deliver(event)
            way: list[MessagePump] = [] if receiver is None else [*receiver.ancestors_with_self]
            current.way = way[:-1]  # without the app, which runs `_end`
            if isinstance(receiver, Input | TextArea) and is_text(event):
                current.field = receiver
                self._pass_queues(current, [receiver])  # a field passes no text on
            else:
                self._pass_queues(current, way)  # at its end, the app runs a binding

    def _is_more_text(self, event: Typed, field: Widget | None) -> bool:
        """Whether it is text for the `field` that got the current text."""
        return field is not None and self._app.focused is field and is_text(event)

    def _pass_queues(self, delivered: _Delivered, widgets: list[MessagePump]) -> None:
        """Call `_end` when an event has passed the queues of `widgets` and app.

        A callback behind the event, in the queue of the first widget, calls this again with the
        rest. `widgets` is emptied.
        """
        while widgets:
            # False if this widget is gone: the next one is tried
            is_queued = widgets.pop(0).call_later(self._pass_queues, delivered, widgets)
            if is_queued:
                return
        self._app.call_later(self._end, delivered)

    async def _end(self, delivered: _Delivered) -> None:
        """End the wait for the effect of an event, unless it has still to come.

        Messages in queues go first: the event may have led to them, and they to others, and to a
        dialog, whose queue is empty once it has its widgets.

        If the event is not the current one, its time limit has ended the wait, or more text came.
        """
        if self._current is not delivered:
            return
        delivered.passes -= 1
        widgets = [*delivered.way, *self._app.screen_stack]
        busy = [widget for widget in widgets if widget.message_queue_size]
        if busy and delivered.passes > 0:
            self._pass_queues(delivered, busy)
        elif delivered.is_held():
            self._app.set_timer(_LOOK_AGAIN_S, partial(self._end, delivered))
        else:
            delivered.time_limit.cancel()
            await self._deliver_next()

    async def _end_late(self, event: Typed) -> None:
        if self._current is not None and self._current.event is event:
            await self._deliver_next()

    async def _deliver_next(self) -> None:
        self._current = None
        self.early -= 1
        await self._deliver_waiting()


def is_text(event: Typed) -> bool:
    return isinstance(event, Paste) or event.is_printable
