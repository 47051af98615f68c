"""Highlighting: sends code to the highlighter, and shows the colours that come back.

Two kinds of code wait: blocks, which request their colours when they are laid out (`Colours`), and
complete fences of several blocks, which are highlighted as one text (`Document.unhighlighted`).
"""

from __future__ import annotations

import asyncio
from asyncio import TimerHandle
from collections.abc import Callable

from lmchat.machine.highlighter import Highlighter
from lmchat.tui.widgets.chat_log.blocks import Block
from lmchat.tui.widgets.chat_log.document import Document
from lmchat.tui.widgets.chat_log.layout.code import language_of, whole_colours
from lmchat.tui.widgets.chat_log.layout.colours import Colours

STREAM_WAIT_S = 0.15  # time that colours of a streaming answer wait for the frame of more text


class Highlighting:
    """Colours of the code in a document; without a highlighter, code stays plain."""

    def __init__(
        self, document: Document, highlighter: Highlighter | None, show_frame: Callable[[], object]
    ) -> None:
        """Create it; `show_frame` is called when colours are to be shown."""
        self.colours = Colours()
        self.is_streaming = False  # whether more text will arrive
        self._document = document
        self._highlighter = highlighter
        self._show_frame = show_frame
        self._changed: list[Block] = []  # blocks whose colours have arrived and are not shown yet
        self._timer: TimerHandle | None = None  # runs to the frame that shows them

    @property
    def is_needed(self) -> bool:
        """Whether code waits for its colours, and there is a highlighter."""
        has_code = self.colours.newest_request is not None or bool(self._document.unhighlighted)
        return has_code and self._highlighter is not None

    async def run(self) -> None:
        """Get the colours of all code that waits: of each block, then of whole fences.

        When colours arrive, `show_frame` is called at once. While an answer streams, it is called
        up to `STREAM_WAIT_S` later: the next frame of the text may show the colours before.
        """
        highlighter = self._highlighter
        while highlighter is not None and self.is_needed:
            blocks = await self._next_colours(highlighter)
            self._changed += blocks
            if self._changed and self._timer is None:
                wait_s = STREAM_WAIT_S if self.is_streaming else 0.0
                self._timer = asyncio.get_running_loop().call_later(wait_s, self._show_frame)

    async def _next_colours(self, highlighter: Highlighter) -> list[Block]:
        """Get the colours of the newest waiting block, or else of a whole fence.

        Return the blocks that must be laid out again with them; a fence without colours has none.
        """
        request = self.colours.newest_request
        if request is not None:
            return self.colours.put(request, await highlighter.colours(*request))
        code, info = self._document.unhighlighted.pop()
        colours = await whole_colours(highlighter, code, language_of(info))
        return self._document.set_colours(code, colours) if colours is not None else []

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
