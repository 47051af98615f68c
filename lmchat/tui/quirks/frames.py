"""When is painted: at once where nothing was painted lately, and without a message for each frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from textual.constants import MAX_FPS
from textual.geometry import Region
from textual.screen import Screen
from textual.widget import Widget

from lmchat.tui.quirks.pace import call_for, is_behind, when_read

_PERIOD_S = 1 / MAX_FPS
"""From one frame to the next, where frames are dear."""
_LEAST_S = 0.004
"""The same where they are cheap: what a key does comes in several steps, 1 ms apart."""
_COST_FACTOR = 3
"""Painting takes a quarter of the time at most."""


class FrameClock:
    """Stands in for the timer of a screen that Textual resumes when something is to be painted.

    The timer is a task that keeps to a grid of 1/60 s: a key pressed while nothing moves is shown 8 ms
    later than it need be, and each frame wakes a task more than it need.
    """

    def __init__(self, screen: Screen[Any]) -> None:
        self._screen = screen
        self._handle: asyncio.TimerHandle | None = None
        self._painted_s = self._cost_s = 0.0
        self._is_waiting = False

    def resume(self) -> None:
        """Paint soon."""
        if self._handle is None and not (self._is_waiting and is_behind(self._screen.app)):
            loop = asyncio.get_running_loop()
            gap_s = min(max(_COST_FACTOR * self._cost_s, _LEAST_S), _PERIOD_S)
            pause_s = max(self._painted_s + gap_s - loop.time(), 0.0)
            self._handle = call_later(self._screen, pause_s, self._paint)

    def pause(self) -> None:
        """Paint no more; said by the screen when it paints."""
        self._painted_s = asyncio.get_running_loop().time()
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _go_on(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self.resume()

    def _paint(self) -> None:
        self._handle, app = None, self._screen.app
        if not self._screen.is_attached or not app.is_running:
            return  # an app that ends begins a batch that has no end
        if is_behind(app):
            self._is_waiting = True
            when_read(app, self._go_on)
        elif app._batch_count:
            self._handle = call_later(self._screen, _PERIOD_S, self._paint)  # Textual would forget of it
        else:
            self._is_waiting = False
            self._screen._on_timer_update()
            self._cost_s = asyncio.get_running_loop().time() - self._painted_s


def keep_frames(screen: Screen[Any]) -> None:
    """Let a screen paint by such a clock; to be called before it is shown."""
    screen._Screen__update_timer = FrameClock(screen)  # type: ignore[attr-defined]  # a name of its own


def call_later(widget: Widget, pause_s: float, callback: Callable[[], object]) -> asyncio.TimerHandle:
    """Call something for a widget after a pause, as Textual's timers do, but without a task and a message."""
    return asyncio.get_running_loop().call_later(pause_s, call_for, widget, callback)


def mark(widget: Widget, *regions: Region) -> None:
    """Note what is to be painted, as `refresh` does, but send no message: `paint_now` follows."""
    _forget(widget, *regions)
    widget._repaint_required = True


def _forget(widget: Widget, *regions: Region) -> None:
    """Forget what a widget has rendered: a row that is rendered by `render` would be painted as it was."""
    widget._layout_cache.clear()
    widget.clear_cached_dimensions()
    widget._set_dirty(*regions)


def paint_soon(widget: Widget, *regions: Region) -> None:
    """Have a widget painted with the next frame, as `refresh` does, without the messages that lead there.

    One that is not on the screen yet, or not now, is left to Textual: so is what waits for a layout.
    """
    if not widget.is_attached or widget._layout_required or widget.app._batch_count:
        widget.refresh(*regions)
        return
    screen = widget.screen
    # the property would find it anew, and keep it: in the middle of a layout, from the places of before
    visible = screen._compositor._visible_widgets
    if visible is not None and widget not in visible:
        widget.refresh(*regions)
        return
    _forget(widget, *regions)
    screen._dirty_widgets.add(widget)
    screen._update_timer.resume()


def paint_now(widget: Widget, *others: Widget) -> None:
    """Paint what widgets have asked for without the messages that lead there, where nothing else is due."""
    screen = widget.screen
    due = [one for one in (widget, *others) if one._repaint_required]
    if not due:
        return
    if any(one._layout_required for one in due) or not screen.is_current:
        for one in due:
            one.check_idle()
        return
    for one in due:
        one._repaint_required = False
        screen._dirty_widgets.add(one)
    if is_behind(screen.app):
        screen._update_timer.resume()
    else:
        screen._on_timer_update()
