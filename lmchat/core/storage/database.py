"""Jobs on a database: functions of its connection, which run on a `JobThread`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, suppress
from functools import wraps
from pathlib import Path
from time import monotonic, sleep
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from lmchat.base.errors import StoreUnavailable
from lmchat.base.files.disk import locked
from lmchat.core.storage import opening
from lmchat.core.storage.job_thread import JobThread
from lmchat.core.storage.opening import (
    DATABASE_ERRORS,
    HELD_S,
    Connection,
    LostRecordError,
    explain,
    is_damage,
    is_held,
    name_of,
    real_file,
    renew_indexes,
    transaction,
)

_logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

# of SQLite's virtual machine: a few rows of a search
_STEPS_BETWEEN_CHECKS = 100
_RETRY_S = 0.02


class Database:
    """Database whose jobs run one after the other; the first job opens it.

    It is opened again if the disk failed during a job, or another program has replaced the file. A
    damaged file is not used again, and stays until the user has another one put in its place.
    """

    def __init__(
        self,
        path: Path,
        connect: Callable[[], Connection],
        *,
        look: Callable[[], str] | None = None,
    ) -> None:
        """`look` is called before the file is opened, unless another lmchat has it open.

        It returns a sentence for the user. It is None for a database in memory, which is opened
        once and kept.
        """
        self.path = path
        self.notice = ""  # see `Store.notice`
        self.has_written = False
        self.is_patient = True  # jobs wait for another program that holds the file
        self._connect = connect
        self._look = look
        self._is_file = look is not None
        self._thread = JobThread("lmchat-disk")
        self._connection: Connection | None = None
        self._lock = ExitStack()  # held with the connection: nobody else replaces the file
        # device and inode, as of the others
        self._opened_file: tuple[int, int] | None = None
        self._damaged_file: tuple[int, int] | None = (0, 0)  # that of no file
        self._was_held = False  # when a write was tried last: waits must not add up

    @property
    def is_damaged(self) -> bool:
        return self._damaged_file == self._file_identity()

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

    async def replace(self, put: Callable[[], str]) -> None:
        """Put another file in the place of the damaged one; `put` returns the notice.

        Raises `StoreUnavailable`, also while another lmchat has the file open.
        """

        def replace() -> None:
            try:
                with locked(real_file(self.path), wait_s=HELD_S):
                    if self.is_damaged:
                        self.notice = put()
            except (*DATABASE_ERRORS, OSError) as error:
                raise explain(error, self.path) from error

        await self._thread.run(replace)

    async def aclose(self, last_job: Callable[[Connection], None] = lambda _: None) -> None:
        """Run `last_job` if the database is open. The next start finds any damage."""

        def end() -> None:
            if self._connection is not None:
                self._connection.set_progress_handler(None, 0)
                self.is_patient = False
                with suppress(*DATABASE_ERRORS, OSError, StoreUnavailable):
                    self._run_once(last_job)
            self._disconnect()

        await self._thread.aclose(end)

    def _explained(self, job: Callable[[Connection], T], *, is_writing: bool = False) -> T:
        """Wait for another program that holds the file; a write that it refuses changes nothing.

        Raise `StoreUnavailable` for an error of the database or the system.
        """
        until_s = monotonic() + (0.0 if self._was_held else opening.BUSY_S)
        while True:
            try:
                result = self._run_and_mend(job)
            except (*DATABASE_ERRORS, OSError) as error:
                was_held = is_held(error, self.path)
                if was_held and self.is_patient and monotonic() < until_s:
                    sleep(_RETRY_S)
                    continue
                self._was_held = self._was_held or was_held
                # one in memory would be lost
                if self._is_file and not (was_held or name_of(error) == "SQLITE_INTERRUPT"):
                    self._disconnect()
                raise explain(error, self.path) from error
            if is_writing:
                self._was_held = False
            return result

    def _run_and_mend(self, job: Callable[[Connection], T]) -> T:
        """If an index is damaged, rebuild all and run the job again.

        SQLite's check of the pages decides whether the file is damaged, never an error alone.
        """
        try:
            return self._run_once(job)
        except DATABASE_ERRORS as error:
            if not self._is_file or not is_damage(error):
                raise
            _logger.warning("the session file: %s", name_of(error) or type(error).__name__)
            self._disconnect()
            if not renew_indexes(self.path):
                self._damaged_file = self._file_identity()
                self.notice = explain(error, self.path).message_with_next_step
                raise
            self.notice = (
                f"An index in {self.path.name} was damaged and was rebuilt; all messages are there."
            )
        return self._run_once(job)

    def _run_once(self, job: Callable[[Connection], T]) -> T:
        if self._opened_file != self._file_identity():
            if self._connection is not None:
                self.notice = (
                    f"{self.path.name} was replaced by another program; "
                    "what was saved before may not be in it."
                )
            self._disconnect()
            if self.is_damaged:
                raise LostRecordError("it was damaged before")
        return job(self._connection or self._open())

    def _open(self) -> Connection:
        with ExitStack() as stack:
            if self._look is not None:
                file = real_file(self.path)
                # held by another lmchat, or on a read-only disk
                with suppress(OSError), locked(file, wait_s=0.0):
                    self.notice = self._look() or self.notice
                stack.enter_context(
                    locked(file, is_shared=True, wait_s=HELD_S if self.is_patient else 0.0)
                )
            self._connection = connection = self._connect()
            self._opened_file = self._file_identity()
            self._lock = stack.pop_all()
        self.notice = connection.notice or self.notice
        return connection

    def _file_identity(self) -> tuple[int, int] | None:
        if not self._is_file:
            return None
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = self._opened_file = None
        self._lock.close()


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
