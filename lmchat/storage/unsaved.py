"""Store of sessions that are not kept: implements `services.ports.ChatStore`, which documents its methods.

What it writes is in memory only: an SQLite database without a file, and dictionaries. Saved sessions are
read from the disk; the first change of one copies it into memory, where it keeps its id. Only the ledger,
which holds figures and no text, is written to the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from hashlib import sha256

from lmchat.domain.message import ChatMessage, now
from lmchat.domain.session import MessagePath, SearchHit, Session, SessionHeader
from lmchat.domain.telemetry import LedgerRow
from lmchat.domain.turn import RESET
from lmchat.errors import SessionNotFound, WrongUse
from lmchat.storage import read, search, write
from lmchat.storage.database import Connection, MemoryDatabase
from lmchat.storage.purging import purge_sessions
from lmchat.storage.row_values import stored
from lmchat.storage.session_rows import write_rows
from lmchat.storage.store import SqliteStore
from lmchat.storage.usage import MetricsStore

NO_IMPORT = "A temporary chat saves nothing, so it cannot import."
_WITHOUT = "Start lmchat without --temporary."


class UnsavedStore:
    """Sessions, drafts, prompts and files in memory, over the saved ones, which stay as they are."""

    def __init__(self, saved: SqliteStore, *, clock: Callable[[], datetime] = now) -> None:
        self._saved = saved
        self._memory = MemoryDatabase()
        self._clock = clock
        self._files: dict[str, bytes] = {}
        self._drafts: dict[str, str] = {}
        self._bookmarks: dict[str, str] = {}
        self._opened: set[str] = set()  # ids of saved sessions that were opened
        self._own: set[str] = set()  # ids of sessions in memory
        self._copied: set[str] = set()  # those of them that are saved too
        self._copying = asyncio.Lock()

    @property
    def notice(self) -> str:
        """Sentence for the user about a file that was damaged."""
        return self._saved.notice

    @property
    def metrics(self) -> MetricsStore:
        """Counters of all runs, which are saved."""
        return self._saved.metrics

    async def open(self) -> str:
        return await self._saved.open()

    async def daily_check(self) -> str:
        return await self._saved.daily_check()

    # Sessions

    async def list_sessions(self, *, is_trash: bool = False) -> tuple[SessionHeader, ...]:
        saved = await self._saved.list_sessions(is_trash=is_trash)
        own = await self._memory.run(read.headers, is_trash=is_trash)
        found = [*own, *(header for header in saved if header.session_id not in self._own)]
        return tuple(sorted(found, key=_trash_order if is_trash else _list_order, reverse=True))

    async def find(self, id_or_prefix: str) -> str:
        if id_or_prefix == "last" and (headers := await self.list_sessions()):
            return max(headers, key=lambda header: header.updated_at).session_id
        try:
            return await self._memory.run(read.full_id, id_or_prefix)
        except SessionNotFound:
            return await self._saved.find(id_or_prefix)

    async def open_session(self, session_id: str, *, count: int | None = None) -> Session:
        if session_id in self._own:
            return await self._memory.run(read.chosen_path, session_id, count)
        session = await self._saved.open_session(session_id, count=count)
        self._opened.add(session_id)
        return session

    async def read_back(
        self, session_id: str, message_id: str, *, count: int
    ) -> tuple[MessagePath, str | None]:
        if session_id in self._own:
            return await self._memory.run(read.newest, session_id, message_id, count)
        return await self._saved.read_back(session_id, message_id, count=count)

    async def update_session(self, session_id: str, changes: Mapping[str, object]) -> SessionHeader:
        await self._copy(session_id)
        return await self._memory.run(write.update_session, session_id, changes)

    async def purge(self, *session_ids: str) -> None:
        if not self._own - self._copied >= set(session_ids):
            words = "A temporary chat cannot delete saved sessions permanently."
            raise WrongUse(words, hint=_WITHOUT)
        await self._memory.run(purge_sessions, session_ids)

    async def fork(self, session_id: str, message_id: str) -> Session:
        await self._copy(session_id)
        session = await self._memory.run(write.fork, session_id, message_id, self._clock())
        self._own.add(session.header.session_id)
        return session

    async def import_session(self, session: Session) -> SessionHeader | None:  # noqa: ARG002 - as in the protocol
        raise WrongUse(NO_IMPORT, hint=_WITHOUT)

    async def search(self, query: str, *, limit: int = 20) -> tuple[SearchHit, ...]:
        own = await self._memory.run(search.search, query, limit)
        wanted = limit
        while True:
            found = await self._saved.search(query, limit=wanted)
            saved = [hit for hit in found if hit.session_id not in self._own]
            if len(saved) >= limit or len(found) < wanted:
                return (*own, *saved)[:limit]
            wanted *= 2

    # Messages

    async def append(self, session: SessionHeader, message: ChatMessage) -> None:
        await self._take(session.session_id)
        await self._memory.run(write.append, session, message, self._clock())

    async def append_branch(
        self, session: SessionHeader, messages: Sequence[ChatMessage]
    ) -> Session:
        await self._take(session.session_id)
        return await self._memory.run(write.append_branch, session, messages, self._clock())

    async def begin_answer(
        self, session_id: str, message: ChatMessage, *, has_prompt: bool = True
    ) -> None:
        if has_prompt:
            await self._take(session_id)
            await self._memory.run(write.begin, session_id, message, self._clock())

    async def has_message(self, message_id: str) -> bool:
        if await self._memory.run(write.number_of, message_id) is not None:
            return True
        return await self._saved.has_message(message_id)

    async def add_pieces(self, message_id: str, pieces: Sequence[tuple[str, str]]) -> None:
        await self._memory.run(_add_pieces, message_id, pieces)

    async def finish(self, session_id: str, message: ChatMessage) -> None:
        await self._take(session_id)
        await self._memory.run(write.finish, session_id, message, self._clock())

    async def set_leaf(self, session_id: str, message_id: str) -> Session:
        await self._copy(session_id)
        return await self._memory.run(write.set_leaf, session_id, message_id)

    async def tree(self, session_id: str) -> tuple[ChatMessage, ...]:
        if session_id in self._own:
            return await self._memory.run(read.all_messages, session_id)
        return await self._saved.tree(session_id)

    async def branch_names(self, session_id: str) -> Mapping[str, str]:
        if session_id in self._own:
            return await self._memory.run(read.branch_names, session_id)
        return await self._saved.branch_names(session_id)

    async def name_branch(self, session_id: str, message_id: str, name: str) -> None:
        await self._copy(session_id)
        await self._memory.run(write.name_branch, session_id, message_id, name)

    async def delete_message(self, session_id: str, message_id: str) -> Session:
        await self._copy(session_id)
        return await self._memory.run(write.hide, session_id, message_id, self._clock())

    async def restore_message(self, session_id: str, message_id: str) -> Session:
        await self._copy(session_id)
        return await self._memory.run(write.unhide, session_id, message_id)

    async def last_deleted_message(
        self, session_id: str, *, since: datetime | None = None
    ) -> str | None:
        if session_id in self._own:
            return await self._memory.run(read.last_hidden, session_id, since)
        return await self._saved.last_deleted_message(session_id, since=since)

    # Files, prompts, drafts and figures

    async def save_file(self, data: bytes) -> str:
        digest = sha256(data).hexdigest()
        self._files[digest] = data
        return digest

    async def read_file(self, digest: str) -> bytes:
        if digest in self._files:
            return self._files[digest]
        return await self._saved.read_file(digest)

    async def prompt_history(self, *, limit: int = 200) -> tuple[str, ...]:
        own = await self._memory.run(read.prompts, limit)
        saved = await self._saved.prompt_history(limit=limit)
        return tuple(dict.fromkeys((*own, *saved)))[:limit]

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

    async def add_ledger(self, row: LedgerRow) -> None:
        await self._saved.add_ledger(row)

    async def ledger_rows(self, *, since: datetime | None = None) -> tuple[LedgerRow, ...]:
        return await self._saved.ledger_rows(since=since)

    async def speeds(self) -> Mapping[tuple[str, str], float]:
        return await self._saved.speeds()

    async def aclose(self) -> None:
        await self._memory.aclose()
        await self._saved.aclose()

    async def _take(self, session_id: str) -> None:
        """Copy a saved session that was opened; any other begins in memory, without a look at the disk."""
        if session_id in self._opened:
            await self._copy(session_id)
        self._own.add(session_id)

    async def _copy(self, session_id: str) -> None:
        """Copy a saved session into memory, unless it is there."""
        async with self._copying:
            if session_id not in self._own:
                rows = await self._saved.session_rows(session_id)
                await self._memory.run(write_rows, rows)
                self._own.add(session_id)
                self._copied.add(session_id)


def _list_order(header: SessionHeader) -> tuple[bool, datetime]:
    return header.is_pinned, header.updated_at


def _trash_order(header: SessionHeader) -> datetime:
    return header.deleted_at or header.updated_at


def _add_pieces(connection: Connection, message_id: str, pieces: Sequence[tuple[str, str]]) -> None:
    """Keep the text of a running answer, for a look at its session; `write.finish` removes it."""
    number = write.number_of(connection, message_id)
    if number is None:
        return
    for kind, text in pieces:
        if kind == RESET[0]:
            connection.execute("delete from pieces where number = ?", (number,))
        else:
            values = (number, kind, stored(text))
            connection.execute("insert into pieces (number, kind, text) values (?, ?, ?)", values)
