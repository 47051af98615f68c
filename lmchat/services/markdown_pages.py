"""HTML of the messages of a session, made in a child process with a time limit for each message."""

from __future__ import annotations

import asyncio

from lmchat.domain.session import Session
from lmchat.machine.process import ChildEndedError, ChildProcess
from lmchat.text import safe_text

_CHILD = "lmchat.formats.markdown_child"
_LONGEST_S = 5.0  # for one message; a page of Markdown takes milliseconds
_MOST_SLOW = 3  # messages of a session; after them, long ones are not tried
_SHORT_CHARS = 2000


class MarkdownPages:
    """Converter of Markdown; the child starts with the first text and is used for all."""

    def __init__(self, *, longest_s: float = _LONGEST_S) -> None:
        self._longest_s = longest_s
        self._child: ChildProcess | None = None

    async def html_of(self, session: Session) -> dict[str, str]:
        """Return the HTML by id of the messages; a text that takes too long has none."""
        pages: dict[str, str] = {}
        slow = 0
        for message in (*session.messages, *session.branches):
            is_tried = slow < _MOST_SLOW or len(message.text) <= _SHORT_CHARS
            if not message.text or not is_tried:
                continue
            try:
                pages[message.message_id] = await self._html(safe_text(message.text))
            except (TimeoutError, ChildEndedError):
                slow += 1
        return pages

    async def aclose(self) -> None:
        """End the child."""
        child = self._child
        self._child = None
        if child is not None:
            await child.end()

    async def _html(self, text: str) -> str:
        is_done = False
        try:
            if self._child is None:
                self._child = await ChildProcess.start_own(_CHILD)
            async with asyncio.timeout(self._longest_s):
                await self._child.send_frame(text.encode())
                html = await self._child.receive_frame()
            is_done = True
        finally:
            if not is_done:
                await self.aclose()
        return html.decode()
