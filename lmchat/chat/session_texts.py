"""Texts that are saved beside the messages of a session, such as its draft."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lmchat.errors import LMChatError

SAVE_AFTER_S = 0.2
"""Seconds from a change to its saving: what is typed in this time may be lost to a kill.

A shorter time would cost more writes, of 2 kB each for up to 1,000 characters.
"""
RETRY_S = 3.0
"""Seconds until a text is tried again that could not be written."""


class SessionTexts:
    """Texts by the ids of their sessions; changes are written soon.

    The drafts are such texts (`Drafts`), and so are the bookmarks of the screen (`SessionView`).
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[str]],
        save: Callable[[str, str], Awaitable[None]],
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        """Read nothing yet. The functions get the id of a session, and `save` also its text.

        An empty text means that a session has none.
        """
        self._retry_s = retry_s
        self._read = read
        self._save = save
        self._texts: dict[str, str] = {}  # that were read or changed in this run
        self._written: dict[str, str] = {}  # as they are on the disk, if they were read or written
        self._lock = asyncio.Lock()
        self._has_changed = False  # since `_task` began to sleep
        self._task: asyncio.Task[None] | None = None

    def change(self, session_id: str, text: str) -> None:
        """Change the text of a session in memory, and write it soon."""
        self._texts[session_id] = text
        self.write_soon()

    def text(self, session_id: str) -> str:
        """Return the text in memory; empty if none exists."""
        return self._texts.get(session_id, "")

    async def load(self, session_id: str) -> str:
        """Return the text of a session from memory, or from the disk if memory has none.

        Return an empty text if the disk cannot be read; the next call then reads again.
        """
        if session_id not in self._texts:
            try:
                text = await self._read(session_id)
            except LMChatError:
                return ""
            if session_id not in self._texts:  # else it was changed during the reading
                self._texts[session_id] = self._written[session_id] = text
        return self._texts[session_id]

    def write_soon(self) -> None:
        """After `SAVE_AFTER_S`, write what has changed by then.

        Only texts in memory are written. Those of other sessions stay as they are on the disk.
        """
        self._has_changed = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_later(), name="session texts")

    async def _write_later(self) -> None:
        """Wait, then write; do it again until all is written that has changed by then."""
        wait_s = SAVE_AFTER_S
        while wait_s:
            self._has_changed = False
            await asyncio.sleep(wait_s)
            wait_s = 0.0 if await self.write() else self._retry_s
            if self._has_changed:
                wait_s = SAVE_AFTER_S

    async def write(self) -> bool:
        """Write the texts that have changed; return False if some could not be written.

        These stay in memory. Unless this is the end of lmchat, call `write_soon` to have them tried
        again.
        """
        is_written = True
        async with self._lock:
            for session_id in list(self._texts):  # a copy: others may come during a write
                text = self._text_to_save(session_id)
                if self._written.get(session_id) != text:
                    try:
                        await self._save(session_id, text)
                    except LMChatError:
                        is_written = False
                    else:
                        self._written[session_id] = text
        return is_written

    def unwritten(self) -> dict[str, str]:
        """Return the texts that are not on the disk, by the ids of their sessions."""
        texts = {session_id: self._text_to_save(session_id) for session_id in self._texts}
        return {
            session_id: text
            for session_id, text in texts.items()
            if text and self._written.get(session_id) != text
        }

    def _text_to_save(self, session_id: str) -> str:
        """Return the text to write for a session; `Drafts` adds prompts that wait to it."""
        return self._texts[session_id]
