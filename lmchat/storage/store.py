"""SQLite store of all sessions: implements `services.ports.ChatStore`, which documents its methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path

from lmchat.domain.message import ChatMessage, now
from lmchat.domain.path import MessagePath
from lmchat.domain.session import ListFilter, SearchHit, Session, SessionHeader, SessionsFound
from lmchat.domain.telemetry import LedgerRow
from lmchat.storage import read, repair, retention, search, usage, write
from lmchat.storage.database import Connection, Database, Reader
from lmchat.storage.running_answer import Arriving, this_process
from lmchat.storage.usage import MetricsStore
from lmchat.threads import apart


class SqliteStore:
    """Sessions, drafts, prompt history, ledger and metrics in one file; opened with the first call."""

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = now) -> None:
        self._database = Database(
            path,
            prepare=retention.tidy,
            begin_anew=repair.begin_anew,
            index_batch=search.index_batch,
            clock=clock,
        )
        self._reader = Reader(self._database)
        self._arriving = Arriving(path)
        self._clock = clock
        self.metrics = MetricsStore(self._database)

    @property
    def notice(self) -> str:
        """A sentence to show: that the file was damaged, say; empty where all is well or not yet opened."""
        return self._database.notice

    async def open(self) -> str:
        await self._database.read(lambda _: None)
        return self.notice

    async def look_over(self) -> str:
        known, path = self.notice, self._database.path
        if not await self._database.read(repair.is_due, self._clock()):
            return ""
        if not await apart(lambda: repair.is_sound(path)):
            await self._database.read(repair.meet_damage)
        await apart(lambda: repair.back_up(path, self._clock()))
        return "" if self.notice == known else self.notice

    async def check(self) -> str:
        """Look at every page of the file; return what is wrong with it, empty where it is sound."""

        def job(connection: Connection) -> str:
            found = [str(row[0]) for row in connection.execute("pragma integrity_check(10)")]
            return "" if found == ["ok"] else "; ".join(found)

        return await self._database.read(job)

    async def list_sessions(self, *, is_trash: bool = False, limit: int = 1000) -> tuple[SessionHeader, ...]:
        return await self._database.read(read.headers, is_trash=is_trash, limit=limit)

    async def sessions_with(self, wanted: ListFilter, *, limit: int) -> SessionsFound:
        return await self._database.read(read.sessions_with, wanted, limit)

    async def find(self, id_or_prefix: str) -> str:
        return await self._database.read(read.full_id, id_or_prefix)

    async def open_session(self, session_id: str) -> Session:
        await self._database.read(retention.settle, session_id)
        return await self._database.read(read.chosen_path, session_id)

    async def open_end(self, session_id: str, *, count: int) -> Session:
        await self._database.read(retention.settle, session_id)
        return await self._database.read(read.end_of_session, session_id, count)

    async def read_back(
        self, session_id: str, message_id: str, *, count: int
    ) -> tuple[MessagePath, str | None]:
        return await self._database.read(read.newest, session_id, message_id, count)

    async def tree(self, session_id: str) -> tuple[ChatMessage, ...]:
        return await self._database.read(read.all_messages, session_id)

    async def append(self, session: SessionHeader, message: ChatMessage) -> None:
        await self._database.write_durably(write.append, session, message, self._clock())

    async def begin_answer(self, session_id: str, message: ChatMessage, *, has_prompt: bool = True) -> None:
        self._arriving.begin(session_id, message)
        if has_prompt:
            await self._database.write(write.begin, session_id, message, this_process(), self._clock())

    async def has_message(self, message_id: str) -> bool:
        return await self._database.read(write.number_of, message_id) is not None

    async def add_pieces(self, message_id: str, pieces: Sequence[tuple[str, str]]) -> bool:
        return await self._arriving.add(message_id, pieces)

    async def finish(self, session_id: str, message: ChatMessage) -> None:
        await self._database.write_durably(write.finish, session_id, message, self._clock())
        await self._arriving.end(message.message_id)

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

    async def last_deleted_message(self, session_id: str) -> str | None:
        return await self._database.read(read.last_hidden, session_id)

    async def update_session(self, session_id: str, changes: Mapping[str, object]) -> SessionHeader:
        return await self._database.write(write.update_session, session_id, changes)

    async def purge(self, session_id: str) -> None:
        streaming = await self._database.write(retention.purge, session_id)
        await self._arriving.remove(streaming)
        await self._database.read(retention.forget_purged)

    async def fork(self, session_id: str, message_id: str) -> Session:
        return await self._database.write_durably(write.fork, session_id, message_id, self._clock())

    async def import_session(self, session: Session) -> SessionHeader | None:
        return await self._database.write_durably(write.bring_in, session)

    async def search(self, query: str, *, limit: int = 20) -> tuple[SearchHit, ...]:
        return await self._reader.read(lambda connection: search.search(connection, query, limit))

    async def prompt_history(self, *, limit: int = 200) -> tuple[str, ...]:
        return await self._database.read(read.prompts, limit)

    async def save_draft(self, session_id: str, text: str) -> None:
        await self._database.write(write.save_draft, session_id, text)

    async def draft(self, session_id: str) -> str:
        return await self._database.read(read.draft, session_id)

    async def place(self, session_id: str) -> str:
        return await self._database.read(read.place, session_id)

    async def save_place(self, session_id: str, place: str) -> None:
        await self._database.write(write.save_place, session_id, place)

    async def add_ledger(self, row: LedgerRow) -> None:
        await self._database.write(usage.add_row, row, self._clock())

    async def ledger_rows(self, *, since: datetime | None = None) -> tuple[LedgerRow, ...]:
        return await self._database.read(usage.rows_since, since)

    async def speeds(self) -> Mapping[tuple[str, str], float]:
        return await self._database.read(usage.speeds)

    async def aclose(self) -> None:
        await self._arriving.aclose()
        await self._reader.aclose()
        await self._database.aclose()
