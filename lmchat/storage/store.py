"""SQLite store of all sessions: implements `services.ports.ChatStore`, which documents its methods.

A running answer is a row in the state `streaming` and a file beside the database: `begin_answer` makes both
(without its prompt in the tables, the file alone), and `add_pieces` appends to the file. So is a tool call
that waits for approval or runs; its row and its file hold the call from the beginning. `finish`, also of a
stopped answer, writes the whole answer into the tables `messages` and `parts` and removes the file. After
`kill -9`, the file remains without a lock: the next time the database or the session is opened,
`_recover_killed_answers` writes its text into the tables.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from lmchat.domain.message import ChatMessage, interrupted, now
from lmchat.domain.session import (
    TRASH_DAYS,
    MessagePath,
    SearchHit,
    Session,
    SessionHeader,
)
from lmchat.domain.telemetry import LedgerRow
from lmchat.domain.turn import parts_of
from lmchat.errors import StoreUnavailable
from lmchat.storage import attached_files, purging, read, repair, search, usage, write
from lmchat.storage.database import Connection, Database, is_sound
from lmchat.storage.row_values import MESSAGE_COLUMNS, loaded, message_from
from lmchat.storage.running_answer import (
    RunningAnswers,
    answer_path,
    arrived_parts,
    is_running,
    read_answer,
)
from lmchat.storage.schema import transaction
from lmchat.storage.session_rows import SessionRows, read_rows
from lmchat.storage.usage import MetricsStore
from lmchat.threads import run_abandonable

_KILLED = "lmchat ended"


class SqliteStore:
    """Sessions, drafts, prompt history, ledger and metrics in one file; opened with the first call."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = now) -> None:
        self._database = Database(
            path, self._after_opening, lambda: repair.begin_anew(path, clock())
        )
        self._running = RunningAnswers(path)
        self._files = path.with_name("attachments")
        self._clock = clock
        self.metrics = MetricsStore(self._database)

    @property
    def notice(self) -> str:
        """Sentence for the user about a file that was damaged."""
        return self._database.notice

    async def open(self) -> str:
        await self._database.read(lambda _: None)
        return self.notice

    async def daily_check(self) -> str:
        known, path = self.notice, self._database.path
        if await self._database.read(repair.is_due, self._clock()):
            if not await run_abandonable(lambda: is_sound(path)):
                await self._database.read(repair.meet_damage)
            else:
                await self._database.read(attached_files.remove_unnamed, self._files, self._clock())
            await run_abandonable(lambda: repair.back_up(path, self._clock()))
        with suppress(StoreUnavailable):  # what is not indexed is found too; the next start goes on
            while await self._database.write(search.index_batch):
                pass
        return "" if self.notice == known else self.notice

    async def list_sessions(self, *, is_trash: bool = False) -> tuple[SessionHeader, ...]:
        return await self._database.read(read.headers, is_trash=is_trash)

    async def find(self, id_or_prefix: str) -> str:
        return await self._database.read(read.full_id, id_or_prefix)

    async def open_session(self, session_id: str, *, count: int | None = None) -> Session:
        with suppress(
            StoreUnavailable
        ):  # without room to save it, what had arrived is shown all the same
            await self._database.read(self._recover_killed_answers)
        return await self._database.read(read.chosen_path, session_id, count)

    async def read_back(
        self, session_id: str, message_id: str, *, count: int
    ) -> tuple[MessagePath, str | None]:
        return await self._database.read(read.newest, session_id, message_id, count)

    async def tree(self, session_id: str) -> tuple[ChatMessage, ...]:
        return await self._database.read(read.all_messages, session_id)

    async def save_file(self, data: bytes) -> str:
        return await run_abandonable(lambda: attached_files.save(self._files, data))

    async def read_file(self, digest: str) -> bytes:
        return await run_abandonable(lambda: attached_files.read(self._files, digest))

    async def append(self, session: SessionHeader, message: ChatMessage) -> None:
        await self._database.write(write.append, session, message, self._clock())

    async def append_branch(
        self, session: SessionHeader, messages: Sequence[ChatMessage]
    ) -> Session:
        return await self._database.write(write.append_branch, session, messages, self._clock())

    async def begin_answer(
        self, session_id: str, message: ChatMessage, *, has_prompt: bool = True
    ) -> None:
        await self._running.begin(session_id, message)
        if has_prompt:
            await self._database.write(write.begin, session_id, message, self._clock())

    async def has_message(self, message_id: str) -> bool:
        return await self._database.read(write.number_of, message_id) is not None

    async def add_pieces(self, message_id: str, pieces: Sequence[tuple[str, str]]) -> None:
        await self._running.add(message_id, pieces)

    async def finish(self, session_id: str, message: ChatMessage) -> None:
        await self._database.write(write.finish, session_id, message, self._clock())
        await self._running.end(message.message_id)

    async def set_leaf(self, session_id: str, message_id: str) -> Session:
        return await self._database.write(write.set_leaf, session_id, message_id)

    async def branch_names(self, session_id: str) -> Mapping[str, str]:
        return await self._database.read(read.branch_names, session_id)

    async def name_branch(self, session_id: str, message_id: str, name: str) -> None:
        await self._database.write(write.name_branch, session_id, message_id, name)

    async def delete_message(self, session_id: str, message_id: str) -> Session:
        return await self._database.write(write.hide, session_id, message_id, self._clock())

    async def restore_message(self, session_id: str, message_id: str) -> Session:
        return await self._database.write(write.unhide, session_id, message_id)

    async def last_deleted_message(
        self, session_id: str, *, since: datetime | None = None
    ) -> str | None:
        return await self._database.read(read.last_hidden, session_id, since)

    async def update_session(self, session_id: str, changes: Mapping[str, object]) -> SessionHeader:
        return await self._database.write(write.update_session, session_id, changes)

    async def purge(self, *session_ids: str) -> None:
        await asyncio.shield(self._purge(session_ids))

    async def _purge(self, session_ids: Sequence[str]) -> None:
        purged = await self._database.write(purging.purge_sessions, session_ids)
        await self._database.read(self._forget, purged)

    async def fork(self, session_id: str, message_id: str) -> Session:
        return await self._database.write(write.fork, session_id, message_id, self._clock())

    async def import_session(self, session: Session) -> SessionHeader | None:
        is_unwanted = threading.Event()
        try:
            return await self._database.write(write.bring_in, session, is_unwanted.is_set)
        except asyncio.CancelledError:
            is_unwanted.set()  # a session of a hundred thousand messages takes many seconds
            raise

    async def session_rows(self, session_id: str) -> SessionRows:
        """Return all of a session, for a copy of it in memory; raises `SessionNotFound`."""
        return await self._database.read(read_rows, session_id)

    async def search(self, query: str, *, limit: int = 20) -> tuple[SearchHit, ...]:
        return await self._database.read(search.search, query, limit)

    async def prompt_history(self, *, limit: int = 200) -> tuple[str, ...]:
        return await self._database.read(read.prompts, limit)

    async def save_draft(self, session_id: str, text: str) -> None:
        await self._database.write(write.save_draft, session_id, text)

    async def draft(self, session_id: str) -> str:
        return await self._database.read(read.draft, session_id)

    async def bookmark(self, session_id: str) -> str:
        return await self._database.read(read.bookmark, session_id)

    async def save_bookmark(self, session_id: str, bookmark: str) -> None:
        await self._database.write(write.save_bookmark, session_id, bookmark)

    async def add_ledger(self, row: LedgerRow) -> None:
        await self._database.write(usage.add_row, row, self._clock())

    async def ledger_rows(self, *, since: datetime | None = None) -> tuple[LedgerRow, ...]:
        return await self._database.read(usage.rows_since, since)

    async def speeds(self) -> Mapping[tuple[str, str], float]:
        return await self._database.read(usage.speeds)

    async def aclose(self) -> None:
        await self._running.aclose()
        await self._database.aclose()

    def _after_opening(self, connection: Connection) -> None:
        """Put an opened file in order; each step is a transaction of its own."""
        self._recover_killed_answers(connection)
        if not connection.is_read_only:
            self._empty_trash(connection)
            repair.remove_old_copies(connection.path, days=TRASH_DAYS)

    def _forget(self, connection: Connection, purged: purging.Purged) -> None:
        repair.remove_copies(connection.path)  # first: that makes room for the rest
        purging.clean_up(connection, purged, self._files)

    def _empty_trash(self, connection: Connection) -> None:
        """Delete permanently what has been in the trash for long, also from the copies."""
        moment = self._clock()
        purged = purging.purge_expired(connection, moment)
        if not purged.is_nothing:
            purging.clean_up(connection, purged, self._files)
            repair.renew_copies(connection.path, moment)

    def _recover_killed_answers(self, connection: Connection) -> None:
        """Save the answers of killed processes as interrupted, with the text in their files."""
        if connection.is_read_only:
            return
        store = connection.path
        files = [
            path for path in store.parent.glob(f"{store.name}-answer-*") if not is_running(path)
        ]
        with suppress(FileNotFoundError):  # another process was faster
            files.sort(key=lambda path: path.stat().st_mtime_ns)  # an answer before its tool calls
        query = "select number, message_id from messages where state = 'streaming'"
        for number, message_id in connection.execute(query).fetchall():
            if not is_running(answer_path(store, loaded(message_id))):
                self._recover_row(connection, number, loaded(message_id))
        for path in files:
            self._recover_file(connection, path)

    def _recover_row(self, connection: Connection, number: int, message_id: str) -> None:
        query = f"select {MESSAGE_COLUMNS}, session_id from messages where number = ? and state = 'streaming'"
        with transaction(connection):
            row = connection.execute(query, (number,)).fetchone()
            if row is not None:  # else another process was faster
                message = message_from(row[:-1], arrived_parts(connection, number, message_id))
                if message is not None:
                    write.finish(connection, row[-1], interrupted(message, _KILLED), self._clock())

    def _recover_file(self, connection: Connection, path: Path) -> None:
        """Remove a file, once its answer is saved, if its row could not be written or was lost."""
        # another process was faster, or the head is damaged
        with suppress(OSError, ValueError, OverflowError):
            head, pieces = read_answer(path)
            if head is not None and pieces:
                with transaction(connection):
                    if write.number_of(connection, head.message_id) is None:
                        message = interrupted(head.message(parts_of(pieces)), _KILLED)
                        write.finish(connection, head.session_id, message, self._clock())
            path.unlink()
