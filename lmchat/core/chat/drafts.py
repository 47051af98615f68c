"""Drafts of all sessions, and the prompts that wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lmchat.base.errors import LMChatError, StoreUnavailable
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.sessions import OpenSessions
from lmchat.core.sessions.message import ChatMessage
from lmchat.core.sessions.prompts import joined_paragraphs
from lmchat.core.sessions.session import SessionHeader
from lmchat.core.storage.store import Store

SAVE_AFTER_S = 0.2
"""A kill may lose what is typed in this time; a shorter one costs more writes, of 2 kB."""
RETRY_S = 3.0
"""Delay after a failed write."""


class SessionTexts:
    """Texts by session id; changes are written soon."""

    def __init__(
        self,
        read: Callable[[str], Awaitable[str]],
        save: Callable[[str, str], Awaitable[None]],
        *,
        retry_s: float = RETRY_S,
    ) -> None:
        """`read` gets a session id, `save` also the text; "" means none."""
        self._retry_s = retry_s
        self._read = read
        self._save = save
        self._texts: dict[str, str] = {}  # read or changed in this run
        self._written: dict[str, str] = {}  # on the disk, if read or written
        self._handed: dict[str, str] = {}  # to the disk, which has not answered yet
        self._lock = asyncio.Lock()
        self._has_changed = False  # since `_task` started to sleep
        self._task: asyncio.Task[None] | None = None

    def change(self, session_id: str, text: str) -> None:
        self._texts[session_id] = text
        self.write_soon()

    def text(self, session_id: str) -> str:
        return self._texts.get(session_id, "")

    async def load(self, session_id: str) -> str:
        """Return "" if the disk cannot be read; the next call reads again."""
        if session_id not in self._texts:
            try:
                text = await self._read(session_id)
            except LMChatError:
                return ""
            if session_id not in self._texts:  # else it was changed during the reading
                self._texts[session_id] = self._written[session_id] = text
        return self._texts[session_id]

    def write_soon(self) -> None:
        """Write texts in memory; others stay as they are on the disk."""
        self._has_changed = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._write_later(), name="session texts")

    async def _write_later(self) -> None:
        wait_s = SAVE_AFTER_S
        while wait_s:
            self._has_changed = False
            await asyncio.sleep(wait_s)
            wait_s = 0.0 if await self.write() else self._retry_s
            if self._has_changed:
                wait_s = SAVE_AFTER_S

    async def write(self) -> bool:
        """Return False if some texts could not be written; these stay in memory.

        Unless lmchat ends, call `write_soon` to try them again.
        """
        is_written = True
        async with self._lock:
            for session_id in list(self._texts):  # others may come during a write
                text = self._text_to_save(session_id)
                if self._written.get(session_id) != text:
                    self._handed[session_id] = text
                    try:
                        await self._save(session_id, text)
                    except LMChatError:
                        is_written = False
                    else:
                        self._written[session_id] = text
                    finally:
                        del self._handed[session_id]
        return is_written

    def unwritten(self) -> dict[str, str]:
        texts = {session_id: self._text_to_save(session_id) for session_id in self._texts}
        return {
            session_id: text
            for session_id, text in texts.items()
            if text and self._written.get(session_id) != text
        }

    def _text_to_save(self, session_id: str) -> str:
        """Return the text; `Drafts` adds prompts that wait."""
        return self._texts[session_id]


class Drafts(SessionTexts):
    """Drafts by session id, also of a new session.

    On the disk, a draft starts with `OpenSession.pending`: these survive a kill of any front end.
    """

    def __init__(self, store: Store, open_sessions: OpenSessions) -> None:
        super().__init__(store.draft, self._save_draft)
        self.is_kept = True  # but in a program
        self._store = store
        self._open_sessions = open_sessions

    def write_soon(self) -> None:
        if self.is_kept:
            super().write_soon()

    async def write(self) -> bool:
        """Write also for sessions where only a prompt waits."""
        # a prompt that leaves a draft on the disk has to be a message there
        await self._open_sessions.write_unsaved()
        for session in self._with_prompts:
            await self.load(session.session_id)  # else its draft on the disk would be replaced
        is_written = await super().write()
        return is_written and all(
            session.session_id in self._texts for session in self._with_prompts
        )

    async def append(self, header: SessionHeader, message: ChatMessage) -> None:
        """Save a prompt and take it out of the draft, both or none."""
        session_id = header.session_id
        draft = None
        session = self._open_sessions.find(session_id)
        if session is not None and session_id in self._texts:
            pending = session.pending_behind(message.message_id)
            own = self._last_text(session_id)
            draft = own, joined_paragraphs(*pending, self.text(session_id))
        await self._store.append(header, message, draft)
        if session is not None:
            session.end_pending(message.message_id)
        # else the draft was written again, with the prompt: the next write takes that out
        if draft is not None and draft[0] == self._last_text(session_id):
            self._written[session_id] = draft[1]

    def _last_text(self, session_id: str) -> str:
        return self._handed.get(session_id, self._written.get(session_id, ""))

    async def write_at_end(self) -> None:
        """Write again what is shown or pending: another lmchat may have taken or cleared it."""
        await self.write()
        for session in {self._open_sessions.active, *self._with_prompts}:
            session_id = session.session_id
            text = self._text_to_save(session_id) if session_id in self._texts else ""
            if text and self._written.get(session_id) == text:
                try:
                    await self._store.save_draft(session_id, text, text)
                except LMChatError:
                    del self._written[session_id]  # the disk may have it or not

    def unwritten(self) -> dict[str, str]:
        """Add drafts where only a prompt waits."""
        unread = [one.session_id for one in self._with_prompts if one.session_id not in self._texts]
        return super().unwritten() | {one: self._text_to_save(one) for one in unread}

    @property
    def _with_prompts(self) -> list[OpenSession]:
        return [one for one in self._open_sessions.all if one.pending]

    async def _save_draft(self, session_id: str, text: str) -> None:
        if session_id in self._open_sessions.refused_ids:
            raise StoreUnavailable(
                "A prompt of this draft is no message on the disk yet.",
                next_step="It is tried again.",
            )
        await self._store.save_draft(session_id, text, self._written.get(session_id, ""))

    def _text_to_save(self, session_id: str) -> str:
        session = self._open_sessions.find(session_id)
        draft = self.text(session_id)
        return joined_paragraphs(*session.pending, draft) if session else draft

    async def restore(self) -> str:
        """Give the new session the drafts of earlier runs that belong to no saved session.

        The store moves them on the disk, too; unless memory has them, the next write would lose
        them.
        """
        session_id = self._open_sessions.new_session.session_id
        async with self._lock:
            earlier = await self._store.take_drafts(session_id)
            own = self._written.get(session_id, "")
            self._written[session_id] = joined_paragraphs(earlier, own)
        if earlier:
            self.change(session_id, joined_paragraphs(earlier, self.text(session_id)))
        return earlier
