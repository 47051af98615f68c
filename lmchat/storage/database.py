"""Connections to `sessions.db`, the threads that use them, and the errors of SQLite and of the system."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from datetime import datetime
from operator import methodcaller
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from lmchat.domain.message import now
from lmchat.errors import StoreUnavailable
from lmchat.files import ensure_folder
from lmchat.storage.schema import (
    all_or_nothing,
    ensure_index,
    has_index,
    migrate,
    refuse_other_versions,
    renew_index,
)

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

BUSY_S = 5.0
"""How long to wait for another process that is writing."""
_LOOK_AGAIN_S = 0.02
_SETTINGS = (
    # kB of pages kept in memory; the system keeps them too, so more would not be faster.
    "pragma cache_size = -500",
    # Of a new file. A turn changes some twenty pages, and whole ones are written: 65 kB so, 205 kB with
    # SQLite's usual 4096. Sessions are read as fast.
    "pragma page_size = 1024",
    # Pages; in bytes as much as SQLite's usual 1000 of its usual size.
    "pragma wal_autocheckpoint = 4000",
    "pragma foreign_keys = on",
)
_NO_SHARED_MEMORY = ("SQLITE_IOERR_SHMOPEN", "SQLITE_IOERR_SHMMAP", "SQLITE_IOERR_LOCK", "SQLITE_PROTOCOL")
_FILE_MODE = 0o600
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_STEPS_BETWEEN_LOOKS = 100
"""Steps of SQLite between two checks whether a query is still wanted: some rows of a search through texts."""
_STEPS_OF_A_SEARCH = 1000
"""The same on the thread of searches, where nothing else waits: well below a millisecond."""
_text = methodcaller("decode", "utf-8", "replace")
"""Decodes each column of each row; a damaged byte costs itself, not the row."""

_NO_ROOM = "Make room on the disk; what is missing is then written."
_PERMISSION = "Check who may write there, or set LMCHAT_HOME to another folder."
_LOCKED = ("another program keeps it locked", "Close what else uses it, then try again.")
_DAMAGED = ("it is damaged", "The next start of lmchat sets it aside and begins a new one.")
_NOT_WRITTEN = ("it may not be written", _PERMISSION)
_SQLITE = {
    "SQLITE_FULL": ("there is no room left", _NO_ROOM),
    "SQLITE_IOERR_WRITE": ("there is no room left, or the disk refuses to write", _NO_ROOM),
    "SQLITE_IOERR_SHMSIZE": ("there is no room left", _NO_ROOM),
    "SQLITE_READONLY": _NOT_WRITTEN,
    "SQLITE_PERM": _NOT_WRITTEN,
    "SQLITE_AUTH": _NOT_WRITTEN,
    "SQLITE_CANTOPEN": ("it cannot be opened", _PERMISSION),
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_CORRUPT": _DAMAGED,
    "SQLITE_NOTADB": _DAMAGED,
    "SQLITE_IOERR": (
        "the disk reports an error, or there is no room left",
        "Make room on the disk, or check it.",
    ),
}
_SYSTEM = {
    errno.ENOSPC: ("there is no room left", _NO_ROOM),
    errno.EDQUOT: ("there is no room left for this user", _NO_ROOM),
    errno.EFBIG: ("there is no room left for it", _NO_ROOM),
    errno.EACCES: _NOT_WRITTEN,
    errno.EPERM: _NOT_WRITTEN,
    errno.EROFS: ("the disk is read-only", _PERMISSION),
    errno.ENOTDIR: ("a part of its path is a file", "Set LMCHAT_HOME to a folder."),
}
_PASSING = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_INTERRUPT", "SQLITE_CONSTRAINT"),
    *("SQLITE_FULL", "SQLITE_IOERR_WRITE"),  # a full disk may have no room to open the file once more
)
_BARE = "SQLITE_IOERR"
"""FTS5's name for a full disk; other errors of the disk have longer names."""
_DAMAGED_SCHEMA = re.compile(
    "no such (table|column): |has no column named | already exists$|unsupported file format$"
)
"""SQLite's words, for which it has no code, where entries of its schema or the version number are damaged."""
BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a damaged file: SQLite's message about a damaged table may itself be no text."""


