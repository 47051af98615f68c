"""HTML of the messages of a session, made in a child process with a time limit for each message.

Some texts would keep the Markdown parser busy for hours.
"""

from __future__ import annotations

import asyncio

from lmchat.processes.child import ChildEndedError, ChildProcess
from lmchat.safe_text import safe_text
from lmchat.sessions.session import Session

_CHILD = "lmchat.formats.markdown_child"
_LONGEST_S = 5.0  # for one message; a page of Markdown takes milliseconds
_MOST_FAILED = 3  # messages of a session; after these, longer ones are not tried
_SHORT_CHARS = 2000  # a message up to this length is always tried


class MarkdownPages:
    """Converter of Markdown; the child process starts with the first text and is used for all."""

    def __init__(self, *, longest_s: float = _LONGEST_S) -> None:
        self._longest_s = longest_s
        self._child: ChildProcess | None = None

    async def html_of(self, session: Session) -> dict[str, str]:
        """Return the HTML of the messages of all branches by their ids.

        Messages without text are left out, and those that cannot be converted in time. After three
        of these, only short messages are tried: each failure takes seconds.
        """
        html_by_id: dict[str, str] = {}
        failed_count = 0
        for message in (*session.messages, *session.branches):
            is_tried = failed_count < _MOST_FAILED or len(message.text) <= _SHORT_CHARS
            if not message.text or not is_tried:
                continue
            try:
                html_by_id[message.message_id] = await self._convert(safe_text(message.text))
            except (TimeoutError, ChildEndedError):
                failed_count += 1
        return html_by_id

    async def aclose(self) -> None:
        """End the child."""
        child = self._child
        self._child = None
        if child is not None:
            await child.end()

    async def _convert(self, text: str) -> str:
        """Return a Markdown text as HTML; raises `TimeoutError` or `ChildEndedError`.

        On any error the child is ended, because it would continue with this text. The next text
        starts another one.
        """
        is_converted = False
        try:
            if self._child is None:
                self._child = await ChildProcess.start_own(_CHILD)
            async with asyncio.timeout(self._longest_s):
                await self._child.send_frame(text.encode())
                html = await self._child.receive_frame()
            is_converted = True
        finally:
            if not is_converted:
                await self.aclose()
        return html.decode()
