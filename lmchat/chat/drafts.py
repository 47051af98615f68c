"""Drafts of all sessions: what is typed and not sent, and on the disk also what is not saved."""

from __future__ import annotations

from lmchat.chat.session import OpenSession
from lmchat.chat.session_texts import SessionTexts
from lmchat.chat.sessions_in_memory import SessionsInMemory
from lmchat.errors import LMChatError, SessionPurged
from lmchat.sessions.message import new_id
from lmchat.storage.store import Store


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
