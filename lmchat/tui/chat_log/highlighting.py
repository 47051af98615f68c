"""Colours of the code in the log, which arrive after the code is shown."""

from __future__ import annotations

from collections.abc import Callable

from lmchat.markdown.block import Block
from lmchat.markdown.colours import Colours
from lmchat.markdown.highlighter import Highlighter


class Highlighting:
    """Colours of the code in the log; without a highlighter, code stays plain."""

    def __init__(self, highlighter: Highlighter | None, show_changed: Callable[[], object]) -> None:
        """Take `show_changed`, which is called when there are colours for `drain` to return."""
        self.colours = Colours()
        self._highlighter = highlighter
        self._show_changed = show_changed
        self._changed: list[Block] = []

    @property
    def is_needed(self) -> bool:
        return self.colours.newest_request is not None and self._highlighter is not None

    async def run(self) -> None:
        """Get the colours of all code that waits, the newest first, and have them shown."""
        highlighter = self._highlighter
        while highlighter is not None and (request := self.colours.newest_request):
            colours = await highlighter.colours(*request)
            self._changed += self.colours.put(request, colours)
            if self._changed:
                self._show_changed()

    def drain(self) -> list[Block]:
        blocks = self._changed
        self._changed = []
        return blocks

    def reset(self) -> None:
        """Forget the code of the session that was shown before; known colours stay cached."""
        self.drain()
        self.colours.drop_requests()
