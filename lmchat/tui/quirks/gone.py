"""Input that comes for what is not there any more."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.app import App
from textual.errors import NoWidget
from textual.screen import Screen


def is_for_what_went(app: App[Any], event: events.Event) -> bool:
    """Whether an event is for a widget that was taken off the screen, or comes while the app ends.

    A widget stays where it was until the screen is laid out again; Textual 8.2.8 ends the app with an error
    where a mouse button goes down on it, and passes keys on to screens that have no widgets any more.
    """
    if not isinstance(event, events.InputEvent):
        return False
    if app._exit or not app.is_running or not app._screen_stack:
        return True
    if event.is_forwarded or not isinstance(event, events.MouseDown):
        return False
    try:
        widget = app.screen.get_widget_and_offset_at(event.x, event.y)[0]
    except NoWidget:
        return False
    return widget is not None and not isinstance(widget, Screen) and not widget.is_attached
