"""What is typed takes effect in the order in which it was typed, and soon."""

from __future__ import annotations

from typing import Any

from textual import events
from textual.geometry import Region
from textual.scroll_view import ScrollView
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import TextArea

_TOGETHER = "_is_typed_together"


class CalmTextArea(TextArea):
    """A text area that looks its styles up when they change, not with each paint: that is 1 ms a key."""

    _dressed_in: tuple[object, ...] = ()

    def notify_style_update(self) -> None:
        """Look the styles up again."""
        self._dressed_in = ()
        super().notify_style_update()

    def render_lines(self, crop: Region) -> list[Strip]:
        """Render rows."""
        now: tuple[Any, ...] = (self._theme, self.background_colors, self.app.theme)
        if now != self._dressed_in:
            self._dressed_in = now
            self._theme.apply_css(self)
        return ScrollView.render_lines(self, crop)


async def run_own_binding(widget: Widget, key: str) -> bool:
    """Do at once what a key means to a widget with the focus; tell whether it means anything.

    Textual does it when the key has gone up to the app, and by then has inserted the characters that were
    typed after it: of `abc`, Backspace and `d` in one go, the `d` would be deleted.
    """
    for binding in widget._bindings.key_to_bindings.get(key, ()):
        if not binding.priority and await widget.app.run_action(binding.action, widget):
            return True
    return False


def mark_together(key: events.Key) -> events.Key:
    """Mark a key that came in one read with others: a word that was pasted, or typed while nobody read."""
    setattr(key, _TOGETHER, True)
    return key


def is_together(key: events.Key) -> bool:
    """Whether a key came in one read with others."""
    return getattr(key, _TOGETHER, False)


def hand_over(event: events.Key | events.Paste, widget: Widget) -> None:
    """Let another widget have a key or a paste, as if it had had the focus."""
    event.stop()
    event.prevent_default()
    if isinstance(event, events.Key):
        widget._forward_event(events.Key(event.key, event.character))
    else:
        widget._forward_event(events.Paste(event.text))
