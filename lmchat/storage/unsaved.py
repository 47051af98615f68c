"""Store of temporary chats: implements `services.ports.ChatStore`, which documents its methods.

What `UnsavedStore` writes is in memory only: in an SQLite database without a file, and in
dictionaries. Saved sessions are read from the disk. The first change of a saved session copies it
into memory, where it keeps its id. Only the turn records and the counters, which hold no text, are
written to the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from hashlib import sha256

from lmchat.errors import SessionNotFound, WrongUse
from lmchat.sessions.message import ChatMessage, JournalEntry, TokenProbabilities, now
from lmchat.sessions.session import MessagePath, SearchHit, Session, SessionHeader
from lmchat.sessions.stats import TurnRecord
from lmchat.storage.database import MemoryDatabase
from lmchat.storage.metrics_store import MetricsStore
from lmchat.storage.purging import purge_sessions
from lmchat.storage.running_answer import pieces_after_reset
from lmchat.storage.session_rows import write_rows
from lmchat.storage.session_tables import SessionTables
from lmchat.storage.store import SqliteStore

_NO_IMPORT = "A temporary chat saves nothing, so it cannot import."
_WITHOUT_TEMPORARY = "Start lmchat without --temporary."


class UnsavedStore:
    """Sessions, drafts, prompts and files in memory, above saved ones that do not change."""

    def __init__(self, saved: SqliteStore, *, clock: Callable[[], datetime] = now) -> None:
        self._saved = saved
        self._pieces: dict[str, list[JournalEntry]] = {}  # of running answers, by their message ids
        self._database = MemoryDatabase(self._pieces)
        self._memory = SessionTables(self._database, clock)
        self._files: dict[str, bytes] = {}  # attached ones, by digest
        self._drafts: dict[str, str] = {}  # by session id
        self._bookmarks: dict[str, str] = {}  # by session id
        self._opened_ids: set[str] = set()  # of sessions that were opened, so they are not new
        self._memory_ids: set[str] = set()  # of sessions in memory
        self._copied_ids: set[str] = set()  # of sessions in memory that are copies of saved ones
        self._copying = asyncio.Lock()  # so that a session is copied once

    @property
    def notice(self) -> str:
        """Sentence for the user about a file that was replaced."""
        return self._saved.notice

    @property
    def metrics(self) -> MetricsStore:
        """Counters of all runs, which are saved."""
        return self._saved.metrics

    async def open(self) -> str:
        return await self._saved.open()

    async def daily_check(self) -> str:
        return await self._saved.daily_check()

    async def aclose(self) -> None:
        await self._database.aclose()
        await self._saved.aclose()

    def _tables_of(self, session_id: str) -> SessionTables:
        """Return the tables in memory if they have a session, else the saved tables."""
        return self._memory if session_id in self._memory_ids else self._saved

    async def _begin_or_copy(self, session_id: str) -> SessionTables:
        """Return the tables in memory, to which the caller adds a message of a session.

        A session that was opened is a saved one or in memory already; a saved one is copied first.
        Any other session is new and begins in memory, without reading the disk.
        """
        if session_id in self._opened_ids:
            await self._copy(session_id)
        self._memory_ids.add(session_id)
        return self._memory

    async def _copy(self, session_id: str) -> SessionTables:
        """Copy a saved session into memory, unless memory has it; return the tables in memory.

        It is copied to the end even if the caller is cancelled: a session that is in memory without
        being noted could not be copied again. Raises `SessionNotFound`.
        """
        await asyncio.shield(self._copy_once(session_id))
        return self._memory

    async def _copy_once(self, session_id: str) -> None:
        async with self._copying:
            if session_id not in self._memory_ids:
                rows = await self._saved.session_rows(session_id)
                await self._database.write(partial(write_rows, rows=rows))
                self._memory_ids.add(session_id)
                self._copied_ids.add(session_id)

    # Sessions

    async def list_sessions(self, *, is_trash: bool = False) -> tuple[SessionHeader, ...]:
        """Return the sessions in memory and the saved ones that are not copied, sorted together."""
        saved = await self._saved.list_sessions(is_trash=is_trash)
        in_memory = await self._memory.list_sessions(is_trash=is_trash)
        not_copied = [header for header in saved if header.session_id not in self._memory_ids]
        order = _trash_order if is_trash else _list_order
        return tuple(sorted([*in_memory, *not_copied], key=order, reverse=True))

    async def find(self, id_or_prefix: str) -> str:
        """Return the full id of a session in memory, else that of a saved session.

        For the text `last`, return the id of the session that was changed last in either place.
        Raises `SessionNotFound`.
        """
        if id_or_prefix == "last":
            headers = await self.list_sessions()
            if headers:  # without sessions, both calls of `find` below raise the error
                return max(headers, key=lambda header: header.updated_at).session_id
        try:
            return await self._memory.find(id_or_prefix)
        except SessionNotFound:
            return await self._saved.find(id_or_prefix)

    async def open_session(self, session_id: str, *, count: int | None = None) -> Session:
        session = await self._tables_of(session_id).open_session(session_id, count=count)
        self._opened_ids.add(session_id)
        return session

    async def update_session(self, session_id: str, changes: Mapping[str, object]) -> SessionHeader:
        memory = await self._copy(session_id)
        return await memory.update_session(session_id, changes)

    async def purge(self, *session_ids: str) -> None:
        """Delete sessions that are in memory only.

        If one of them is a saved session, delete none and raise `WrongUse`.
        """
        unsaved_ids = self._memory_ids - self._copied_ids
        if not unsaved_ids.issuperset(session_ids):
            raise WrongUse(
                "A temporary chat cannot delete saved sessions permanently.",
                hint=_WITHOUT_TEMPORARY,
            )
        await self._database.write(partial(purge_sessions, session_ids=session_ids))

    async def fork(self, session_id: str, message_id: str) -> Session:
        """Copy the path to a message into a new session in memory, and return that session."""
        memory = await self._copy(session_id)
        session = await memory.fork(session_id, message_id)
        self._memory_ids.add(session.header.session_id)
        return session

    async def import_session(self, session: Session) -> SessionHeader | None:  # noqa: ARG002
        raise WrongUse(_NO_IMPORT, hint=_WITHOUT_TEMPORARY)

    async def search(self, query: str, *, limit: int = 20) -> tuple[SearchHit, ...]:
        """Return at most `limit` hits: those in memory, then those in saved, not copied sessions.

        The saved session of a copy is found too, and its hits are dropped. If too few others are
        left, the saved sessions are searched again with twice the limit.
        """
        hits_in_memory = await self._memory.search(query, limit=limit)
        saved_limit = limit
        while True:
            saved_hits = await self._saved.search(query, limit=saved_limit)
            not_copied = [hit for hit in saved_hits if hit.session_id not in self._memory_ids]
            has_all = len(saved_hits) < saved_limit
            if has_all or len(not_copied) >= limit:
                return (*hits_in_memory, *not_copied)[:limit]
            saved_limit *= 2

    # Messages

    async def read_back(
        self, session_id: str, message_id: str, *, count: int
    ) -> tuple[MessagePath, str | None]:
        return await self._tables_of(session_id).read_back(session_id, message_id, count=count)

    async def has_message(self, message_id: str) -> bool:
        if await self._memory.has_message(message_id):
            return True
        return await self._saved.has_message(message_id)

    async def append(self, session: SessionHeader, message: ChatMessage) -> None:
        memory = await self._begin_or_copy(session.session_id)
        await memory.append(session, message)

    async def append_branch(
        self, session: SessionHeader, messages: Sequence[ChatMessage]
    ) -> Session:
        """Write messages that follow each other into memory; choose the path to the last one."""
        memory = await self._begin_or_copy(session.session_id)
        return await memory.append_branch(session, messages)

    async def begin_answer(
        self, session_id: str, message: ChatMessage, *, has_prompt: bool = True
    ) -> None:
        """Write the row of an answer into memory.

        Without `has_prompt`, do nothing: the row is written by `finish`.
        """
        if has_prompt:
            memory = await self._begin_or_copy(session_id)
            await memory.begin_answer(session_id, message)

    async def add_entries(self, message_id: str, pieces: Sequence[JournalEntry]) -> None:
        """Keep the pieces of a running answer, without those before the last `RESET`."""
        earlier_pieces = self._pieces.get(message_id, [])
        self._pieces[message_id] = pieces_after_reset([*earlier_pieces, *pieces])

    async def finish(
        self, session_id: str, message: ChatMessage, choices: Sequence[TokenProbabilities] = ()
    ) -> None:
        """Write an ended answer into memory, then drop its pieces."""
        memory = await self._begin_or_copy(session_id)
        await memory.finish(session_id, message, choices)
        self._pieces.pop(message.message_id, None)

    async def token_choices(self, message_id: str) -> tuple[TokenProbabilities, ...]:
        if await self._memory.has_message(message_id):
            return await self._memory.token_choices(message_id)
        return await self._saved.token_choices(message_id)

    async def delete_message(self, session_id: str, message_id: str) -> Session:
        memory = await self._copy(session_id)
        return await memory.delete_message(session_id, message_id)

    async def restore_message(self, session_id: str, message_id: str) -> Session:
        memory = await self._copy(session_id)
        return await memory.restore_message(session_id, message_id)

    async def last_deleted_message(self, session_id: str) -> str | None:
        return await self._tables_of(session_id).last_deleted_message(session_id)

    async def set_excluded(
        self, session_id: str, message_ids: Sequence[str], *, is_excluded: bool
    ) -> None:
        memory = await self._copy(session_id)
        await memory.set_excluded(session_id, message_ids, is_excluded=is_excluded)

    # Branches

    async def tree(self, session_id: str) -> tuple[ChatMessage, ...]:
        return await self._tables_of(session_id).tree(session_id)

    async def set_leaf(self, session_id: str, message_id: str) -> Session:
        memory = await self._copy(session_id)
        return await memory.set_leaf(session_id, message_id)

    # Attached files, prompts, drafts and figures

    async def save_file(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        self._files[digest] = data
        return digest

    async def read_file(self, digest: str) -> bytes:
        if digest in self._files:
            return self._files[digest]
        return await self._saved.read_file(digest)

    async def prompt_history(self, *, limit: int = 200) -> tuple[str, ...]:
        """Return at most `limit` different prompts: those in memory, then the saved ones."""
        in_memory = await self._memory.prompt_history(limit=limit)
        saved = await self._saved.prompt_history(limit=limit)
        different_prompts = dict.fromkeys((*in_memory, *saved))
        return tuple(different_prompts)[:limit]

    async def draft(self, session_id: str) -> str:
        if session_id in self._drafts:
            return self._drafts[session_id]
        return await self._saved.draft(session_id)

    async def save_draft(self, session_id: str, text: str) -> None:
        self._drafts[session_id] = text

    async def bookmark(self, session_id: str) -> str:
        if session_id in self._bookmarks:
            return self._bookmarks[session_id]
        return await self._saved.bookmark(session_id)

    async def save_bookmark(self, session_id: str, bookmark: str) -> None:
        self._bookmarks[session_id] = bookmark

    async def add_turn_record(self, row: TurnRecord) -> None:
        await self._saved.add_turn_record(row)

    async def turn_records(self, *, since: datetime | None = None) -> tuple[TurnRecord, ...]:
        return await self._saved.turn_records(since=since)

    async def speeds(self) -> Mapping[tuple[str, str], float]:
        return await self._saved.speeds()


def _list_order(header: SessionHeader) -> tuple[bool, datetime]:
    """Return the key by which the list is sorted, largest first: pinned sessions, then newest."""
    return header.is_pinned, header.updated_at


def _trash_order(header: SessionHeader) -> datetime:
    """Return the key by which the trash is sorted, latest first: the time of the deletion."""
    return header.deleted_at or header.updated_at
