"""A store for chats that nobody wants kept: it reads and counts, but writes down nothing that is said."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.domain.message import ChatMessage
from lmchat.domain.session import SessionHeader
from lmchat.storage.store import SessionStore


class UnsavedStore(SessionStore):
    """The usual store for all but the words of the chat."""

    async def append(self, session: SessionHeader, message: ChatMessage) -> None:
        """Keep nothing."""

    async def begin_answer(self, session_id: str, message: ChatMessage, *, has_prompt: bool = True) -> None:
        """Keep nothing."""

    async def has_message(self, message_id: str) -> bool:
        """Let nobody look for what is not to be kept."""
        del message_id
        return True

    async def add_pieces(self, message_id: str, pieces: Sequence[tuple[str, str]]) -> bool:
        """Keep nothing."""
        del message_id, pieces
        return False

    async def finish(self, session_id: str, message: ChatMessage) -> None:
        """Keep nothing."""

    async def save_place(self, session_id: str, place: str) -> None:
        """Keep nothing."""

    async def save_draft(self, session_id: str, text: str) -> None:
        """Keep nothing."""
