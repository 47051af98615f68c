"""Queue of writes: messages, text of running answers, drafts and reading positions.

Only `Conversation` calls `SaveQueue.save` and `begin_answer`, and uses `PieceWriter`; its module
says when. They call `SessionTables.append` for a prompt, `begin_answer` and `add_pieces` for a
running answer, and `finish` for an ended one or a tool call. What cannot be written stays in the
queue, in memory, and is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Self

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.session import SessionHeader
from lmchat.domain.telemetry import LedgerRow
from lmchat.domain.turn import Piece
from lmchat.errors import LMChatError
from lmchat.services.attachments import Attachment
from lmchat.services.ports import ChatStore

log = logging.getLogger(__name__)

RETRY_S = 5.0
WRITE_EVERY_S = 0.17  # leaves 80 ms of the promised 250 for reading and writing
SEPARATOR = "\n\n"  # between the parts of a saved draft


class _Unsaved(Struct, frozen=True, kw_only=True):
    """Message that waits to be written, with its path and its files."""

    header: SessionHeader
    message: ChatMessage
    before: Sequence[ChatMessage]
    files: Sequence[Attachment]


class SaveQueue:
    """Queue of writes to the store; a failed write is retried until it succeeds."""

    def __init__(self, store: ChatStore, *, retry_s: float = RETRY_S) -> None:
        self.store = store
        self.warning: LMChatError | None = None  # why messages are not saved at the moment, if so
        self._retry_s = retry_s
        self._retry_timer: asyncio.TimerHandle | None = None
        self._unsaved: list[_Unsaved] = []
        self._lock = asyncio.Lock()
        self._writing: asyncio.Future[None] | None = None

    async def save(
        self,
        header: SessionHeader,
        message: ChatMessage,
        before: Sequence[ChatMessage] = (),
        files: Sequence[Attachment] = (),
    ) -> None:
        """Write a prompt after its files, or an ended answer, and wait for the disk.

        `before` is its path, which is written once more if the disk has lost it.
        """
        self._unsaved.append(_Unsaved(header=header, message=message, before=before, files=files))
        await self.write_unsaved()

    async def read_file(self, digest: str) -> bytes:
        """Return the content of an attached file, also of one that could not be written."""
        for entry in self._unsaved:
            for file in entry.files:
                if file.part.digest == digest:
                    return file.data
        return await self.store.read_file(digest)

    async def begin_answer(self, header: SessionHeader, answer: ChatMessage) -> None:
        """Create the file of a running answer, and its row if its prompt is in the database."""
        has_prompt = not self.is_unsaved(header.session_id)
        try:
            await self.store.begin_answer(header.session_id, answer, has_prompt=has_prompt)
        except LMChatError as error:
            self._note_failure(error)

    async def add_pieces(self, message_id: str, pieces: Sequence[Piece]) -> bool:
        """Append text to the file of a running answer; return False if it must be tried again."""
        try:
            await self.store.add_pieces(message_id, pieces)
        except LMChatError as error:
            self._note_failure(error)
            return False
        if self.warning is not None:
            self._write_unsaved_soon()  # if everything is saved, that ends the warning
        return True

    async def add_ledger(self, row: LedgerRow) -> None:
        if self.warning is not None:
            return
        try:
            await self.store.add_ledger(row)
        except LMChatError as error:
            log.warning("the ledger could not be written: %s", error.kind)

    def is_unsaved(self, session_id: str) -> bool:
        return any(entry.header.session_id == session_id for entry in self._unsaved)

    async def write_unsaved(self) -> None:
        """Write what is not saved; a caller that is cancelled does not cancel the writing."""
        await asyncio.shield(asyncio.ensure_future(self._write_unsaved()))

    def _write_unsaved_soon(self) -> None:
        """Write what is not saved, without waiting: another process may lock the file for long."""
        if self._writing is None or self._writing.done():
            self._writing = asyncio.ensure_future(self._write_unsaved())

    async def _write_unsaved(self) -> None:
        """Write in order, one writer at a time; a session that fails does not delay the others."""
        async with self._lock:
            failed: set[str] = set()
            for entry in list(self._unsaved):
                if entry.header.session_id in failed:
                    continue
                try:
                    await self._write(entry)
                except LMChatError as error:
                    failed.add(entry.header.session_id)
                    self._note_failure(error)
                else:
                    self._unsaved = [other for other in self._unsaved if other is not entry]
            if not failed:
                self.warning = None

    async def _write(self, entry: _Unsaved) -> None:
        for file in entry.files:
            await self.store.save_file(file.data)
        messages = [entry.message]
        if await self._are_ancestors_lost(entry):
            log.warning("what this session began with was gone from the disk; it is written again")
            messages = [*entry.before, entry.message]
        for message in messages:
            await self._write_message(entry.header, message)

    async def _write_message(self, header: SessionHeader, message: ChatMessage) -> None:
        has_running_row = message.role in (Role.ASSISTANT, Role.TOOL)  # since it began to stream
        if has_running_row:
            await self.store.finish(header.session_id, message)
        else:
            await self.store.append(header, message)

    async def _are_ancestors_lost(self, entry: _Unsaved) -> bool:
        parent_id = entry.message.parent_id
        if not entry.before or parent_id is None:
            return False
        return not await self.store.has_message(parent_id)

    def _note_failure(self, error: LMChatError) -> None:
        if self.warning is None:
            log.warning("the store failed: %s", error.kind)
        self.warning = error
        if self._retry_timer is None:
            self._retry_timer = asyncio.get_running_loop().call_later(self._retry_s, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        if self._unsaved:  # else the warning is about a running answer: its writer tries again
            self._write_unsaved_soon()


class SavedTexts:
    """Draft or reading position of each session, written to the disk when it has changed."""

    def __init__(self, store: ChatStore, *, is_draft: bool) -> None:
        self._store = store
        self._is_draft = is_draft
        self._texts: dict[str, str] = {}
        self._written: dict[str, str] = {}
        self._wanted: dict[str, str] = {}
        self._lock = asyncio.Lock()

    def note(self, session_id: str, text: str, waiting: Sequence[str] = ()) -> None:
        """Take over a text; on the disk, messages that wait are a part of it."""
        self._texts[session_id] = text
        self._wanted[session_id] = SEPARATOR.join(part for part in (*waiting, text) if part)

    def text(self, session_id: str) -> str:
        return self._texts.get(session_id, "")

    def is_noted(self, session_id: str) -> bool:
        """Return whether the text is of this run, not of an earlier one."""
        return session_id in self._wanted

    async def load(self, session_id: str) -> str:
        """Return the text of a session, which an earlier run may have written."""
        if session_id not in self._texts:
            try:
                stored = await self._stored(session_id)
            except LMChatError:
                return ""
            if session_id not in self._texts:  # else it was noted since
                self._texts[session_id] = stored
                self._written[session_id] = stored
        return self._texts[session_id]

    async def write(self) -> None:
        """Write what has changed; after an `LMChatError`, the next call tries again."""
        async with self._lock:
            for session_id, wanted in list(self._wanted.items()):
                text = wanted
                if self._is_draft and session_id not in self._written:
                    # typed before the draft of an earlier run was read
                    earlier = await self._stored(session_id)
                    text = SEPARATOR.join(dict.fromkeys(part for part in (earlier, wanted) if part))
                if self._written.get(session_id, "") != text:
                    await self._save(session_id, text)
                self._written[session_id] = text
                if self._wanted[session_id] == wanted:  # else another text was noted since
                    self._wanted[session_id] = text

    async def _stored(self, session_id: str) -> str:
        if self._is_draft:
            return await self._store.draft(session_id)
        return await self._store.bookmark(session_id)

    async def _save(self, session_id: str, text: str) -> None:
        if self._is_draft:
            await self._store.save_draft(session_id, text)
        else:
            await self._store.save_bookmark(session_id, text)


class PieceWriter:
    """Task that writes the text of a running answer.

    Pieces that cannot be written are tried again, with those that came since.
    """

    def __init__(self, save_queue: SaveQueue, message_id: str) -> None:
        self._save_queue = save_queue
        self._message_id = message_id
        self._pieces: list[Piece] = []
        self._has_pieces = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._write_all(), name=f"pieces-{self._message_id}")
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop writing; the ended answer holds what was not written yet."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    def add(self, *pieces: Piece) -> None:
        if pieces:
            self._pieces += pieces
            self._has_pieces.set()

    async def _write_all(self) -> None:
        while True:
            await self._has_pieces.wait()
            await asyncio.sleep(WRITE_EVERY_S)
            pieces = self._pieces
            self._pieces = []
            self._has_pieces.clear()
            if not await self._save_queue.add_pieces(self._message_id, pieces):
                self._pieces = [*pieces, *self._pieces]
                self._has_pieces.set()