class LostRowError(sqlite3.DatabaseError):
    """A row that was just written is not there: an index is broken, which SQLite does not notice."""


class Connection(sqlite3.Connection):
    """An SQLite connection that knows what its build and its file can do."""

    path = Path()
    has_index = False
    can_fold = False
    is_wal = False
    """Whether readers and one writer get along without waiting."""
    is_read_only = False


def explain(error: Exception, path: Path) -> StoreUnavailable:
    """Return the error to show for a file that failed."""
    reason, hint = _reason(error)
    return StoreUnavailable(
        f"{path.name} cannot be used: {reason}.", hint=hint, details=f"{path}: {name_of(error) or error}"
    )


def closed() -> StoreUnavailable:
    """Return the error for a call after the end."""
    return StoreUnavailable("The sessions are closed: lmchat is about to end.")


def name_of(error: BaseException) -> str:
    """Return SQLite's name of an error, empty where it has none."""
    return str(getattr(error, "sqlite_errorname", None) or "")


def is_damage(error: Exception) -> bool:
    """Whether the file itself is broken."""
    if isinstance(error, UnicodeDecodeError | LostRowError):
        return True
    return name_of(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")) or bool(
        _DAMAGED_SCHEMA.search(str(error))
    )


def connect(path: Path) -> Connection:
    """Open the file, make it where it is missing, and bring its tables up to date.

    Raises `OSError` or `sqlite3.Error` where it cannot be used, `StoreUnavailable` for a newer format.
    """
    try:
        ensure_folder(path.parent)
        _ensure_file(path)
    except OSError as error:
        if error.errno in _NOT_WRITABLE and os.access(path, os.R_OK):
            return _connect_to_read(path)
        raise
    with suppress(OSError):  # a file of another user that we may write keeps its mode
        path.chmod(_FILE_MODE)
    connection = _opened(path, "mode=rw")
    try:
        for setting in _SETTINGS:
            connection.execute(setting)
        connection.is_wal = _use_wal(connection)
        migrate(connection)
        connection.has_index = ensure_index(connection) and _has_index(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def connect_beside(path: Path) -> Connection:
    """Open an existing file for reading, as writable: else the write-ahead log would stay behind."""
    connection = _opened(path, "mode=rw")
    try:
        refuse_other_versions(connection)
        connection.execute(_SETTINGS[0])
        connection.has_index = _has_index(connection)
        connection.execute("pragma query_only = on")
        connection.is_wal = connection.execute("pragma journal_mode").fetchone()[0] == "wal"
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: Connection, *, is_durable: bool) -> Iterator[None]:
    """Do all or nothing; a durable one returns when the disk has it.

    Where WAL cannot work, every one is durable: a rollback journal is not safe otherwise.
    """
    level = "full" if is_durable or not connection.is_wal else "normal"
    connection.execute(f"pragma synchronous = {level}")
    with all_or_nothing(connection):
        yield


@contextmanager
def without_waiting(connection: Connection) -> Iterator[None]:
    """Fail at once, inside the block, where another process holds the file."""
    connection.execute("pragma busy_timeout = 0")
    try:
        yield
    finally:
        connection.execute(f"pragma busy_timeout = {int(BUSY_S * 1000)}")


class _OwnThread:
    """A thread for one connection, which is opened there when it is first wanted."""

    def __init__(self, name: str) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the opened file: it may have been replaced since."""
        self._is_closed = False

    async def aclose(self) -> None:
        """Wait for what is pending and close the connection; done again, that does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        future = self._thread.submit(self._disconnect)
        self._thread.shutdown(wait=False)
        await asyncio.shield(asyncio.wrap_future(future))

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None


