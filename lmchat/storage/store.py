"""SQLite store of all sessions: implements `services.ports.ChatStore`, which documents its methods.

A running answer has a row in the state `streaming` and a file beside the database. `begin_answer`
makes both, or only the file if the prompt is not in the tables. `add_entries` appends to it. A
tool call that waits for approval or runs is stored in the same way; its row and its file hold the
call from the beginning. `finish`, also of a stopped answer, writes the whole answer into the tables
`messages` and `parts` and removes the file. After `kill -9`, the file remains without a lock: the
next time the database or a session is opened, `recover_killed_answers` writes its text into the
tables.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

from msgspec import ValidationError, convert
from msgspec.structs import asdict, fields, replace

from lmchat.errors import StoreUnavailable
from lmchat.processes.threads import run_abandonable
from lmchat.sessions.message import ChatMessage, JournalEntry, TokenProbabilities, new_id, now
from lmchat.sessions.session import TRASH_DAYS, Session, SessionHeader
from lmchat.sessions.stats import TurnRecord
from lmchat.storage import attached_files, backups, purging, search_index
from lmchat.storage.connection import Connection, is_damaged
from lmchat.storage.database import Database, reading, writing
from lmchat.storage.killed_answers import recover_killed_answers
from lmchat.storage.message_rows import number_of, put_message, put_session, set_columns
from lmchat.storage.metrics_store import MetricsStore
from lmchat.storage.repair import raise_if_damaged, replace_damaged
from lmchat.storage.row_values import column, insert, loaded, stored_time
from lmchat.storage.running_answer import RunningAnswers
from lmchat.storage.session_queries import header
from lmchat.storage.session_rows import SessionRows, read_rows
from lmchat.storage.session_tables import SessionTables

# Only the newest turns count for the speed of a model: servers and machines change.
_RECENT_TURNS = 2000
_RECORD_FIELDS = tuple(field.name for field in fields(TurnRecord))
# The columns have the names of the fields, except that `ended_at` is in the column `created_at`.
_RECORD_COLUMNS = ", ".join(_RECORD_FIELDS).replace("ended_at", "created_at")


class SqliteStore(SessionTables):
    """Sessions, drafts, prompts, turn records and metrics in one file, opened by the first call."""

    database: Database

    def __init__(self, path: Path, *, clock: Callable[[], datetime] = now) -> None:
        def replace_file() -> Connection:
            return replace_damaged(path, clock())

        database = Database(path, after_opening=self._tidy, replace=replace_file)
        super().__init__(database, clock)
        self._told_notice = ""
        self._running_answers = RunningAnswers(path)
        self._attachments_folder = path.with_name("attachments")
        self.metrics = MetricsStore(database)

    # The file

    @property
    def notice(self) -> str:
        """Sentence for the user about a file that was replaced."""
        return self.database.notice

    async def open(self) -> str:
        """Open the file by a job that does nothing, as the first job opens it; return the notice.

        The notice is empty unless a file was replaced. Raises `StoreUnavailable`.
        """
        await self.database.read(lambda _: None)
        self._told_notice = self.notice
        return self.notice

    async def daily_check(self) -> str:
        """Check and copy the file if that was not done today, and complete the search index.

        Return the notice if a damaged file was replaced since the store was opened, be it by this
        check or by a read before it; else an empty text.
        """
        if await self._is_check_due():
            await self._check_and_back_up()
        await self._complete_index()
        is_told = self.notice == self._told_notice
        self._told_notice = self.notice
        return "" if is_told else self.notice

    async def _check_and_back_up(self) -> None:
        """Check all of the file, which takes long, then make the copy of this day.

        In an intact file, attached files that no message names are removed. A damaged file is
        replaced; then the new file is copied.
        """
        path = self.database.path
        if await run_abandonable(lambda: is_damaged(path)):
            # the error that this raises makes the database replace its file
            await self.database.read(raise_if_damaged)
        else:
            await self._remove_unnamed_files()
        await run_abandonable(lambda: backups.back_up(path, self._clock()))

    async def _complete_index(self) -> None:
        """Index all messages that are not in the search index, such as those of a repaired file."""
        # Another process may lock the file. A search then compares these messages, which is slower.
        with suppress(StoreUnavailable):
            are_left = True
            while are_left:
                are_left = await self.database.write(search_index.index_batch)

    async def aclose(self) -> None:
        await self._running_answers.aclose()
        await self.database.aclose()

    @reading
    def _is_check_due(self, connection: Connection) -> bool:
        return backups.is_due(connection, self._clock())

    @reading
    def _remove_unnamed_files(self, connection: Connection) -> None:
        attached_files.remove_unnamed(connection, self._attachments_folder, self._clock())

    def _tidy(self, connection: Connection) -> None:
        """Recover killed answers, delete what has expired, and remove old hidden files.

        This is done each time the file was opened. A file that is opened for reading stays as it
        is. Each step has transactions of its own: a failure keeps the effect of the steps before.
        """
        recover_killed_answers(connection, self._clock())
        if not connection.is_read_only:
            self._empty_trash(connection)
            backups.remove_leftovers(connection.path, days=TRASH_DAYS)

    def _empty_trash(self, connection: Connection) -> None:
        """Delete what has been in the trash for `TRASH_DAYS`.

        If anything was deleted, the daily copies are replaced, as they still have its text.
        """
        moment = self._clock()
        purged = purging.purge_expired(connection, moment)
        if not purged.is_empty:
            purging.clean_up(connection, purged, self._attachments_folder)
            backups.renew_copies(connection.path, moment)

    # Sessions

    async def open_session(self, session_id: str, *, count: int | None = None) -> Session:
        """Save answers of killed processes, as the session may have one, then read the session."""
        # On a full disk they cannot be saved: the session then shows the text in their files.
        with suppress(StoreUnavailable):
            await self._recover_killed_answers()
        return await super().open_session(session_id, count=count)

    @reading
    def _recover_killed_answers(self, connection: Connection) -> None:
        recover_killed_answers(connection, self._clock())

    async def purge(self, *session_ids: str) -> None:
        # cancelling the caller must not leave files with the text of deleted rows
        await asyncio.shield(self._purge(session_ids))

    async def _purge(self, session_ids: Sequence[str]) -> None:
        """Delete the rows of sessions, then the copies and other files that have their text."""
        purged = await self.database.write(partial(purging.purge_sessions, session_ids=session_ids))

        def clean_up(connection: Connection) -> None:
            # the copies first: on a full disk, the next step needs their room
            backups.remove_copies(connection.path)
            purging.clean_up(connection, purged, self._attachments_folder)

        await self.database.read(clean_up)

    async def import_session(self, session: Session) -> SessionHeader | None:
        """Write a session; return None, or the header of a stored session that has the same id.

        In the second case nothing is written. Cancelling this also stops the job in the thread of
        the database: a session of a hundred thousand messages takes many seconds.
        """
        is_cancelled = threading.Event()
        try:
            return await self._import(session, is_cancelled)
        except asyncio.CancelledError:
            is_cancelled.set()
            raise

    @writing
    def _import(
        self, connection: Connection, session: Session, is_cancelled: threading.Event
    ) -> SessionHeader | None:
        """Write a session and return None, or return the header of a session that has its id.

        Messages whose id another session uses get new ids. One whose parent is not in `session`
        becomes a root. Raises `StoreUnavailable` after `is_cancelled` was set, so that the
        transaction is rolled back.
        """
        session_id = session.header.session_id
        query = "select 1 from sessions where session_id = ?"
        if connection.execute(query, (session_id,)).fetchone():
            return header(connection, session_id)

        put_session(connection, session.header)
        messages = session.tree or session.messages  # without a tree, only the path is known
        unused_ids = _unused_ids(connection, messages)
        for message in messages:
            if is_cancelled.is_set():
                raise StoreUnavailable("The import was stopped.", hint="Start it again.")
            with_unused_ids = replace(
                message,
                message_id=unused_ids[message.message_id],
                parent_id=unused_ids.get(message.parent_id),
            )
            put_message(connection, session_id, with_unused_ids)
        if session.messages:
            leaf_id = unused_ids[session.messages[-1].message_id]
            set_columns(connection, session_id, leaf_id=leaf_id)
        return None

    @reading
    def session_rows(self, connection: Connection, session_id: str) -> SessionRows:
        """Return all rows of a session, to copy it into memory; raises `SessionNotFound`."""
        return read_rows(connection, session_id)

    # Running answers and attached files

    async def begin_answer(
        self, session_id: str, message: ChatMessage, *, has_prompt: bool = True
    ) -> None:
        """Create the file of a running answer; with `has_prompt`, also its row.

        Without `has_prompt`, the prompt of the answer could not be written.
        """
        await self._running_answers.begin(session_id, message)
        if has_prompt:
            await super().begin_answer(session_id, message)

    async def add_entries(self, message_id: str, pieces: Sequence[JournalEntry]) -> None:
        await self._running_answers.add(message_id, pieces)

    async def finish(
        self, session_id: str, message: ChatMessage, choices: Sequence[TokenProbabilities] = ()
    ) -> None:
        """Write an ended answer into the tables, then remove its file."""
        await super().finish(session_id, message, choices)
        await self._running_answers.end(message.message_id)

    async def save_file(self, data: bytes) -> str:
        return await run_abandonable(lambda: attached_files.save(self._attachments_folder, data))

    async def read_file(self, digest: str) -> bytes:
        return await run_abandonable(lambda: attached_files.read(self._attachments_folder, digest))

    # Figures

    @writing
    def add_turn_record(self, connection: Connection, row: TurnRecord) -> None:
        """Add the figures of a turn to the turn records; a turn without `ended_at` ended now."""
        values = {name: column(value) for name, value in asdict(row).items()}
        values["created_at"] = values.pop("ended_at") or stored_time(self._clock())
        insert(connection, "ledger", values)

    @reading
    def turn_records(
        self, connection: Connection, *, since: datetime | None = None
    ) -> tuple[TurnRecord, ...]:
        """Return the figures of turns that ended since a moment, oldest first.

        For None, return those of all turns. Damaged rows are left out.
        """
        earliest = "" if since is None else stored_time(since)
        query = f"select {_RECORD_COLUMNS} from ledger where created_at >= ? order by ledger_id"
        records: list[TurnRecord] = []
        for row in connection.execute(query, (earliest,)):
            values = [loaded(value) if isinstance(value, bytes) else value for value in row]
            fields_by_name = dict(zip(_RECORD_FIELDS, values, strict=True))
            with suppress(ValidationError):  # a damaged row
                records.append(convert(fields_by_name, TurnRecord, strict=False))
        return tuple(records)

    @reading
    def speeds(self, connection: Connection) -> Mapping[tuple[str, str], float]:
        """Return the median speeds of models in the newest turns, in tokens per second.

        The keys are pairs of an endpoint and a model.
        """
        speeds_by_model: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
        rows = connection.execute(
            """select endpoint, model, tokens_per_second from ledger
                where typeof(tokens_per_second) = 'real' order by ledger_id desc limit ?""",
            (_RECENT_TURNS,),
        )
        for endpoint, model, speed in rows:
            speeds_by_model[loaded(endpoint), loaded(model)].append(speed)
        return {model: median(speeds) for model, speeds in speeds_by_model.items()}


def _unused_ids(connection: Connection, messages: Iterable[ChatMessage]) -> dict[str | None, str]:
    """Return for the id of each message an id that no stored message has.

    That is the same id, or a new one if a stored message of another session has the same.
    """
    unused_ids: dict[str | None, str] = {}
    for message in messages:
        is_used = number_of(connection, message.message_id) is not None
        unused_ids[message.message_id] = new_id() if is_used else message.message_id
    return unused_ids
