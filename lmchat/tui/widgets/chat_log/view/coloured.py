"""Fences near the screen get the colours of the whole: a string over many lines has one beginning."""

from __future__ import annotations

import asyncio
from threading import Event
from typing import Any

from textual.worker import Worker

from lmchat.tui.widgets.chat_log.document import Place
from lmchat.tui.widgets.chat_log.layout.code import language_of, read_whole
from lmchat.tui.widgets.chat_log.view.long import LongView


class ColouredView(LongView, can_focus=True):
    """A viewport that has code lexed as a whole, on a thread, when its fence has ended."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._is_colouring = False

    def settle(self, *, changed: Place | None = None) -> None:
        """Lay out what is near the screen; code that is there to its end is read once more."""
        super().settle(changed=changed)
        if self.document.uncoloured and not self._is_colouring and self.is_attached:
            self._is_colouring = True
            _: Worker[None] = self.run_worker(self._colour, name="colours", group="colours")

    async def _colour(self) -> None:
        is_over = Event()
        try:
            while self.document.uncoloured:
                code, info = self.document.uncoloured.pop()
                colours = await asyncio.to_thread(read_whole, code, language_of(info), is_over.is_set)
                first = self.document.recolour(code, colours) if colours else None
                if first is not None:
                    self.settle(changed=first)
        finally:
            is_over.set()
            self._is_colouring = False
