"""What is saved beside the messages of a session: its draft, its place, options of a new one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from lmchat.attachments.attachment import Attachment
from lmchat.chat.save_queue import SaveQueue
from lmchat.errors import LMChatError, SessionNotFound, StoreUnavailable
from lmchat.sessions.attached_files import file_line, split_draft
from lmchat.storage.store import Store

SEPARATOR = "\n\n"  # between the parts of a saved draft
_SAMPLING_ID = "sampling"
"""Id of the draft that holds the options of a session without messages, as JSON."""


class SavedTexts:
    """Drafts, or reading positions, of all sessions; `write` writes those that have changed.

    Each is a text. The draft of a session that has no prompt yet has the id "". Another lmchat may
    have a draft of the same id: on the disk, both are in one text.
    """

    def __init__(self, store: Store, *, is_draft: bool) -> None:
        self._store = store
        self._is_draft = is_draft
        self._texts: dict[str, str] = {}  # as the screen shows them
        self._to_write: dict[str, str] = {}  # as they should be on the disk, noted in this run
        self._own: dict[str, str] = {}  # what of this lmchat was last read or written there
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

    def is_noted(self, session_id: str) -> bool:
        """Return whether `note` was called for a session in this run."""
        return session_id in self._to_write

    async def load(self, session_id: str) -> str:
        """Return the text of a session from memory, or from the disk if memory has none.

        Return an empty text if the disk cannot be read; the next call then reads again.
        """
        if session_id not in self._texts:
            try:
                stored_text = await self._read(session_id)
            except LMChatError:
                return ""
            if session_id not in self._texts:  # else it was noted during the reading
                self._texts[session_id] = stored_text
                self._own[session_id] = stored_text
        return self._texts[session_id]

    async def write(self) -> None:
        """Write the texts that have changed.

        Raises `LMChatError` after the first one that cannot be written; the next call tries it and
        the later ones again.
        """
        async with self._lock:
            for session_id, text in list(self._to_write.items()):
                own = self._own.get(session_id)  # None: unread, so all that is there stays
                if own == text:
                    continue
                if self._is_draft:
                    stored_text = await self._read(session_id)
                    if stored_text != text or own is not None:
                        await self._store.save_draft(
                            session_id, _with_part(stored_text, own or "", text)
                        )
                else:
                    await self._store.save_bookmark(session_id, text)
                self._own[session_id] = text

    async def _read(self, session_id: str) -> str:
        if self._is_draft:
            return await self._store.draft(session_id)
        return await self._store.bookmark(session_id)


def joined_prompts(*texts: str) -> str:
    """Join texts to one draft with a blank line between two of them; empty ones are left out."""
    return SEPARATOR.join(text for text in texts if text)


def _with_part(stored_text: str, old_part: str, new_part: str) -> str:
    """Return a stored draft with a new part in place of an old one; else the new part is added."""
    if old_part:
        before, found, after = f"{SEPARATOR}{stored_text}{SEPARATOR}".partition(
            f"{SEPARATOR}{old_part}{SEPARATOR}"
        )
        if found:
            before, after = before.removeprefix(SEPARATOR), after.removesuffix(SEPARATOR)
            return joined_prompts(before, new_part, after)
    return joined_prompts(stored_text, new_part)


# Options of a session without messages


async def save_sampling(
    save_queue: SaveQueue, session_id: str, options: Mapping[str, object]
) -> None:
    """Save the options of a session; those of a new one are kept beside its draft."""
    await save_queue.write_unsaved()  # one of these messages may create the session
    store = save_queue.store
    try:
        await store.update_session(session_id, {"sampling": options})
    except SessionNotFound:
        await store.save_draft(_SAMPLING_ID, json.dumps(options) if options else "")


async def kept_sampling(store: Store) -> dict[str, Any]:
    """Return the options that an earlier run has kept; an empty dict without any.

    Damaged ones count as none.
    """
    text = await store.draft(_SAMPLING_ID)
    options: Any = {}
    with suppress(ValueError, RecursionError):  # damaged; an empty text is no JSON either
        options = json.loads(text)
    return options if isinstance(options, dict) else {}


async def forget_sampling(store: Store) -> None:
    """Remove the kept options, once their session is on the disk.

    If that fails, the next new session has them, too.
    """
    with suppress(LMChatError):
        await store.save_draft(_SAMPLING_ID, "")


# Files


class DraftFiles:
    """Files of drafts and queued prompts, each a line there (`attached_files.file_line`)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unsaved: dict[str, bytes] = {}  # what could not be stored, by digest

    async def add(self, attachment: Attachment) -> str:
        """Store a file, and return its line, to be inserted into the draft.

        If the store fails, the content is kept in memory, and is stored with its prompt.
        """
        try:
            await self._store.save_file(attachment.data)
        except StoreUnavailable:
            self._unsaved[attachment.part.digest] = attachment.data
        return file_line(attachment.part)

    def split(self, draft: str) -> tuple[str, list[Attachment]]:
        """Return the text of a draft without the lines of its files, and these files.

        A file has its content only if it could not be stored.
        """
        text, files = split_draft(draft)
        return text, [
            Attachment(part=part, data=self._unsaved.get(part.digest, b"")) for part in files
        ]
