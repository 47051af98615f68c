"""Threads that run jobs on a database: `Database` on `sessions.db`, `MemoryDatabase` in memory.

A job is a function that gets the connection as its argument. The decorators `reading` and `writing`
make jobs of methods, so that their callers await them.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from lmchat.files.disk import explain, is_damage, name_of
from lmchat.sessions.message import JournalEntry
from lmchat.storage.connection import Connection, connect, connect_in_memory, is_damaged
from lmchat.storage.database_copies import DATABASE_ERRORS
from lmchat.storage.job_thread import JobThread
from lmchat.storage.schema import renew_index, transaction

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_STEPS_BETWEEN_CHECKS = 100
"""Steps of SQLite between two checks whether a query was cancelled: a few rows of a search."""
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
"""FTS5's name for a full disk. Only the whole name counts: other errors have longer names."""


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
    """Make a coroutine of a method, which then runs on the thread of `database`.

    Callers omit the argument `connection`. If the caller is cancelled, the queries of the method
    end. The method runs without a transaction, and begins one itself where it writes.
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
    """Make a coroutine of a method, which then runs on the thread of `database` in a transaction.

    Callers omit the argument `connection`. Cancelling the caller does not stop the method.
    """

    @wraps(method)
    async def run(owner: OwnerT, /, *args: P.args, **options: P.kwargs) -> T:
        return await owner.database.write(
            lambda connection: method(owner, connection, *args, **options)
        )

    return run


class Database:
    """Thread that runs jobs on `sessions.db`, one after the other.

    The first job opens the file. A job opens it again if the disk has failed during an earlier job,
    or if another process has replaced the file.
    """

    def __init__(
        self,
        path: Path,
        *,
        after_opening: Callable[[Connection], None],
        replace: Callable[[], Connection],
    ) -> None:
        """Open nothing yet.

        `after_opening` is called with the connection each time the file is opened, and may change
        the file. `replace` renames a damaged file, and returns a connection to a new one.
        """
        self.path = path
        self.notice = ""  # sentence for the user about a replaced file
        self._after_opening = after_opening
        self._replace = replace
        self._thread = JobThread("lmchat-disk")
        self._connection: Connection | None = None
        self._opened_file: tuple[int, int] | None = None
        """Device and inode of the opened file, to notice that another file has replaced it."""

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run a job without a transaction; its queries end if the caller is cancelled."""
        is_over = threading.Event()

        def cancellable_job(connection: Connection) -> T:
            # SQLite interrupts a query whose progress handler returns true
            connection.set_progress_handler(is_over.is_set, _STEPS_BETWEEN_CHECKS)
            return job(connection)

        try:
            return await self._thread.submit(lambda: self._run(cancellable_job))
        finally:
            # if the caller was cancelled, this ends the running query; after a result, it does
            # nothing
            is_over.set()

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run a job in a transaction; cancelling the caller does not stop it.

        Once this returns, the changes survive a power cut.
        """

        def in_transaction(connection: Connection) -> T:
            connection.set_progress_handler(None, 0)  # `read` may have set one
            with transaction(connection):
                return job(connection)

        return await self._thread.run(lambda: self._run(in_transaction))

    async def aclose(self) -> None:
        """Run the queued jobs, then close the connection."""
        await self._thread.aclose(self._disconnect)

    def _run(self, job: Callable[[Connection], T]) -> T:
        """Run a job on the thread and return its result.

        An error of the database or the system is raised as `StoreUnavailable`, and closes the
        connection, so that the next job opens the file again. It stays open after `_TEMPORARY`
        errors and on a full disk. Other errors of the job are raised as they are.
        """
        try:
            return self._run_with_repairs(job)
        except (*DATABASE_ERRORS, OSError) as error:
            name = name_of(error)
            can_still_be_used = name.startswith(_TEMPORARY) or name == _FULL_DISK
            if not can_still_be_used:
                self._disconnect()
            raise explain(error, self.path) from error

    def _run_with_repairs(self, job: Callable[[Connection], T]) -> T:
        """Run a job and return its result, at most three times.

        If the first run finds damage, the file is repaired. If the second run finds damage, the
        file is replaced. Errors that are no damage are raised at once.
        """
        for repair in (self._repair, self._replace_file):
            try:
                return self._run_once(job)
            except DATABASE_ERRORS as error:
                if not is_damage(error):
                    raise
                repair(error)
        return self._run_once(job)

    def _run_once(self, job: Callable[[Connection], T]) -> T:
        """Run a job on the connection.

        The file is opened first if it is not open, or if another file is at its path now.
        """
        if self._connection is not None and self._opened_file != self._file_identity():
            log.warning("the session file was removed or replaced; it is opened again")
            self._disconnect()
        connection = self._connection
        if connection is None:
            connection = connect(self.path)
            self._use(connection)
        return job(connection)

    def _use(self, connection: Connection) -> None:
        """Use a new connection for this job and the next ones, and call `after_opening` with it.

        An error of SQLite in `after_opening` is only logged, unless the file is damaged: then it is
        raised.
        """
        self._connection = connection
        self._opened_file = self._file_identity()
        if connection.notice:
            self.notice = connection.notice
        try:
            self._after_opening(connection)
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            # such as a full disk: sessions can still be read
            log.warning("putting the session file in order failed: %s", error)

    def _file_identity(self) -> tuple[int, int] | None:
        """Return device and inode of the file at the path; None where it was removed."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _repair(self, error: Exception) -> None:
        """Repair the file after an error of damage; the next job opens it.

        If the error is from the search index, and the index can be made again, nothing else is
        done. Otherwise the file is replaced. An intact file stays: another process has put it in
        the place of the damaged one.
        """
        is_from_index = name_of(error) == "SQLITE_CORRUPT_VTAB"
        is_repaired = is_from_index and self._renew_index()
        self._disconnect()
        if not is_repaired and is_damaged(self.path):
            self._replace_file(error)

    def _renew_index(self) -> bool:
        """Make the search index again; return whether that worked."""
        if self._connection is None:
            return False
        log.warning("the search index is damaged and made again")
        self._connection.set_progress_handler(None, 0)  # a cancelled search must not stop this
        try:
            renew_index(self._connection)
        except sqlite3.Error:  # other parts of the file are damaged, too
            return False
        return True

    def _replace_file(self, error: Exception) -> None:
        """Replace the damaged file, and use the connection to the new one for the next jobs."""
        log.warning("the session file is replaced: %s", name_of(error) or type(error).__name__)
        self._disconnect()
        self._use(self._replace())


class MemoryDatabase:
    """Thread that runs jobs on a database in memory; no part of it is ever on the disk."""

    def __init__(self, pieces: Mapping[str, list[JournalEntry]]) -> None:
        """Create no tables yet; `pieces` maps the id of each running answer to its pieces."""
        self._pieces = pieces
        self._thread = JobThread("lmchat-memory")
        self._connection: Connection | None = None

    async def read(self, job: Callable[[Connection], T]) -> T:
        """Run a job as `write` does: in memory, a transaction costs nothing."""
        return await self.write(job)

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run a job in a transaction; the first job creates the tables.

        Cancelling the caller does not stop it. Raises `StoreUnavailable`.
        """

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
        """Run pending jobs, then drop the database."""
        await self._thread.aclose(self._disconnect)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
