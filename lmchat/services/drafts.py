"""What is typed and not sent yet, by session: in memory first, so that no failing disk loses it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from lmchat.errors import LMChatError
from lmchat.services.ports import SessionStore

BETWEEN = "\n\n"
"""Stands between prompts that are kept as one draft."""


class Drafts:
    """Keeps what stands in the prompt of every session that was shown, and writes it to the store.

    What waits in a queue is not lost with the process either: on the disk it is a part of the draft.
    """

    def __init__(self, store: SessionStore) -> None:
        self._store = store
        self._texts: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._wanted: dict[str, str] = {}
        self._lock = asyncio.Lock()

    def note(self, session_id: str, text: str, waiting: Sequence[str] = ()) -> None:
        """Take over what is typed in a session, and what waits there; "" is the session not yet begun."""
        self._texts[session_id] = text
        self._wanted[session_id] = BETWEEN.join(part for part in (*waiting, text) if part)

    def text(self, session_id: str) -> str:
        """Return what was typed; `load` it first."""
        return self._texts.get(session_id, "")

    async def load(self, session_id: str) -> None:
        """Read what an earlier run kept, unless this run knows better."""
        if session_id in self._texts:
            return
        try:
            text = await self._store.draft(session_id)
        except LMChatError:
            return
        if session_id not in self._texts:
            self._texts[session_id] = self._written[session_id] = self._wanted[session_id] = text

    async def write(self) -> None:
        """Write what has changed; what fails is written with the next call.

        Raises:
            LMChatError: the store failed.
        """
        async with self._lock:
            for session_id, wanted in list(self._wanted.items()):
                text = wanted
                if session_id not in self._written:  # it was typed before the old one was read: keep both
                    old = await self._store.draft(session_id)
                    text = BETWEEN.join(dict.fromkeys(part for part in (old, wanted) if part))
                if self._written.get(session_id) != text:
                    await self._store.save_draft(session_id, text)
                self._written[session_id] = text
                if self._wanted[session_id] == wanted:
                    self._wanted[session_id] = text
