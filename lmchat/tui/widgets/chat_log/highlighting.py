"""Highlighting: sends code to the highlighter, and shows the colours that come back.

Blocks request their colours when they are laid out (`Colours`).
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable

from lmchat.markdown.highlighter import Highlighter
from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.layout.colours import Colours

STREAM_WAIT_S = 0.15  # time that colours of a streaming answer wait for the frame of more text


class Highlighting:
    """Colours of the code in the log; without a highlighter, code stays plain."""

    def __init__(self, highlighter: Highlighter | None, show_frame: Callable[[], object]) -> None:
        """Create it; `show_frame` is called when colours are to be shown."""
        self.colours = Colours()
        self.is_streaming = False  # whether more text will arrive
        self._highlighter = highlighter
        self._show_frame = show_frame
        self._changed: list[Block] = []  # blocks whose colours have arrived and are not shown yet
        self._timer: TimerHandle | None = None  # runs to the frame that shows them

    @property
    def is_needed(self) -> bool:
        """Whether code waits for its colours, and there is a highlighter."""
        return self.colours.newest_request is not None and self._highlighter is not None

    async def run(self) -> None:
        """Get the colours of all code that waits, the newest first.

        When colours arrive, `show_frame` is called at once. While an answer streams, it is called
        up to `STREAM_WAIT_S` later: the next frame of the text may show the colours before.
        """
        highlighter = self._highlighter
        while highlighter is not None and (request := self.colours.newest_request):
            colours = await highlighter.colours(*request)
            self._changed += self.colours.put(request, colours)
            if self._changed and self._timer is None:
                wait_s = STREAM_WAIT_S if self.is_streaming else 0.0
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._show_frame)

    def drain(self) -> list[Block]:
        """Return the blocks whose colours arrived since the last call; cancel their frame."""
        blocks = self._changed
        self._changed = []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return blocks

    def reset(self) -> None:
        """Forget the code of the session that was shown before; its colours stay in the cache."""
        self.drain()
        self.colours.drop_requests()
        self.is_streaming = False
