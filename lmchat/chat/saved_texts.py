"""Texts that are saved beside the messages of a session: its draft, and the reading position."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from lmchat.errors import LMChatError

SAVE_AFTER_S = 0.2
"""Seconds from a change to its saving: what is typed in this time may be lost to a kill.

A shorter time would cost more writes, of 2 kB each for up to 1,000 characters.
"""


class SavedTexts:
    """Drafts, or reading positions, by the ids of their sessions; changes are written soon.

    A session has its id before its first prompt, so each new session has a draft of its own. On the
    disk, a draft begins with the prompts that `unsaved` returns: they must survive a kill.

    The screen's `PromptText` changes drafts, and `ShownSession` reading positions. Once after the
    start, `ChatService.restore_draft` changes the draft of the new session: else the next write
    would lose on the disk what `Store.take_drafts` has just moved there.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[str]],
        save: Callable[[str, str], Awaitable[None]],
        unsaved: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> None:
        """Read nothing yet. The functions get the id of a session, and `save` also its text."""
        self._read = read
        self._save = save
        self._unsaved = unsaved
        self._texts: dict[str, str] = {}  # that were read or changed in this run
        self._written: dict[str, str] = {}  # as they are on the disk
        self._lock = asyncio.Lock()
        self._has_changed = False  # since `_task` began to sleep
        self._task: asyncio.Task[None] | None = None

    def change(self, session_id: str, text: str) -> None:
        """Change the text of a session in memory, and write it soon."""
        self._texts[session_id] = text
        self.write_soon()

    def text(self, session_id: str) -> str:
        """Return the text in memory, without unsaved prompts; empty if none exists."""
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
        """After `SAVE_AFTER_S`, write what has changed by then, also the unsaved prompts.

        The draft of a session that was neither read nor changed stays as it is on the disk.
        """
        self._has_changed = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_later(), name="drafts")

    async def _write_later(self) -> None:
        """Wait, then write; do it again if something has changed since the wait began."""
        while self._has_changed:
            self._has_changed = False
            await asyncio.sleep(SAVE_AFTER_S)
            await self.write()

    async def write(self) -> None:
        """Write the texts that have changed; those that cannot be written stay in memory."""
        async with self._lock:
            # a copy of the texts: others may come during a write
            for session_id, own_text in list(self._texts.items()):
                text = joined_prompts(*self._unsaved(session_id), own_text)
                if self._written.get(session_id) != text:
                    with suppress(LMChatError):  # the next change tries again
                        await self._save(session_id, text)
                        self._written[session_id] = text


def joined_prompts(*texts: str) -> str:
    """Join texts to one draft with a blank line between two of them; empty ones are left out."""
    return "\n\n".join(text for text in texts if text)