class Database(_OwnThread):
    """Thread that runs jobs, functions of the connection, one after the other.

    The file is opened with the first job. A failed job leaves nothing half-written; after a failure of the
    disk the next job opens the file again. `prepare` puts an opened file in order; `begin_anew` replaces a
    damaged one and returns a sentence about it; `index_batch` returns whether there is more to index.
    """

    def __init__(
        self,
        path: Path,
        *,
        prepare: Callable[[Connection, datetime], None],
        begin_anew: Callable[[Path, datetime], tuple[Connection, str]],
        index_batch: Callable[[Connection], bool],
        clock: Callable[[], datetime] = now,
    ) -> None:
        super().__init__("lmchat-disk")
        self.path = path
        self.notice = ""
        """One sentence for the user about what opening the file had to do; empty where all was well."""
        self._prepare = prepare
        self._replace = begin_anew
        self._index_batch = index_batch
        self._clock = clock

    async def read(
        self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run a job that changes nothing; cancelling the caller ends it."""
        is_unwanted = threading.Event()
        try:
            return await self._done(lambda c: job(c, *args, **options), is_unwanted.is_set)
        finally:
            is_unwanted.set()

    async def write(
        self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run a job in one transaction; cancelling the caller does not stop it."""
        return await self._written(lambda c: job(c, *args, **options), is_durable=False)

    async def write_durably(
        self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run a job in one transaction, and return when it would survive a power cut."""
        return await self._written(lambda c: job(c, *args, **options), is_durable=True)

    def identity(self) -> tuple[int, int] | None:
        """Return device and inode of the file; None if it is missing."""
        try:
            stat = self.path.stat()
        except OSError:
            return None
        return stat.st_dev, stat.st_ino

    async def _written(self, job: Callable[[Connection], T], *, is_durable: bool) -> T:
        def in_transaction(connection: Connection) -> T:
            with transaction(connection, is_durable=is_durable):
                return job(connection)

        return await asyncio.shield(self._done(in_transaction, None))

    def _done(
        self, job: Callable[[Connection], T], is_unwanted: Callable[[], bool] | None
    ) -> asyncio.Future[T]:
        if self._is_closed:
            raise closed()
        return asyncio.wrap_future(self._thread.submit(self._run, job, is_unwanted))

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
            if not _is_passing(error):
                self._disconnect()
            raise explain(error, self.path) from error

    def _attempt(self, job: Callable[[Connection], T], is_unwanted: Callable[[], bool] | None) -> T:
        if self._connection is not None and self._file != self.identity():
            log.warning("the session file was removed or replaced; it is opened afresh")
            self._disconnect()
        connection = self._connection or self._adopt(connect(self.path))
        connection.set_progress_handler(is_unwanted, _STEPS_BETWEEN_LOOKS)
        return job(connection)

    def _adopt(self, connection: Connection) -> Connection:
        self._connection = connection
        self._file = self.identity()
        try:
            self._prepare(connection, self._clock())
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            log.warning("tidying the session file failed: %s", error)  # reading may still work
        self._index_later()
        return connection

    def _index_later(self) -> None:
        """Index a batch after all jobs that wait now; at least one is done however short a run is."""
        with suppress(RuntimeError):  # the thread takes nothing more
            self._thread.submit(self._index)

    def _index(self) -> None:
        if self._connection is None or self._connection.is_read_only:
            return
        self._connection.set_progress_handler(None, 0)
        try:
            with without_waiting(self._connection):
                is_more = self._index_batch(self._connection)
        except BROKEN as error:  # what is not indexed is found all the same, and the next start tries again
            log.info("indexing waits: %s", name_of(error) or type(error).__name__)
        else:
            if is_more and not self._is_closed:
                self._index_later()

    def _repair(self, error: Exception) -> None:
        """Rebuild the search index if that alone is broken, else replace the whole file."""
        if name_of(error) == "SQLITE_CORRUPT_VTAB" and self._connection is not None:
            log.warning("the search index is damaged and made anew")
            self._connection.set_progress_handler(None, 0)  # a cancelled search must not stop this
            try:
                renew_index(self._connection)
            except sqlite3.Error:
                self._begin_anew(error)
            else:
                self._disconnect()
            return
        self._disconnect()
        if not _is_sound(self.path):  # else another process has set the damaged one aside
            self._begin_anew(error)

    def _begin_anew(self, error: Exception) -> None:
        log.warning("the session file is damaged: %s", name_of(error) or type(error).__name__)
        self._disconnect()
        connection, self.notice = self._replace(self.path, self._clock())
        self._adopt(connection)


class Reader(_OwnThread):
    """Thread for searches, so that they do not delay other jobs; what fails is done by the database."""

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
            connection.set_progress_handler(is_unwanted, _STEPS_OF_A_SEARCH)
            return job(connection)
        except (*BROKEN, OSError, StoreUnavailable) as error:
            if name_of(error) == "SQLITE_INTERRUPT":
                raise closed() from error  # or the caller was cancelled
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
            self._connection = connect_beside(self._database.path)
            self._file = identity
        if not self._connection.is_wal:
            raise _NotHereError
        return self._connection


class _NotHereError(Exception):
    """The job has to be done on the thread of the database."""


def _opened(path: Path, how: str) -> Connection:
    place = f"file:{quote(str(path.absolute()))}?{how}"
    connection = sqlite3.connect(place, uri=True, timeout=BUSY_S, isolation_level=None, factory=Connection)
    connection.path = path
    connection.text_factory = _text
    return connection


def _ensure_file(path: Path) -> None:
    """Make the file where it is missing; never open an existing one: closing it would end its locks."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE))
    elif not os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _connect_to_read(path: Path) -> Connection:
    """Open a file that this user may only read; writing to it then fails with a clear error.

    WAL wants to write beside the file even for reading; where that cannot be, the file counts as unchanging.
    """
    for how in ("mode=ro", "immutable=1"):
        connection = _opened(path, how)
        try:
            refuse_other_versions(connection)
            connection.has_index = _has_index(connection)
            connection.is_read_only = True
        except sqlite3.OperationalError as error:
            connection.close()
            if not name_of(error).startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _use_wal(connection: Connection) -> bool:
    """Turn on write-ahead logging; false if the file system cannot share memory for it.

    SQLite does not wait for a lock here by itself, and two programs may start at the same moment.
    """
    until = time.monotonic() + BUSY_S
    while True:
        try:
            return bool(connection.execute("pragma journal_mode = wal").fetchone()[0] == "wal")
        except sqlite3.OperationalError as error:
            if name_of(error).startswith("SQLITE_BUSY") and time.monotonic() < until:
                time.sleep(_LOOK_AGAIN_S)
            elif name_of(error).startswith(_NO_SHARED_MEMORY):
                log.info("write-ahead logging does not work here: %s", name_of(error))
                connection.execute("pragma journal_mode = delete")
                return False
            else:
                raise


def _has_index(connection: Connection) -> bool:
    """Whether the file has a search index that this SQLite can read; make the list of its trigrams too."""
    try:
        connection.execute("create virtual table temp.gram_list using fts5vocab (main, trigrams, row)")
    except sqlite3.OperationalError:
        return False
    return has_index(connection)


def _is_sound(path: Path) -> bool:
    try:
        with closing(connect(path)) as connection:
            return bool(connection.execute("pragma quick_check(1)").fetchone()[0] == "ok")
    except BROKEN:
        return False


def _is_passing(error: Exception) -> bool:
    """Whether the connection is as good as before."""
    return name_of(error).startswith(_PASSING) or name_of(error) == _BARE


def _reason(error: Exception) -> tuple[str, str]:
    if isinstance(error, OSError):
        return _SYSTEM.get(error.errno or 0, (error.strerror or str(error), _PERMISSION))
    name = "SQLITE_CORRUPT" if is_damage(error) else name_of(error)
    for prefix, reason in _SQLITE.items():
        if name.startswith(prefix):
            return reason
    return str(error), "Look into the log file, then start lmchat again."
