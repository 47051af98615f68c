"""Connection to `sessions.db`, the thread that uses it, and the errors of SQLite and of the system."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from operator import methodcaller
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar
from urllib.parse import quote

from lmchat.errors import StoreUnavailable
from lmchat.files import OPEN_FLAGS, ensure_folder
from lmchat.storage.row_values import contains
from lmchat.storage.schema import (
    ensure_index,
    migrate,
    refuse_other_versions,
    renew_index,
    transaction,
)

log = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

BUSY_S = 5.0  # wait for another process that is writing
_RETRY_S = 0.02
_SETTINGS = (
    "pragma cache_size = -500",  # kB; the system caches the file too
    "pragma page_size = 1024",  # a turn changes about 20 pages: 65 kB, not 205 kB as with SQLite's usual 4096
    "pragma wal_autocheckpoint = 4000",  # pages: 4 MB, SQLite's usual size
    "pragma synchronous = full",
    "pragma foreign_keys = on",
)
_NO_SHARED_MEMORY = (
    "SQLITE_IOERR_SHMOPEN",
    "SQLITE_IOERR_SHMMAP",
    "SQLITE_IOERR_LOCK",
    "SQLITE_PROTOCOL",
)
_FILE_MODE = 0o600
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)
_STEPS_BETWEEN_CHECKS = 100
"""Steps of SQLite between two checks whether a query is still wanted: a few rows of a search."""
_text = methodcaller("decode", "utf-8", "replace")
"""Decoder of text columns: a damaged byte does not cost the row."""

_NO_ROOM = "Free some disk space; lmchat then saves the rest."
_PERMISSION = "Check the permissions there, or set LMCHAT_HOME to another folder."
_LOCKED = ("another program has locked it", "Close the other program, then try again.")
_DAMAGED = ("it is damaged", "At the next start lmchat renames it and creates a new one.")
_NOT_WRITTEN = ("writing is not permitted", _PERMISSION)
_BAD_DISK = ("the disk reports an error, or is full", "Free some disk space, or check the disk.")
_FULL = ("the disk is full", _NO_ROOM)
_REASONS = {
    **dict.fromkeys(("SQLITE_FULL", "SQLITE_IOERR_WRITE", "ENOSPC", "EDQUOT", "EFBIG"), _FULL),
    "SQLITE_IOERR": _BAD_DISK,
    "SQLITE_CANTOPEN": ("it cannot be opened", _PERMISSION),
    **dict.fromkeys(
        ("SQLITE_READONLY", "SQLITE_PERM", "SQLITE_AUTH", "EACCES", "EPERM"), _NOT_WRITTEN
    ),
    **dict.fromkeys(("SQLITE_BUSY", "SQLITE_LOCKED"), _LOCKED),
    **dict.fromkeys(("SQLITE_CORRUPT", "SQLITE_NOTADB"), _DAMAGED),
    "EROFS": ("the disk is read-only", _PERMISSION),
    "ENOTDIR": ("a part of its path is a file", "Set LMCHAT_HOME to a folder."),
}
"""Reason and next step by the beginning of the name of an error, SQLite's or the system's."""
_PASSING = (
    *("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_INTERRUPT", "SQLITE_CONSTRAINT"),
    *(
        "SQLITE_FULL",
        "SQLITE_IOERR_WRITE",
    ),  # a full disk may have no room to open the file once more
)
_BARE = "SQLITE_IOERR"  # FTS5's name for a full disk; other errors of the disk have longer names
_DAMAGED_SCHEMA = re.compile(
    "no such (table|column): |has no column named | already exists$|unsupported file format$"
)
"""Messages of SQLite, which has no code for them, about a damaged schema or version number."""
BROKEN = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a damaged file: SQLite's own message may be undecodable."""


class LostRowError(sqlite3.DatabaseError):
    """Missing row that was just written: an index is broken, which SQLite does not notice."""


class Connection(sqlite3.Connection):
    """An SQLite connection with the path of its file."""

    path = Path()
    is_read_only = False


def explain(error: Exception, path: Path) -> StoreUnavailable:
    """Return the error to show for a failure of a file."""
    reason, hint = _reason(error)
    details = f"{path}: {name_of(error) or error}"
    shown = path if isinstance(error, NotADirectoryError) else path.name
    return StoreUnavailable(f"{shown} cannot be used: {reason}.", hint=hint, details=details)


