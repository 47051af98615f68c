"""One SQLite file on a thread of its own: opening it, reading, writing, and what to do when it fails."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from lmchat.domain.message import now
from lmchat.storage.connection import Connection, connect, transaction
from lmchat.storage.faults import BROKEN, closed, explain, is_damage, is_passing, name_of
from lmchat.storage.gram_table import renew_grams
from lmchat.storage.own_thread import OwnThread
from lmchat.storage.salvage import begin_anew, is_sound
from lmchat.storage.schema import renew_words
from lmchat.storage.words import catch_up

log = logging.getLogger(__name__)

T = TypeVar("T")

_STEPS_BETWEEN_LOOKS = 100
"""Steps of SQLite between two looks whether a query is still wanted: some rows of a search through texts."""


class Database(OwnThread):
    """Runs jobs, functions of the connection, one after the other on its own thread.

    The file is opened with the first job. A job that fails leaves nothing half-written, and after a
    failure of the disk the next job opens the file afresh.
    """

    def __init__(
        self,
        path: Path,
        *,
        prepare: Callable[[Connection, datetime], None],
        clock: Callable[[], datetime] = now,
    ) -> None:
        super().__init__("lmchat-disk")
        self.path = path
        self.clock = clock
        self.notice = ""
        """One sentence for the user about what opening the file had to do; empty where all was well."""
        self._prepare = prepare
        self._is_catching_up = False

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run a job that changes nothing; cancelling the caller ends it."""
        is_unwanted = threading.Event()
        future = self._submit(job, is_unwanted.is_set)
        try:
            return await asyncio.wrap_future(future)
        finally:
            is_unwanted.set()

    async def write(self, job: Callable[[Connection], T], *, is_durable: bool = False) -> T:
        """Run a job in one transaction; cancelling the caller does not stop it.

        A durable one returns when it would outlive a power cut too.
        """

        def in_transaction(connection: Connection) -> T:
            with transaction(connection, is_durable=is_durable):
                return job(connection)

        return await asyncio.shield(asyncio.wrap_future(self._submit(in_transaction, None)))

    def _submit(self, job: Callable[[Connection], T], is_unwanted: Callable[[], bool] | None) -> Future[T]:
        if self._is_closed:
            raise closed()
        return self._thread.submit(self._run, job, is_unwanted)

    def _run(self, job: Callable[[Connection], T], is_unwanted: Callable[[], bool] | None) -> T:
        try:
            for repair in (self._repair, self._begin_anew):
                try:
                    return self._attempt(job, is_unwanted)
                except BROKEN as error:
                    if not is_damage(error):
                        raise
                    repair(error)
            return self._attempt(job, is_unwanted)
        except (*BROKEN, OSError) as error:
            if not is_passing(error):
                self._disconnect()
            raise explain(error, self.path) from error
        finally:
            self._catch_up_later()

    def _catch_up_later(self) -> None:
        """Let a batch be indexed after all that waits now, where a batch is behind."""
        if not (self._is_closed or self._is_catching_up or self._connection is None):
            self._is_catching_up = True
            with suppress(RuntimeError):  # the thread takes nothing more
                self._thread.submit(self._catch_up)

    def _catch_up(self) -> None:
        """Index a batch; one is left at the end, too: else runs that are short would never come to it."""
        self._is_catching_up = False
        if self._connection is None:
            return
        self._connection.set_progress_handler(None, 0)
        try:
            is_more = catch_up(self._connection)
        except BROKEN as error:  # what is not indexed is found all the same, and the next job tries again
            log.info("indexing waits: %s", name_of(error) or type(error).__name__)
        else:
            if is_more:
                self._catch_up_later()

    def _attempt(self, job: Callable[[Connection], T], is_unwanted: Callable[[], bool] | None) -> T:
        connection = self._ready()
        connection.set_progress_handler(is_unwanted, _STEPS_BETWEEN_LOOKS)
        return job(connection)

    def _ready(self) -> Connection:
        """Return the connection; opened afresh where the file was removed or replaced under it."""
        if self._connection is not None and self._file != self.identity():
            log.warning("the session file was removed or replaced; it is opened afresh")
            self._disconnect()
        if self._connection is None:
            self._adopt(connect(self.path))
        assert self._connection is not None  # noqa: S101 - `_adopt` has set it
        return self._connection

    def _adopt(self, connection: Connection) -> None:
        self._connection = connection
        self._file = self.identity()
        try:
            self._prepare(connection, self.clock())
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            log.warning("tidying the session file failed: %s", error)  # reading may still work

    def _repair(self, error: Exception) -> None:
        """Mend what is broken: the index of words alone, else begin a new file with what can be saved."""
        if name_of(error) == "SQLITE_CORRUPT_VTAB":
            if not self._has_renewed_words():
                self._begin_anew(error)
            return
        self._disconnect()
        if not is_sound(self.path):  # else another process has set the damaged one aside
            self._begin_anew(error)

    def _begin_anew(self, error: Exception) -> None:
        log.warning("the session file is damaged: %s", name_of(error) or type(error).__name__)
        self._disconnect()
        connection, self.notice = begin_anew(self.path, self.clock())
        self._adopt(connection)

    def _has_renewed_words(self) -> bool:
        if self._connection is None:
            return False
        log.warning("the index of words is damaged and made anew")
        try:
            renew_words(self._connection)
            if self._connection.has_grams:
                renew_grams(self._connection)
            self._prepare(self._connection, self.clock())
        except sqlite3.Error as error:
            log.warning("making the index of words anew failed: %s", error)
            return False
        return True

    def identity(self) -> tuple[int, int] | None:
        """Return which file stands at the path; None where there is none."""
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino
