"""Jobs on a database: functions of its connection, which run on a `JobThread`."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from functools import wraps
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from lmchat.errors import StoreUnavailable
from lmchat.files.disk import locked
from lmchat.storage import opening
from lmchat.storage.job_thread import JobThread
from lmchat.storage.opening import (
    DATABASE_ERRORS,
    HELD_S,
    Connection,
    explain,
    is_damage,
    is_damaged,
    is_held,
    is_whole_with_new_indexes,
    name_of,
    real_file,
)
from lmchat.storage.schema import transaction

_logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# of SQLite's virtual machine: a few rows of a search
_STEPS_BETWEEN_CHECKS = 100
# beginnings of names of errors after which the connection can still be used
_TEMPORARY = (
    "SQLITE_INTERRUPT",
    "SQLITE_FULL",  # there may be no room to open the file once more
    "SQLITE_IOERR_WRITE",
)
# FTS5's name for a full disk; the whole name, as other errors have longer ones
_FULL_DISK = "SQLITE_IOERR"
_RETRY_S = 0.02


class Database:
    """Database whose jobs run one after the other; the first job opens it.

    It is opened again if the disk failed during a job, or another process has replaced the file.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], Connection],
        *,
        restore: Callable[[], str] | None = None,
    ) -> None:
        """`restore` replaces a damaged file and returns a sentence for the user.

        It is None for a database in memory, which is opened once and kept.
        """
        self.path = path
        self.notice = ""  # see `Store.notice`
        self.has_written = False
        self.is_patient = True  # jobs wait for another program that holds the file
        self._connect = connect
        self._restore = restore
        self._is_file = restore is not None
        self._thread = JobThread("lmchat-disk")
        self._connection: Connection | None = None
        # device and inode of the last; None if it could not be opened
        self._opened_file: tuple[int, int] | None = None
        self._left_open: list[Connection] = []  # see `_disconnect`
        self._was_held = False  # when a write was tried last: waits must not add up

    @property
    def changed_rows(self) -> int:
        return self._connection.changed_rows if self._connection else 0

    async def run(self, job: Callable[[Connection], T]) -> T:
        """Run a job that only reads, or starts its own transactions.

        Cancelling drops a job that has not started, and ends the queries of a running one.
        """
        is_over = threading.Event()

        def cancellable_job(connection: Connection) -> T:
            # it interrupts a query by returning true
            connection.set_progress_handler(is_over.is_set, _STEPS_BETWEEN_CHECKS)
            return job(connection)

        try:
            return await self._thread.submit(lambda: self._explained(cancellable_job))
        finally:
            is_over.set()

    async def write(self, job: Callable[[Connection], T]) -> T:
        """Run a job in a transaction; cancelling the caller does not stop it.

        Once this returns, the changes survive a power cut.
        """

        def in_transaction(connection: Connection) -> T:
            # that of an earlier `run` would interrupt this job
            connection.set_progress_handler(None, 0)
            with transaction(connection):
                return job(connection)

        result = await self._thread.run(lambda: self._explained(in_transaction, is_writing=True))
        self.has_written = True
        return result

    def run_soon(self, work: Callable[[], None]) -> None:
        """Run work without the connection behind the jobs; raise `StoreUnavailable` at the end."""
        _ = self._thread.submit(work)

    async def aclose(self, last_job: Callable[[Connection], None] = lambda _: None) -> None:
        """Run `last_job` if the database is open. The next start finds any damage."""

        def end() -> None:
            if self._connection is not None:
                self._connection.set_progress_handler(None, 0)
                self.is_patient = False
                with suppress(*DATABASE_ERRORS, OSError, StoreUnavailable):
                    self._run_once(last_job, is_writing=True)
            self._disconnect()

        await self._thread.aclose(end)

    def _explained(self, job: Callable[[Connection], T], *, is_writing: bool = False) -> T:
        """Wait for another program that holds the file; a write that it refuses changes nothing.

        Raise `StoreUnavailable` for an error of the database or the system.
        """
        until_s = monotonic() + (0.0 if self._was_held else opening.BUSY_S)
        while True:
            try:
                result = self._run_and_mend(job, is_writing=is_writing)
            except (*DATABASE_ERRORS, OSError) as error:
                name, was_held = name_of(error), is_held(error, self.path)
                if was_held and self.is_patient and monotonic() < until_s:
                    sleep(_RETRY_S)
                    continue
                self._was_held = self._was_held or was_held
                can_still_be_used = was_held or name.startswith(_TEMPORARY) or name == _FULL_DISK
                if self._is_file and not can_still_be_used:  # one in memory would be lost
                    self._disconnect()
                raise explain(error, self.path) from error
            if is_writing:
                self._was_held = False
            return result

    def _run_and_mend(self, job: Callable[[Connection], T], *, is_writing: bool) -> T:
        """If the file is damaged, mend it and run the job again.

        If SQLite finds the pages whole, and can write the indexes again, the file stays: an error
        alone must not cost what was saved since the last copy.
        """
        try:
            return self._run_once(job, is_writing=is_writing)
        except DATABASE_ERRORS as error:
            if self._restore is None or not is_damage(error):
                raise
            _logger.warning("the session file: %s", name_of(error) or type(error).__name__)
            tried_file = self._opened_file
            self._disconnect()
            with self._held():
                is_replaced = (
                    tried_file != self._file_identity() if tried_file else not is_damaged(self.path)
                )
                if is_replaced:
                    pass  # by another process
                elif is_whole_with_new_indexes(self.path):
                    self.notice = (
                        f"An index in {self.path.name} was damaged and was rebuilt; "
                        "all messages are there."
                    )
                else:
                    self.notice = self._restore()
        return self._run_once(job, is_writing=is_writing)

    def _run_once(self, job: Callable[[Connection], T], *, is_writing: bool) -> T:
        with self._held(is_shared=True) if is_writing else nullcontext():
            if self._is_file and self._opened_file != self._file_identity():
                if self._connection is not None:
                    self.notice = (
                        f"{self.path.name} was replaced by another program; "
                        "what was saved before may not be in it."
                    )
                self._disconnect()
            connection = self._connection
            if connection is None:
                self._opened_file = None
                with self._held(is_shared=True):
                    self._connection = connection = self._connect()
                    self._opened_file = self._file_identity()
                self.notice = connection.notice or self.notice
            try:
                return job(connection)
            except sqlite3.OperationalError as error:
                raise connection.refusal or error from None
            finally:
                if connection.refusal is not None:  # the next job may write again
                    self._disconnect()

    @contextmanager
    def _held(self, *, is_shared: bool = False) -> Iterator[None]:
        """Let no other process replace the file; or, if it is not shared, use it at all.

        What is written into a file that was just replaced would be lost. Raises `OSError`.
        """
        with ExitStack() as stack:
            if self._is_file:
                wait_s = HELD_S if self.is_patient else 0.0
                lock = locked(real_file(self.path), is_shared=is_shared, wait_s=wait_s)
                stack.enter_context(lock)
            yield

    def _file_identity(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _disconnect(self) -> None:
        """Close the connection; the caller must not keep other processes out.

        SQLite removes the log by its name, which may belong to a file just put there: without the
        lock, the connection stays open.
        """
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                with self._held(is_shared=True):
                    connection.close()
            except (OSError, StoreUnavailable):
                self._left_open.append(connection)


class UsesDatabase(Protocol):
    """Object with methods that are `reading` or `writing`."""

    @property
    def database(self) -> Database: ...


OwnerT = TypeVar("OwnerT", bound=UsesDatabase)


def reading(
    method: Callable[Concatenate[OwnerT, Connection, P], T],
) -> Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]:
    """Make a method a coroutine that runs on the thread of `database`; callers omit `connection`.

    Cancelling the caller ends its queries. There is no transaction.
    """

    @wraps(method)
    async def run(owner: OwnerT, /, *args: P.args, **options: P.kwargs) -> T:
        return await owner.database.run(
            lambda connection: method(owner, connection, *args, **options)
        )

    return run


def writing(
    method: Callable[Concatenate[OwnerT, Connection, P], T],
) -> Callable[Concatenate[OwnerT, P], Coroutine[Any, Any, T]]:
    """Make a method a coroutine that runs on the thread of `database`, in a transaction.

    Callers omit `connection`. Cancelling the caller does not stop it.
    """

    @wraps(method)
    async def run(owner: OwnerT, /, *args: P.args, **options: P.kwargs) -> T:
        return await owner.database.write(
            lambda connection: method(owner, connection, *args, **options)
        )

    return run