def closed() -> StoreUnavailable:
    """Return the error for a call after the end."""
    return StoreUnavailable("The sessions are closed because lmchat is quitting.")


def name_of(error: BaseException) -> str:
    """Return SQLite's name of an error, empty where it has none."""
    return str(getattr(error, "sqlite_errorname", None) or "")


def is_damage(error: Exception) -> bool:
    """Return whether the file itself is broken."""
    if isinstance(error, UnicodeDecodeError | LostRowError) or _DAMAGED_SCHEMA.search(str(error)):
        return True
    return name_of(error).startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB"))


def connect(path: Path) -> Connection:
    """Open or make the file, and bring its tables up to date.

    Raises `OSError` or `sqlite3.Error` if it cannot be used, `StoreUnavailable` for a newer format.
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
        _use_wal(connection)
        migrate(connection)
        ensure_index(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def is_sound(path: Path) -> bool:
    """Return whether all pages fit together; reads the whole file."""
    try:
        with closing(connect(path)) as connection:
            return bool(connection.execute("pragma quick_check(1)").fetchone()[0] == "ok")
    except BROKEN:
        return False


class Database:
    """Thread that runs jobs, which are functions of the connection, one after the other.

    The first job opens the file, and the next one after a failure of the disk opens it again. `after_opening`
    puts an opened file in order; `begin_anew` replaces a damaged one and returns a sentence about it.
    """

    def __init__(
        self,
        path: Path,
        after_opening: Callable[[Connection], None],
        begin_anew: Callable[[], tuple[Connection, str]],
    ) -> None:
        self.path = path
        self.notice = ""  # sentence for the user about a replaced file
        self._after_opening = after_opening
        self._replace = begin_anew
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lmchat-disk")
        self._connection: Connection | None = None
        self._file: tuple[int, int] | None = None
        """Device and inode of the opened file: it may be replaced later."""
        self._is_closed = False

    async def read(
        self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run a job that changes nothing; cancelling the caller ends it."""
        is_unwanted = threading.Event()

        def cancellable(connection: Connection) -> T:
            connection.set_progress_handler(is_unwanted.is_set, _STEPS_BETWEEN_CHECKS)
            return job(connection, *args, **options)

        try:
            return await self._done(cancellable)
        finally:
            is_unwanted.set()

    async def write(
        self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run a job in a transaction that survives a power cut; cancelling the caller does not stop it."""

        def in_transaction(connection: Connection) -> T:
            connection.set_progress_handler(None, 0)
            with transaction(connection):
                return job(connection, *args, **options)

        return await asyncio.shield(self._done(in_transaction))

    async def aclose(self) -> None:
        """Wait for what is pending and close the connection."""
        if not self._is_closed:
            self._is_closed = True
            future = self._thread.submit(self._disconnect)
            self._thread.shutdown(wait=False)
            await asyncio.shield(asyncio.wrap_future(future))

    def _done(self, job: Callable[[Connection], T]) -> asyncio.Future[T]:
        if self._is_closed:
            raise closed()
        return asyncio.wrap_future(self._thread.submit(self._run, job))

    def _run(self, job: Callable[[Connection], T]) -> T:
        try:
            for repair in (self._repair, self._begin_anew):
                try:
                    return self._attempt(job)
                except BROKEN as error:
                    if not is_damage(error):
                        raise
                    repair(error)
            return self._attempt(job)
        except (*BROKEN, OSError) as error:
            if not name_of(error).startswith(_PASSING) and name_of(error) != _BARE:
                self._disconnect()
            raise explain(error, self.path) from error

    def _attempt(self, job: Callable[[Connection], T]) -> T:
        if self._connection is not None and self._file != self._identity():
            log.warning("the session file was removed or replaced; it is opened again")
            self._disconnect()
        return job(self._connection or self._use(connect(self.path)))

    def _use(self, connection: Connection) -> Connection:
        self._connection = connection
        self._file = self._identity()
        try:
            self._after_opening(connection)
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            log.warning(
                "putting the session file in order failed: %s", error
            )  # reading may still work
        return connection

    def _identity(self) -> tuple[int, int] | None:
        with suppress(OSError):
            stat = self.path.stat()
            return stat.st_dev, stat.st_ino
        return None

    def _disconnect(self) -> None:
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None

    def _repair(self, error: Exception) -> None:
        """Rebuild the search index if that alone is broken, else replace the whole file."""
        if name_of(error) == "SQLITE_CORRUPT_VTAB" and self._connection is not None:
            log.warning("the search index is damaged and made again")
            self._connection.set_progress_handler(None, 0)  # a cancelled search must not stop this
            with suppress(sqlite3.Error):
                renew_index(self._connection)
                self._disconnect()
                return
        self._disconnect()
        if not is_sound(self.path):  # else another process has set the damaged one aside
            self._begin_anew(error)

    def _begin_anew(self, error: Exception) -> None:
        log.warning("the session file is damaged: %s", name_of(error) or type(error).__name__)
        self._disconnect()
        connection, self.notice = self._replace()
        self._use(connection)


class MemoryDatabase:
    """Thread that runs jobs on a database without a file; no part of it is ever on the disk."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lmchat-memory")
        self._connection: Connection | None = None

    async def run(
        self, job: Callable[Concatenate[Connection, P], T], *args: P.args, **options: P.kwargs
    ) -> T:
        """Run a job in a transaction; cancelling the caller does not stop it."""

        def in_transaction() -> T:
            if self._connection is None:
                self._connection = connect_in_memory()
            with transaction(self._connection):
                return job(self._connection, *args, **options)

        try:
            future = self._thread.submit(in_transaction)
        except RuntimeError:
            raise closed() from None
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except sqlite3.Error as error:
            raise explain(error, Path("memory")) from error

    async def aclose(self) -> None:
        """Drop what is in memory, after what is pending."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await asyncio.wrap_future(self._thread.submit(connection.close))
        self._thread.shutdown(wait=False)


def connect_in_memory() -> Connection:
    """Return a database without a file, with all tables."""
    connection = sqlite3.connect(":memory:", isolation_level=None, factory=Connection)
    _prepare(connection, Path(os.devnull))  # no file is beside that
    connection.execute("pragma temp_store = memory")  # also what a large sort would write to a file
    connection.execute("pragma foreign_keys = on")
    migrate(connection)
    ensure_index(connection)
    return connection


def _opened(path: Path, how: str) -> Connection:
    place = f"file:{quote(str(path.absolute()))}?{how}"
    connection = sqlite3.connect(
        place, uri=True, timeout=BUSY_S, isolation_level=None, factory=Connection
    )
    _prepare(connection, path)
    return connection


def _prepare(connection: Connection, path: Path) -> None:
    # or deleted text stays in the file until its place is used again; not every SQLite is built so
    connection.execute("pragma secure_delete = on")
    connection.path = path
    connection.text_factory = _text
    connection.create_function("contains", 2, contains, deterministic=True)


def _ensure_file(path: Path) -> None:
    """Make a missing file; never open an existing one: closing it would end its locks."""
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | OPEN_FLAGS, _FILE_MODE))
    elif not os.access(
        path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids
    ):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _connect_to_read(path: Path) -> Connection:
    """Open a read-only file: as immutable where WAL cannot write beside it, which it does for reading too."""
    for how in ("mode=ro", "immutable=1"):
        connection = _opened(path, how)
        connection.is_read_only = True
        try:
            refuse_other_versions(connection)
        except BaseException as error:
            connection.close()
            if not name_of(error).startswith(("SQLITE_CANTOPEN", "SQLITE_READONLY")):
                raise
        else:
            return connection
    raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _use_wal(connection: Connection) -> None:
    """Turn on write-ahead logging, or a journal where the file system cannot share memory.

    SQLite does not wait for a lock here, and two programs may start together.
    """
    until = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("pragma journal_mode = wal")
        except sqlite3.OperationalError as error:
            if name_of(error).startswith("SQLITE_BUSY") and time.monotonic() < until:
                time.sleep(_RETRY_S)
                continue
            if not name_of(error).startswith(_NO_SHARED_MEMORY):
                raise
            log.info("write-ahead logging does not work here: %s", name_of(error))
            connection.execute("pragma journal_mode = delete")
        return


def _reason(error: Exception) -> tuple[str, str]:
    name = "SQLITE_CORRUPT" if is_damage(error) else name_of(error)
    unknown = (str(error), "Check the log file, then start lmchat again.")
    if isinstance(error, OSError):
        name = errno.errorcode.get(error.errno or 0, "")
        unknown = (error.strerror or str(error), _PERMISSION)
    return next((reason for prefix, reason in _REASONS.items() if name.startswith(prefix)), unknown)
