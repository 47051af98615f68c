"""A line of text to type; the base of all inputs of one row."""

from __future__ import annotations

from textual import events
from textual.widgets import Input

from lmchat.text import safe_text
from lmchat.tui.quirks.typing import run_own_binding


class TextLine(Input):
    """Textual's input, whose keys take effect in the order in which they were typed."""

    async def on_key(self, event: events.Key) -> None:
        """Move and delete before what was typed next."""
        if await run_own_binding(self, event.key):
            event.stop()
            event.prevent_default()

    def on_paste(self, event: events.Paste) -> None:
        """Make every control visible before Textual inserts the first line."""
        event.text = safe_text(event.text)
