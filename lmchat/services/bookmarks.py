"""Where one was reading in each session: in memory first, on the disk for the next time."""

from __future__ import annotations

from lmchat.errors import LMChatError
from lmchat.services.ports import ChatStore


class Bookmarks:
    """Keeps a place by session, in words that only the log understands; empty for the end."""

    def __init__(self, store: ChatStore) -> None:
        self._store = store
        self._places: dict[str, str] = {}
        self._written: dict[str, str] = {}

    async def find(self, session_id: str) -> str:
        """Return where one was; what cannot be read is the end."""
        if session_id not in self._places:
            try:
                place = await self._store.place(session_id)
            except LMChatError:
                place = ""
            self._written.setdefault(session_id, place)
            self._places.setdefault(session_id, place)
        return self._places[session_id]

    def is_at(self, session_id: str, place: str) -> bool:
        """Whether that is noted already; one that was never noted is at its end."""
        return self._places.get(session_id, "") == place

    def note(self, session_id: str, place: str) -> None:
        """Take over where one is."""
        self._places[session_id] = place

    async def write(self) -> None:
        """Write what has changed; what fails is written with the next call.

        Raises:
            LMChatError: the store failed.
        """
        for session_id, place in list(self._places.items()):
            if self._written.get(session_id, "") != place:
                await self._store.save_place(session_id, place)
                self._written[session_id] = place
