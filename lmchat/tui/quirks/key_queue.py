"""Queue of keys: each is delivered when the one before it has had its whole effect.

A key that the focused widget does not take passes through the queues of all widgets around it. Its
binding runs at the end, in the app. Textual 8.2.8 sends the next keys to the old focus before that.
So letters typed right after Esc on a message ran the message's commands, or arrived in another
order. A binding may also post a message, which begins a worker, which opens a dialog. So the title
typed right after `n` in the list of sessions ran the commands of the list.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from textual import events
from textual.app import App
from textual.message_pump import MessagePump
from textual.widget import Widget
from textual.widgets import Input, TextArea

LONGEST_S = 2.0
"""Time that a key may keep the next ones waiting: its handler may wait for what the user does."""

_LOOK_AGAIN_S = 0.01  # interval of the checks whether keys are still held

Typed = events.Key | events.Paste


class KeyQueue:
    """Queue of keys and pastes; each is delivered after the one before it has had its effect.

    Text does not wait for earlier text in the same input. The queue of the input keeps the order,
    and the input can draw several letters at once.

    An event has had its effect when three things are so. Callbacks behind it have passed all queues
    on its way, the condition of `hold_while` has ended, and another callback has passed the queue
    of the screen, which may be a new dialog: it then has its widgets. The wait for that ends after
    `LONGEST_S`. Then the next keys go where the focus is: one of them may be the Esc that stops
    what takes so long.
    """

    def __init__(self, app: App[Any], deliver: Callable[[Typed], Awaitable[Widget | None]]) -> None:
        self._app = app
        self._deliver = deliver  # returns the widget that got it, if no binding of the app took it
        self._waiting: deque[Typed] = deque()
        self._current: Typed | None = None  # which was delivered, and has still to have its effect
        self._field: Widget | None = None  # input that got it as text
        self._is_held: Callable[[], bool] = bool  # condition of `hold_while`; `bool` returns False
        self.last_key = ""  # the last one, also if it waits; empty after a paste

    async def put(self, event: Typed) -> None:
        """Put a key or paste behind those that wait; without any, deliver it now."""
        self.last_key = event.key if isinstance(event, events.Key) else ""
        self._waiting.append(event)
        await self._deliver_waiting()

    def hold_while(self, condition: Callable[[], bool]) -> None:
        """Let the keys behind the current one wait while a condition holds."""
        self._is_held = condition

    async def _deliver_waiting(self) -> None:
        """Deliver keys in order, until the first one that has to wait for the current one."""
        while self._waiting and (self._current is None or self._is_more_text(self._waiting[0])):
            self._current = event = self._waiting.popleft()
            self._is_held = bool
            # the timer puts `_end` into the queue of the app, as a timer can await nothing
            loop = asyncio.get_running_loop()
            loop.call_later(LONGEST_S, self._app.call_later, self._end, event)
            receiver = await self._deliver(event)
            if isinstance(receiver, Input | TextArea) and _is_text(event):
                self._field = receiver
                self._pass_queues([receiver], partial(self._end, event))  # it passes no text on
            else:
                self._field = None
                way: list[MessagePump] = [] if receiver is None else [*receiver.ancestors_with_self]
                # without the app, which runs a binding at the end of the way
                self._pass_queues(way[:-1], partial(self._settle, event))

    def _is_more_text(self, event: Typed) -> bool:
        """Return whether an event is text for the input that got the current text."""
        return self._field is not None and self._app.focused is self._field and _is_text(event)

    def _pass_queues(self, widgets: list[MessagePump], then: Callable[[], object]) -> None:
        """Let a callback pass the queues of `widgets`, in turn, and of the app; then call `then`.

        `widgets` is emptied on the way. A widget that is gone takes no callback, and is left out.
        """
        while widgets:
            if widgets.pop(0).call_later(self._pass_queues, widgets, then):
                return
        self._app.call_later(then)

    async def _settle(self, event: Typed, has_passed: bool = False) -> None:
        """Wait while keys are held, then let a callback pass the queue of the screen.

        What the event has led to is done by then, or holds the keys.
        """
        if event is not self._current:
            return
        if self._is_held():
            self._app.set_timer(_LOOK_AGAIN_S, partial(self._settle, event))
        elif has_passed:
            await self._end(event)
        else:
            screens: list[MessagePump] = [self._app.screen]
            self._pass_queues(screens, partial(self._settle, event, True))

    async def _end(self, event: Typed) -> None:
        """End the wait for the effect of an event, unless it was ended already."""
        if event is self._current:
            self._current = self._field = None
            await self._deliver_waiting()


def _is_text(event: Typed) -> bool:
    return isinstance(event, events.Paste) or event.is_printable
