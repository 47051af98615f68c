"""Drafts of all sessions: what is typed and not sent, and on the disk also what is not saved."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from lmchat.chat.session import OpenSession
from lmchat.chat.sessions import SessionsInMemory
from lmchat.errors import LMChatError, SessionPurged
from lmchat.sessions.message import new_id
from lmchat.storage.store import Store

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


class Drafts(SessionTexts):
    """The drafts by the ids of their sessions.

    A session has its id before its first prompt, so each new session has a draft of its own. Only
    on the screen is there text that is not sent. Its `PromptText` changes the drafts; `restore`
    changes one, once after the start.

    On the disk, a draft begins with the prompts that are no messages yet (`OpenSession.pending`).
    So they survive a kill of any front end.
    """

    def __init__(self, store: Store, in_memory: SessionsInMemory) -> None:
        """Read nothing yet."""
        super().__init__(store.draft, self._save_draft)
        self._store = store
        self._in_memory = in_memory
        # Ids under which the drafts of purged sessions are saved, by the ids of these sessions.
        self._other_ids: dict[str, str] = {}

    async def write(self) -> bool:
        """Write what has changed, also in sessions where nothing is typed, but a prompt waits."""
        # a prompt that leaves a draft on the disk has to be a message there
        await self._in_memory.write_unsaved()
        for opened in self._with_prompts:
            await self.load(opened.session_id)  # else its draft on the disk would be replaced
        is_written = await super().write()
        return is_written and all(opened.session_id in self._texts for opened in self._with_prompts)

    async def write_at_end(self) -> None:
        """Write what has changed, and what is shown, whatever another lmchat has done with it.

        Another window that shows the same session may have taken or cleared its draft.
        """
        await self.write()
        for opened in {self._in_memory.shown, *self._with_prompts}:
            session_id = opened.session_id
            text = self._text_to_save(session_id) if session_id in self._texts else ""
            if text and self._written.get(session_id) == text:
                try:
                    await self._store.restore_draft(session_id, text)
                except SessionPurged:  # it was deleted with its session
                    continue
                except LMChatError:
                    del self._written[session_id]  # nobody knows whether the disk has it

    def unwritten(self) -> dict[str, str]:
        """Return the drafts that are not on the disk, also where only a prompt waits."""
        unread = [one.session_id for one in self._with_prompts if one.session_id not in self._texts]
        return super().unwritten() | {one: self._text_to_save(one) for one in unread}

    @property
    def _with_prompts(self) -> list[OpenSession]:
        """The sessions with prompts that are no messages yet."""
        return [one for one in self._in_memory.all if one.pending]

    async def _save_draft(self, session_id: str, text: str) -> None:
        """Save a draft; what was typed since its session was purged belongs to no saved session."""
        try:
            await self._store.save_draft(self._other_ids.get(session_id, session_id), text)
        except SessionPurged:
            other_id = self._other_ids.setdefault(session_id, new_id())
            await self._store.save_draft(other_id, text)

    def move(self, session_id: str, other_id: str) -> None:
        """Move the draft of a session that was purged to the new session in its place."""
        self._texts[other_id] = self._texts.pop(session_id, "")
        self._written.pop(session_id, None)
        if session_id in self._other_ids:
            self.change(self._other_ids.pop(session_id), "")
        self.write_soon()

    def _text_to_save(self, session_id: str) -> str:
        """Return the prompts of a session that are no messages yet, and behind them its draft."""
        opened, draft = self._in_memory.find(session_id), self.text(session_id)
        return joined_prompts(*opened.pending, draft) if opened else draft

    async def restore(self) -> str:
        """Give the new session the drafts of earlier runs that belong to no saved session.

        Return these drafts, or an empty text. The store has moved them on the disk, too; without
        this change in memory, the next write would lose them there.
        """
        session_id = self._in_memory.new_session.session_id
        earlier = await self._store.take_drafts(session_id)
        if earlier:
            self.change(session_id, joined_prompts(earlier, self.text(session_id)))
        return earlier


def joined_prompts(*texts: str) -> str:
    """Join texts to one draft with a blank line between two of them; empty ones are left out."""
    return "\n\n".join(text for text in texts if text)
