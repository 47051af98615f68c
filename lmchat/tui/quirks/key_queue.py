"""Queue of keys: each is delivered when the one before it has had its whole effect.

A key that the focused widget does not take passes through the queues of all widgets around it. Its
binding runs at the end, in the app. Textual 8.2.8 sends the next keys to the old focus before that.
So letters typed right after Esc on a message ran the message's commands, or arrived in another
order. A binding may also post a message, and a worker that this begins may open a dialog: the title
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
_MOST_PASSES = 20  # for a key: while an answer streams, there may always be messages in a queue

Typed = events.Key | events.Paste


class KeyQueue:
    """Queue of keys and pastes; each is delivered after the one before it has had its effect.

    Text does not wait for earlier text in the same input. The queue of the input keeps the order,
    and the input can draw several letters at once. An event has had its effect when callbacks
    behind it have passed all queues on its way, and those have no more messages, and when the
    condition of `hold_while` has ended. The wait for that ends after `LONGEST_S`. Then the next
    keys go where the focus is: one of them may be the Esc that stops what takes so long.
    """

    def __init__(self, app: App[Any], deliver: Callable[[Typed], Awaitable[Widget | None]]) -> None:
        self._app = app
        self._deliver = deliver  # returns the widget that got it, if no binding of the app took it
        self._waiting: deque[Typed] = deque()
        self._current: Typed | None = None  # delivered last; None once it has had its effect
        self._field: Widget | None = None  # input that got `_current` as text; None for others
        self._time_limit: asyncio.TimerHandle | None = None  # ends the wait for `_current`
        self._way: list[MessagePump] = []  # the receiver of `_current`, and the widgets around it
        self._passes = 0  # left for `_current`
        self._is_held: Callable[[], bool] = bool  # of `hold_while`; `bool` returns False

    async def put(self, event: Typed) -> None:
        """Put a key or paste behind those that wait; without any, deliver it now."""
        self._waiting.append(event)
        await self._deliver_waiting()

    def hold_while(self, condition: Callable[[], bool]) -> None:
        """Let the keys behind the current one wait while a condition holds."""
        self._is_held = condition

    async def _deliver_waiting(self) -> None:
        """Deliver keys in order, until the first one that has to wait for the current one."""
        while self._waiting and (self._current is None or self._is_more_text(self._waiting[0])):
            if self._time_limit is not None:
                self._time_limit.cancel()
            self._current = event = self._waiting.popleft()
            self._is_held, self._passes = bool, _MOST_PASSES
            end = partial(self._end, event, is_late=True)
            # the timer puts `end` into the queue of the app, as a timer can await nothing
            loop = asyncio.get_running_loop()
            self._time_limit = loop.call_later(LONGEST_S, self._app.call_later, end)
            receiver = await self._deliver(event)
            is_for_field = isinstance(receiver, Input | TextArea) and _is_text(event)
            self._field = receiver if is_for_field else None
            # widgets whose queues the event passes, innermost first: a field takes text, but other
            # keys may pass on to the widgets around the receiver
            passed: list[MessagePump] = [] if receiver is None else [*receiver.ancestors_with_self]
            self._way = passed[:-1]
            self._pass_queues(event, passed[:1] if is_for_field else passed)

    def _is_more_text(self, event: Typed) -> bool:
        """Return whether an event is text for the input that got the current text.

        This text need not wait: the queue of the input keeps the order.
        """
        return self._field is not None and self._app.focused is self._field and _is_text(event)

    def _pass_queues(self, event: Typed, widgets: list[MessagePump]) -> None:
        """Find out when an event has passed the queues of `widgets` and app; then call `_end`.

        A callback is put into the queue of the first widget, behind the event. When its turn comes,
        this is called again with the remaining widgets. `widgets` is emptied on the way.
        """
        while widgets:
            # False if this widget is gone, and takes nothing: then the next one is tried
            is_queued = widgets.pop(0).call_later(self._pass_queues, event, widgets)
            if is_queued:
                return
        self._app.call_later(self._end, event)

    async def _end(self, event: Typed, *, is_late: bool = False) -> None:
        """End the wait for the effect of an event, and deliver the next keys.

        Unless it is late, first pass the queues that are not empty: the event may have led to their
        messages, and these to others, and to a dialog. The queue of a new dialog is empty once the
        dialog has its widgets. Then wait while the keys are held.

        Do nothing if the event is no longer the current one. Then its time limit has ended the
        wait, or more text was delivered after it.
        """
        if self._current is not event:
            return
        widgets = [*self._way, *self._app.screen_stack]
        busy = [widget for widget in widgets if widget.message_queue_size]
        self._passes = 0 if is_late else self._passes - 1
        if busy and self._passes > 0:
            self._pass_queues(event, busy)
        elif self._is_held() and not is_late:
            self._app.set_timer(_LOOK_AGAIN_S, partial(self._end, event))
        else:
            self._current = None
            await self._deliver_waiting()


def _is_text(event: Typed) -> bool:
    return isinstance(event, events.Paste) or event.is_printable
