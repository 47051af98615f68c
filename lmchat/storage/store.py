"""SQLite store of all sessions: implements `services.ports.ChatStore`, which documents its methods.

A running answer is a row in the state `streaming` and a file beside the database: `begin_answer`
makes both (without its prompt in the tables, the file alone), and `add_pieces` appends to the file.
So is a tool call that waits for approval or runs; its row and its file hold the call from the
beginning. `finish`, also of a stopped answer, writes the whole answer into the tables `messages`
and `parts` and removes the file. After `kill -9`, the file remains without a lock: the next time
the database or the session is opened, `recover_killed_answers` writes its text into the tables.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

from msgspec import ValidationError, convert
from msgspec.structs import asdict, fields, replace

from lmchat.domain.message import ChatMessage, new_id, now
from lmchat.domain.session import TRASH_DAYS, Session, SessionHeader
from lmchat.domain.telemetry import LedgerRow
from lmchat.domain.turn import Piece
from lmchat.errors import StoreUnavailable
from lmchat.storage import attached_files, backups, purging, search_index
from lmchat.storage.connection import Connection, is_intact
from lmchat.storage.database import Database, reading, writing
from lmchat.storage.killed_answers import recover_killed_answers
from lmchat.storage.message_rows import number_of, put_message, put_session, set_columns
from lmchat.storage.metrics_store import MetricsStore
from lmchat.storage.repair import raise_if_damaged, replace_damaged
from lmchat.storage.row_values import column, insert, loaded, stored, stored_time
from lmchat.storage.running_answer import RunningAnswers
from lmchat.storage.session_queries import header
from lmchat.storage.session_rows import SessionRows, read_rows
from lmchat.storage.session_tables import SessionTables
from lmchat.threads import run_abandonable

_RECENT_TURNS = 2000  # that count for the speed of a model: servers and machines change
_LEDGER_FIELDS = tuple(field.name for field in fields(LedgerRow))
_LEDGER_COLUMNS = ", ".join(_LEDGER_FIELDS).replace("ended_at", "created_at")


class SqliteStore(SessionTables):
    """Sessions, drafts, prompts, ledger and metrics in one file, which the first call opens."""

    database: Database

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = now) -> None:
        super().__init__(
            Database(path, self._after_opening, lambda: replace_damaged(path, clock())), clock
        )
        self._running = RunningAnswers(path)
        self._folder = path.with_name("attachments")
        self.metrics = MetricsStore(self.database)

    # The file

    @property
    def notice(self) -> str:
        """Sentence for the user about a file that was replaced."""
        return self.database.notice

    async def open(self) -> str:
        await self.database.read(lambda _: None)
        return self.notice

    async def daily_check(self) -> str:
        """Check and copy the file once a day, and index the rest; return a new notice."""
        known_notice = self.notice
        if await self._is_check_due():
            await self._check_and_back_up()
        await self._index_the_rest()
        return "" if self.notice == known_notice else self.notice

    async def _check_and_back_up(self) -> None:
        path = self.database.path
        if await run_abandonable(lambda: is_intact(path)):
            await self._remove_unnamed_files()
        else:
            # the error that this raises makes the database replace its file
            await self.database.read(raise_if_damaged)
        await run_abandonable(lambda: backups.back_up(path, self._clock()))

    async def _index_the_rest(self) -> None:
        # another process may hold the file: a search works without the index, too, only slower
        with suppress(StoreUnavailable):
            while await self.database.write(search_index.index_batch):
                pass

    async def aclose(self) -> None:
        await self._running.aclose()
        await self.database.aclose()

    @reading
    def _is_check_due(self, connection: Connection) -> bool:
        return backups.is_due(connection, self._clock())

    @reading
    def _remove_unnamed_files(self, connection: Connection) -> None:
        attached_files.remove_unnamed(connection, self._folder, self._clock())

    def _after_opening(self, connection: Connection) -> None:
        """Put an opened file in order; each step is a transaction of its own."""
        recover_killed_answers(connection, self._clock())
        if not connection.is_read_only:
            self._empty_trash(connection)
            backups.remove_leftovers(connection.path, days=TRASH_DAYS)

    def _empty_trash(self, connection: Connection) -> None:
        """Delete permanently what has been in the trash for long, also from the copies."""
        moment = self._clock()
        purged = purging.purge_expired(connection, moment)
        if not purged.is_empty:
            purging.clean_up(connection, purged, self._folder)
            backups.renew_copies(connection.path, moment)

    # Sessions

    async def open_session(self, session_id: str, *, count: int | None = None) -> Session:
        # without room to save it, what had arrived is shown all the same
        with suppress(StoreUnavailable):
            await self._recover_killed_answers()
        return await super().open_session(session_id, count=count)

    @reading
    def _recover_killed_answers(self, connection: Connection) -> None:
        recover_killed_answers(connection, self._clock())

    async def purge(self, *session_ids: str) -> None:
        await asyncio.shield(self._purge(session_ids))

    async def _purge(self, session_ids: Sequence[str]) -> None:
        purged = await self.database.write(partial(purging.purge_sessions, session_ids=session_ids))

        def clean_up(connection: Connection) -> None:
            backups.remove_copies(connection.path)  # first: that makes room for the rest
            purging.clean_up(connection, purged, self._folder)

        await self.database.read(clean_up)

    async def import_session(self, session: Session) -> SessionHeader | None:
        is_unwanted = threading.Event()
        try:
            return await self._import(session, is_unwanted)
        except asyncio.CancelledError:
            is_unwanted.set()  # a session of a hundred thousand messages takes many seconds
            raise

    @writing
    def _import(
        self, connection: Connection, session: Session, is_unwanted: threading.Event
    ) -> SessionHeader | None:
        session_id = session.header.session_id
        query = "select 1 from sessions where session_id = ?"
        if connection.execute(query, (session_id,)).fetchone():
            return header(connection, session_id)

        put_session(connection, session.header)
        messages = session.tree or session.messages
        ids = _free_ids(connection, messages)
        for message in messages:
            if is_unwanted.is_set():  # raises an error, which undoes it all
                raise StoreUnavailable("The import was stopped.", hint="Start it again.")
            renamed = replace(
                message,
                message_id=ids[message.message_id],
                parent_id=ids.get(message.parent_id),
            )
            put_message(connection, session_id, renamed)
        for message_id, name in session.branch_names.items():
            query = "update messages set branch = ? where message_id = ?"
            connection.execute(query, (stored(name), ids[message_id]))
        if session.messages:
            set_columns(connection, session_id, leaf_id=ids[session.messages[-1].message_id])
        return None

    @reading
    def session_rows(self, connection: Connection, session_id: str) -> SessionRows:
        """Return all of a session, for a copy of it in memory; raises `SessionNotFound`."""
        return read_rows(connection, session_id)

    # Running answers and attached files

    async def begin_answer(
        self, session_id: str, message: ChatMessage, *, has_prompt: bool = True
    ) -> None:
        await self._running.begin(session_id, message)
        if has_prompt:
            await super().begin_answer(session_id, message)

    async def add_pieces(self, message_id: str, pieces: Sequence[Piece]) -> None:
        await self._running.add(message_id, pieces)

    async def finish(self, session_id: str, message: ChatMessage) -> None:
        await super().finish(session_id, message)
        await self._running.end(message.message_id)

    async def save_file(self, data: bytes) -> str:
        return await run_abandonable(lambda: attached_files.save(self._folder, data))

    async def read_file(self, digest: str) -> bytes:
        return await run_abandonable(lambda: attached_files.read(self._folder, digest))

    # Figures

    @writing
    def add_ledger(self, connection: Connection, row: LedgerRow) -> None:
        values = {name: column(value) for name, value in asdict(row).items()}
        values["created_at"] = values.pop("ended_at") or stored_time(self._clock())
        insert(connection, "ledger", values)

    @reading
    def ledger_rows(
        self, connection: Connection, *, since: datetime | None = None
    ) -> tuple[LedgerRow, ...]:
        earliest = "" if since is None else stored_time(since)
        query = f"select {_LEDGER_COLUMNS} from ledger where created_at >= ? order by ledger_id"
        found: list[LedgerRow] = []
        for row in connection.execute(query, (earliest,)):
            values = [loaded(value) if isinstance(value, bytes) else value for value in row]
            named = dict(zip(_LEDGER_FIELDS, values, strict=True))
            with suppress(ValidationError):  # a damaged row
                found.append(convert(named, LedgerRow, strict=False))
        return tuple(found)

    @reading
    def speeds(self, connection: Connection) -> Mapping[tuple[str, str], float]:
        found: dict[tuple[str, str], list[float]] = {}
        rows = connection.execute(
            """select endpoint, model, tokens_per_second from ledger
                where tokens_per_second is not null order by ledger_id desc limit ?""",
            (_RECENT_TURNS,),
        )
        for endpoint, model, speed in rows:
            found.setdefault((loaded(endpoint), loaded(model)), []).append(speed)
        return {key: median(values) for key, values in found.items()}


def _free_ids(connection: Connection, messages: Iterable[ChatMessage]) -> dict[str | None, str]:
    """Return an id for each message by its own: a new one if another session has that."""
    ids: dict[str | None, str] = {}
    for message in messages:
        is_taken = number_of(connection, message.message_id) is not None
        ids[message.message_id] = new_id() if is_taken else message.message_id
    return ids
