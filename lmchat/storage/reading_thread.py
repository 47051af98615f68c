"""A second connection, which only reads, on a thread of its own: a search holds up no prompt and no list."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import quote

from lmchat.errors import StoreUnavailable
from lmchat.storage.connection import BUSY_S, Connection
from lmchat.storage.database import Database
from lmchat.storage.faults import BROKEN, closed, name_of
from lmchat.storage.gram_table import has_grams
from lmchat.storage.grams import make_gram_list
from lmchat.storage.own_thread import OwnThread
from lmchat.storage.schema import has_words, refuse_other_versions

log = logging.getLogger(__name__)

T = TypeVar("T")

_STEPS_BETWEEN_LOOKS = 1000
"""Steps of SQLite between two looks whether a query is still wanted: well below a millisecond."""


class ReadingThread(OwnThread):
    """Runs jobs that change nothing beside the database; what goes wrong here is done, and mended, there."""

    def __init__(self, database: Database) -> None:
        super().__init__("lmchat-search")
        self._database = database

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run a job; cancelling the caller ends it."""
        if self._is_closed:
            return await self._database.read(job)
        is_unwanted = threading.Event()
        future = self._thread.submit(self._run, job, lambda: self._is_closed or is_unwanted.is_set())
        try:
            return await asyncio.wrap_future(future)
        except _NotHereError:
            return await self._database.read(job)
        finally:
            is_unwanted.set()

    def _run(self, job: Callable[[Connection], T], is_unwanted: Callable[[], bool]) -> T:
        try:
            connection = self._ready()
            connection.set_progress_handler(is_unwanted, _STEPS_BETWEEN_LOOKS)
            try:
                return job(connection)
            finally:
                connection.set_progress_handler(None, 0)
        except (*BROKEN, OSError, StoreUnavailable) as error:
            if name_of(error) == "SQLITE_INTERRUPT":
                raise closed() from error  # or nobody listens
            self._disconnect()
            log.info("reading beside does not work: %s", name_of(error) or type(error).__name__)
            raise _NotHereError from error

    def _ready(self) -> Connection:
        """Return the connection, opened afresh where the file was removed or replaced under it.

        Where the log is not written ahead, who reads and who writes exclude each other: it is no help there.
        """
        identity = self._database.identity()
        if identity is None or self._file != identity:
            self._disconnect()
        if self._connection is None:
            self._connection = self._connect()
            self._file = identity
        if not self._connection.is_wal:
            raise _NotHereError
        self._connection.has_words = has_words(self._connection)
        self._connection.has_grams = has_grams(self._connection)
        return self._connection

    def _connect(self) -> Connection:
        """Open the file, never make it; as one that may write, or the log would stay behind at the end."""
        place = f"file:{quote(str(self._database.path.absolute()))}?mode=rw"
        connection = sqlite3.connect(
            place, uri=True, timeout=BUSY_S, isolation_level=None, factory=Connection
        )
        try:
            connection.set_up_to_read(self._database.path)
            refuse_other_versions(connection)
            make_gram_list(connection)
            connection.execute("pragma query_only = on")
            connection.is_wal = connection.execute("pragma journal_mode").fetchone()[0] == "wal"
        except BaseException:
            connection.close()
            raise
        return connection


class _NotHereError(Exception):
    """The job has to be done on the thread of the database."""
