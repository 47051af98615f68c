"""What a session holds before its end, which alone was read when it was opened."""

from __future__ import annotations

import asyncio

from lmchat.domain.message_path import STRETCH, MessagePath
from lmchat.domain.session import Session
from lmchat.services.ports import SessionStore


class Earlier:
    """Reads what stands before the messages that are known, in slices; after a failure it goes on there."""

    def __init__(self, store: SessionStore, session_id: str, next_id: str) -> None:
        self._store = store
        self._session_id = session_id
        self._next_id: str | None = next_id
        self._path = MessagePath()
        self._turn = asyncio.Lock()

    async def read(self) -> MessagePath:
        """Return all of it, root first; whoever asks while another reads waits for the same."""
        async with self._turn:
            while self._next_id is not None:
                found, self._next_id = await self._store.read_back(
                    self._session_id, self._next_id, count=STRETCH
                )
                self._path = self._path.after(found)
        return self._path


def earlier_of(store: SessionStore, session: Session) -> Earlier | None:
    """Return what is still to be read of a session, if anything is."""
    if session.earlier_id is None:
        return None
    return Earlier(store, session.header.session_id, session.earlier_id)
