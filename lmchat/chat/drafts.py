"""What is saved beside the messages of a session: what is typed, and the reading position."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from lmchat.errors import LMChatError


class SavedTexts:
    """Drafts, or reading positions, by the ids of their sessions.

    A session has its id before its first prompt, so each new session has a draft of its own.
    """

    def __init__(
        self,
        read: Callable[[str], Awaitable[str]],
        save: Callable[[str, str], Awaitable[None]],
    ) -> None:
        self._read = read
        self._save = save
        self._texts: dict[str, str] = {}  # as the screen shows them
        self._to_write: dict[str, str] = {}  # as they should be on the disk, noted in this run
        self._written: dict[str, str] = {}
        self._lock = asyncio.Lock()

    def note(self, session_id: str, text: str, queued: Sequence[str] = ()) -> None:
        """Change the text of a session in memory; the next `write` writes it.

        On the disk, a draft begins with the `queued` prompts: they must survive the end of lmchat.
        """
        self._texts[session_id] = text
        self._to_write[session_id] = joined_prompts(*queued, text)

    def text(self, session_id: str) -> str:
        """Return the text in memory, without queued prompts; empty if none exists."""
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
            if session_id not in self._texts:  # else it was noted during the reading
                self._texts[session_id] = self._written[session_id] = text
        return self._texts[session_id]

    async def write(self) -> None:
        """Write the texts that have changed.

        Raises `LMChatError` after the first one that cannot be written; the next call tries it and
        the later ones again.
        """
        async with self._lock:
            for session_id, text in list(self._to_write.items()):
                if self._written.get(session_id) != text:
                    await self._save(session_id, text)
                    self._written[session_id] = text


def joined_prompts(*texts: str) -> str:
    """Join texts to one draft with a blank line between two of them; empty ones are left out."""
    return "\n\n".join(text for text in texts if text)
