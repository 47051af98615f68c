"""Queue of writes: messages, changes of headers, and the text of running answers.

What cannot be written stays in memory, and is tried again by the next write, every few
seconds, and at the end of lmchat.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import LMChatError, SessionNotFound
from lmchat.core.sessions.journal_entries import JournalEntry
from lmchat.core.sessions.message import ChatMessage, Role
from lmchat.core.sessions.session import SessionHeader
from lmchat.core.sessions.tokens import TokenProbabilities
from lmchat.core.storage.store import Store

_logger = logging.getLogger(__name__)

RETRY_S = 5.0
# text is promised to be on the disk after 250 ms; 80 ms are for reading and writing
WRITE_EVERY_S = 0.17

AppendPrompt = Callable[[SessionHeader, ChatMessage], Awaitable[None]]
_PROMPTS = (Role.SYSTEM, Role.USER)
_Unsaved = tuple[SessionHeader, ChatMessage, Sequence[TokenProbabilities]]


class _Change(Struct):
    """Change of some fields of a header."""

    header: SessionHeader  # with the change; once written, as stored
    fields: Mapping[str, object]
    error: SessionNotFound | None = None


class SaveQueue:
    """Queue of writes to the store; what cannot be written is tried until it can."""

    def __init__(
        self, store: Store, append_prompt: AppendPrompt, *, retry_s: float = RETRY_S
    ) -> None:
        """`append_prompt` writes the last unsaved prompt of a session, which leaves its draft."""
        self.store = store
        self._append_prompt = append_prompt
        self.warning: LMChatError | None = None  # until all is saved
        self._retry_s = retry_s
        self._retrying: asyncio.Task[None] | None = None  # while there is a warning
        self._unsaved: list[_Unsaved] = []  # in the order of `save`
        # the last by session id and what it changes
        self._changes: dict[tuple[str, str], _Change] = {}
        self._lock = asyncio.Lock()

    async def save(
        self,
        header: SessionHeader,
        *messages: ChatMessage,
        choices: Sequence[TokenProbabilities] = (),
    ) -> None:
        """Write messages behind all earlier unwritten ones; wait for the disk.

        A failed write sets `warning`, and is tried again.
        """
        self._unsaved += [(header, message, choices) for message in messages]
        await self.write_unsaved()

    async def change(
        self, header: SessionHeader, what: str, fields: Mapping[str, object]
    ) -> SessionHeader:
        """Change fields of a saved header, as `save` writes a message; return it with them.

        `what` is a word for the user, such as `title`. Raises `SessionNotFound`.
        """
        change = _Change(replace(header, **fields), fields)
        self._changes[header.session_id, what] = change
        await self.write_unsaved()
        if change.error is not None:
            raise change.error
        return change.header

    @property
    def unsaved_changes(self) -> list[str]:
        """Such as `the title of “Moss”`."""
        return [
            f"the {what} of “{change.header.title or 'Untitled'}”"
            for (_, what), change in self._changes.items()
        ]

    async def start_answer(self, header: SessionHeader, answer: ChatMessage) -> None:
        """Create the file of a running answer, and its row unless earlier messages are unsaved.

        A failure sets `warning`; the answer is saved at its end.
        """
        has_prompt = not self.is_unsaved(header.session_id)  # else the row would lack its parent
        try:
            await self.store.start_answer(header.session_id, answer, has_prompt=has_prompt)
        except LMChatError as error:
            self._warn(error)

    async def add_entries(self, message_id: str, entries: Sequence[JournalEntry]) -> bool:
        """Append text to the file of a running answer; False: the caller must try again."""
        try:
            await self.store.add_entries(message_id, entries)
        except LMChatError as error:
            self._warn(error)
            return False
        if not self._unsaved and not self._changes:  # else the next attempt ends the warning
            self.warning = None
        return True

    def is_unsaved(self, session_id: str) -> bool:
        return any(header.session_id == session_id for header, _, _ in self._unsaved)

    async def write_unsaved(self) -> None:
        """Try to write all, to the end even if the caller is cancelled."""
        await asyncio.shield(asyncio.ensure_future(self._write_unsaved()))

    async def _write_unsaved(self) -> None:
        """Write messages in order, then changes of headers, one caller after the other.

        After a failure, the rest of the session is skipped.
        """
        async with self._lock:
            failed_ids: set[str] = set()
            for entry in list(self._unsaved):  # `save` may add others during a write
                header, message, choices = entry
                if header.session_id in failed_ids:
                    continue
                try:
                    if message.role not in _PROMPTS:  # it has a row since it started
                        await self.store.end_answer(header.session_id, message, choices)
                    elif self._has_prompt_behind(entry):
                        await self.store.append(header, message)
                    else:
                        await self._append_prompt(header, message)
                except LMChatError as error:
                    failed_ids.add(header.session_id)
                    self._warn(error)
                else:
                    self._unsaved = [other for other in self._unsaved if other is not entry]
            for key, change in list(self._changes.items()):
                if key[0] in failed_ids:
                    continue
                try:
                    change.header = await self.store.update_session(key[0], change.fields)
                except SessionNotFound as error:
                    change.error = error
                except LMChatError as error:
                    failed_ids.add(key[0])
                    self._warn(error)
                    continue
                if self._changes[key] is change:  # else a later one is to be written
                    del self._changes[key]
            if not failed_ids:
                self.warning = None

    def _has_prompt_behind(self, entry: _Unsaved) -> bool:
        behind = self._unsaved[self._unsaved.index(entry) + 1 :]
        return any(
            header.session_id == entry[0].session_id and message.role in _PROMPTS
            for header, message, _ in behind
        )

    def _warn(self, error: LMChatError) -> None:
        """Log only the first error since all was saved."""
        if self.warning is None:
            _logger.warning("the store failed: %s", error.kind)
        self.warning = error
        if self._retrying is None or self._retrying.done():
            self._retrying = asyncio.create_task(self._retry_until_saved(), name="unsaved messages")

    async def _retry_until_saved(self) -> None:
        """Retry; without unsaved messages, the warning is about a running answer.

        `journal_writer` writes its text again, and ends the warning.
        """
        while self.warning is not None:
            await asyncio.sleep(self._retry_s)
            if self._unsaved or self._changes:
                await self._write_unsaved()


@asynccontextmanager
async def journal_writer(
    save_queue: SaveQueue, message_id: str
) -> AsyncIterator[list[JournalEntry]]:
    """Write the entries of the yielded list to the file of a running answer.

    The rest is saved with the ended answer.
    """
    entries: list[JournalEntry] = []
    writing = _write_entries(save_queue, message_id, entries)
    task = asyncio.create_task(writing, name=f"journal-{message_id}")
    try:
        yield entries
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _write_entries(
    save_queue: SaveQueue, message_id: str, entries: list[JournalEntry]
) -> None:
    """Try entries again together with later ones."""
    while True:
        await asyncio.sleep(WRITE_EVERY_S)
        taken = tuple(entries)
        if taken and await save_queue.add_entries(message_id, taken):
            del entries[: len(taken)]  # entries that came during the write stay
