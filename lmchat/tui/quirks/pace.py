"""Frames keep pace with the terminal: what it would only see when it is old is not painted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual._ansi_sequences import SYNC_END, SYNC_START
from textual._compositor import CompositorUpdate
from textual._context import NoActiveAppError
from textual.app import App
from textual.screen import Screen
from textual.widget import Widget

from lmchat.tui.quirks.driver import TerminalDriver


def is_behind(app: App[Any]) -> bool:
    """Whether the terminal has not read what was written lately."""
    driver = app._driver
    return isinstance(driver, TerminalDriver) and driver.is_behind


def when_read(app: App[Any], call: Callable[[], object]) -> None:
    """Call something, once, as soon as the terminal has read all, with another turn of the event loop."""
    driver = app._driver
    if isinstance(driver, TerminalDriver):
        driver.when_read(call)


def keep_pace(app: App[Any]) -> None:
    """Let an app drop frames while its terminal is behind; to be called before it runs.

    Once the terminal has read what it was sent, the whole screen is painted, as it is then.
    """
    display = app._display
    dropped: list[Screen[Any]] = []

    def go_on() -> None:
        if dropped and app.is_running:
            call_for(app.screen, app.screen.refresh)
        dropped.clear()

    def display_in_time(screen: Screen[Any], renderable: Any) -> None:
        driver, is_frame = app._driver, isinstance(renderable, CompositorUpdate)
        if is_frame and is_behind(app):
            if not dropped:
                when_read(app, go_on)
            dropped.append(screen)
        elif is_frame and isinstance(driver, TerminalDriver):
            _send(app, driver, renderable)
        else:
            display(screen, renderable)

    setattr(app, "_display", display_in_time)  # noqa: B010 - a method, of this app alone


def _send(app: App[Any], driver: TerminalDriver, update: CompositorUpdate) -> None:
    """Write a frame as `App._display` does, but in one piece: each piece wakes the thread that writes."""
    if app._batch_count or app._closed or not app._running:
        return
    try:
        text = update.render_segments(app.console)
    except Exception as error:  # noqa: BLE001 - as Textual does
        app._handle_exception(error)
    else:
        at = app._previous_cursor_position = app.screen.outer_size.clamp_offset(app.cursor_position)
        begin, end = (SYNC_START, SYNC_END) if app._sync_available else ("", "")
        driver.write(f"{begin}{text}\x1b[{at.y + 1};{at.x + 1}H{end}")
    app.post_display_hook()


def call_for(widget: Widget, call: Callable[[], object]) -> None:
    """Call something as if a handler of a widget did; who asked for it may know of no app."""
    try:
        app = widget.app
    except NoActiveAppError:
        return  # it has ended meanwhile
    with app._context(), widget._context():
        try:
            call()
        except Exception as error:  # noqa: BLE001 - as Textual does for a handler of messages
            app._handle_exception(error)
