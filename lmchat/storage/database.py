"""Threads that run jobs on a database: on `sessions.db`, or on one in memory.

A job is a function of the connection. `@reading` and `@writing` run methods as jobs.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from lmchat.domain.turn import Piece
from lmchat.storage.connection import Connection, connect, connect_in_memory, is_intact
from lmchat.storage.database_copies import DATABASE_ERRORS
from lmchat.storage.file_errors import explain, is_damage, name_of
from lmchat.storage.job_thread import JobThread
from lmchat.storage.schema import renew_index, transaction

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_STEPS_BETWEEN_CHECKS = 100
"""Steps of SQLite between two checks whether a query is still wanted: a few rows of a search."""
_TEMPORARY = (
    "SQLITE_BUSY",
    "SQLITE_LOCKED",
    "SQLITE_INTERRUPT",
    "SQLITE_CONSTRAINT",
    "SQLITE_FULL",  # a full disk may have no room to open the file once more
    "SQLITE_IOERR_WRITE",
)
"""Beginnings of the names of errors after which the connection can still be used."""
_FULL_DISK = "SQLITE_IOERR"
"""FTS5's name for a full disk; other errors of the disk have longer names."""


class Jobs(Protocol):
    """Thread that runs jobs, one after the other."""

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run a job without a transaction; its queries end if the caller is cancelled."""

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run a job in a transaction; cancelling the caller does not stop it."""


class UsesDatabase(Protocol):
    """Object with methods that are `reading` or `writing`."""

    @property
    def database(self) -> Jobs: ...


OwnerT = TypeVar("OwnerT", bound=UsesDatabase)


def reading(
    method: Callable[Concatenate[OwnerT, Connection, P], T],
) -> Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]:
    """Run a method on the thread of its database; callers await it and omit the connection.

    Its queries end if the caller is cancelled. What it writes is in transactions of its own.
    """

    @wraps(method)
    async def run(owner: OwnerT, /, *args: P.args, **options: P.kwargs) -> T:
        return await owner.database.read(
            lambda connection: method(owner, connection, *args, **options)
        )

    return run


def writing(
    method: Callable[Concatenate[OwnerT, Connection, P], T],
) -> Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]:
    """Run a method on the thread of its database, in a transaction; callers omit the connection.

    Cancelling the caller does not stop it.
    """

    @wraps(method)
    async def run(owner: OwnerT, /, *args: P.args, **options: P.kwargs) -> T:
        return await owner.database.write(
            lambda connection: method(owner, connection, *args, **options)
        )

    return run


class Database:
    """The thread of `sessions.db`.

    The first job opens the file, and the next one after a failure of the disk opens it again.
    `after_opening` puts an opened file in order; `replace` replaces a damaged one and opens the new
    one.
    """

    def __init__(
        self,
        path: Path,
        after_opening: Callable[[Connection], None],
        replace: Callable[[], Connection],
    ) -> None:
        self.path = path
        self.notice = ""  # sentence for the user about a replaced file
        self._after_opening = after_opening
        self._replace = replace
        self._thread = JobThread("lmchat-disk")
        self._connection: Connection | None = None
        self._opened_file: tuple[int, int] | None = None
        """Device and inode of the opened file: it may be replaced later."""

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run a job without a transaction; its queries end if the caller is cancelled."""
        is_unwanted = threading.Event()

        def cancellable(connection: Connection) -> T:
            connection.set_progress_handler(is_unwanted.is_set, _STEPS_BETWEEN_CHECKS)
            return job(connection)

        try:
            return await self._thread.submit(lambda: self._run(cancellable))
        finally:
            is_unwanted.set()

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run a job in a transaction that survives a power cut."""

        def in_transaction(connection: Connection) -> T:
            connection.set_progress_handler(None, 0)
            with transaction(connection):
                return job(connection)

        return await self._thread.run(lambda: self._run(in_transaction))

    async def aclose(self) -> None:
        """Wait for what is pending and close the connection."""
        await self._thread.aclose(self._disconnect)

    def _run(self, job: Callable[[Connection], T]) -> T:
        try:
            for mend in (self._repair, self._replace_file):
                try:
                    return self._attempt(job)
                except DATABASE_ERRORS as error:
                    if not is_damage(error):
                        raise
                    mend(error)
            return self._attempt(job)
        except (*DATABASE_ERRORS, OSError) as error:
            name = name_of(error)
            if not name.startswith(_TEMPORARY) and name != _FULL_DISK:
                self._disconnect()
            raise explain(error, self.path) from error

    def _attempt(self, job: Callable[[Connection], T]) -> T:
        if self._connection is not None and self._opened_file != self._file_identity():
            log.warning("the session file was removed or replaced; it is opened again")
            self._disconnect()
        return job(self._connection or self._use(connect(self.path)))

    def _use(self, connection: Connection) -> Connection:
        self._connection = connection
        self._opened_file = self._file_identity()
        self.notice = connection.notice or self.notice
        try:
            self._after_opening(connection)
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            # reading may still work
            log.warning("putting the session file in order failed: %s", error)
        return connection

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:  # removed
            return None
        return status.st_dev, status.st_ino

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _repair(self, error: Exception) -> None:
        """Rebuild the search index if that alone is damaged, else replace the whole file."""
        if name_of(error) == "SQLITE_CORRUPT_VTAB" and self._connection is not None:
            log.warning("the search index is damaged and made again")
            self._connection.set_progress_handler(None, 0)  # a cancelled search must not stop this
            with suppress(sqlite3.Error):  # the rest of the file is damaged, too
                renew_index(self._connection)
                self._disconnect()
                return
        self._disconnect()
        if not is_intact(self.path):  # else another process has set the damaged one aside
            self._replace_file(error)

    def _replace_file(self, error: Exception) -> None:
        log.warning("the session file is replaced: %s", name_of(error) or type(error).__name__)
        self._disconnect()
        self._use(self._replace())


class MemoryDatabase:
    """The thread of a database without a file; no part of it is ever on the disk."""

    def __init__(self, pieces: Mapping[str, list[Piece]]) -> None:
        """`pieces` are those of running answers, by the ids of these."""
        self._pieces = pieces
        self._thread = JobThread("lmchat-memory")
        self._connection: Connection | None = None

    async def read(self, job: Callable[[Connection], T]) -> T:
        return await self.write(job)

    async def write(self, job: Callable[[Connection], T]) -> T:
        def in_transaction() -> T:
            if self._connection is None:
                self._connection = connect_in_memory(self._pieces)
            with transaction(self._connection):
                return job(self._connection)

        try:
            return await self._thread.run(in_transaction)
        except sqlite3.Error as error:
            raise explain(error, Path("memory")) from error

    async def aclose(self) -> None:
        """Drop what is in memory, after what is pending."""
        await self._thread.aclose(self._disconnect)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
