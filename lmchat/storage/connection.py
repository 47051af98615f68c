"""A connection to `sessions.db`, set up as lmchat needs it."""

from __future__ import annotations

import errno
import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from operator import methodcaller
from pathlib import Path
from urllib.parse import quote

from lmchat.files import ensure_folder
from lmchat.storage.faults import name_of
from lmchat.storage.gram_table import ensure_grams, has_grams
from lmchat.storage.schema import all_or_nothing, ensure_words, has_words, migrate, refuse_other_versions

log = logging.getLogger(__name__)

BUSY_S = 5.0
"""How long to wait for another process that is writing."""
_LOOK_AGAIN_S = 0.02
_CACHE = "pragma cache_size = -500"
"""Pages read last that SQLite keeps, in kB; the system keeps them too, so more would not be faster."""
_PAGE_SIZE = "pragma page_size = 1024"
"""Of a new file. A turn changes some twenty pages, and whole ones are written: 65 kB so, 205 kB with SQLite's
usual 4096. Sessions and words are read as fast."""
_CHECKPOINT = "pragma wal_autocheckpoint = 4000"
"""Pages; in bytes as much as SQLite's usual 1000 of its usual size."""
_NO_SHARED_MEMORY = ("SQLITE_IOERR_SHMOPEN", "SQLITE_IOERR_SHMMAP", "SQLITE_IOERR_LOCK", "SQLITE_PROTOCOL")
_FILE_MODE = 0o600
_text = methodcaller("decode", "utf-8", "replace")
"""Reads text, for each column of each row; a damaged byte costs itself, not the row."""
_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS)


class Connection(sqlite3.Connection):
    """An SQLite connection that knows what its build and its file can do."""

    path = Path()
    """The file."""
    has_words = False
    """Whether there is an index of words (FTS5)."""
    has_grams = False
    """Whether there is an index of trigrams."""
    searched: tuple[str, ...] | None = None
    """What its function `holds` looks for; None where it has no such function yet."""

    def set_up_to_read(self, path: Path) -> None:
        """Read this file as all connections do."""
        self.path = path
        self.text_factory = _text
        self.execute(_CACHE)

    is_wal = False
    """Whether readers and one writer get along without waiting."""
    is_read_only = False
    """Whether this user may not write the file."""


def connect(path: Path) -> Connection:
    """Open the file, make it where it is missing, and bring its tables up to date.

    Raises:
        OSError: folder or file cannot be made or written.
        sqlite3.Error: it is damaged, locked, or cannot be written.
        StoreUnavailable: a newer lmchat wrote it.
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
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, factory=Connection)
    connection.path = path
    try:
        _set_up(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _ensure_file(path: Path) -> None:
    """Make the file where it is missing.

    One that is there is not opened for a look: closing it would end all locks that this process has on it.
    """
    if not path.exists():
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE))
    elif not os.access(path, os.R_OK | os.W_OK, effective_ids=os.access in os.supports_effective_ids):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))


def _connect_to_read(path: Path) -> Connection:
    """Open a file that this user may only read; writing to it then fails with a clear error.

    WAL wants to write beside the file even for reading; where that cannot be, the file counts as unchanging.
    """
    place = f"file:{quote(str(path.absolute()))}"
    for how in ("mode=ro", "immutable=1"):
        connection = sqlite3.connect(
            f"{place}?{how}", uri=True, timeout=BUSY_S, isolation_level=None, factory=Connection
        )
        try:
            connection.set_up_to_read(path)
            refuse_other_versions(connection)
            connection.has_words, connection.has_grams = has_words(connection), has_grams(connection)
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


@contextmanager
def transaction(connection: Connection, *, is_durable: bool) -> Iterator[None]:
    """Do all or nothing; a durable one returns when the disk has it.

    Where WAL cannot work, every one is durable: a rollback journal is not safe otherwise.
    """
    level = "full" if is_durable or not connection.is_wal else "normal"
    connection.execute(f"pragma synchronous = {level}")
    with all_or_nothing(connection):
        yield


def _set_up(connection: Connection) -> None:
    connection.text_factory = _text
    for setting in (_CACHE, _PAGE_SIZE, _CHECKPOINT):
        connection.execute(setting)
    connection.execute("pragma foreign_keys = on")
    connection.is_wal = _use_wal(connection)
    migrate(connection)
    connection.has_words = ensure_words(connection)
    connection.has_grams = connection.has_words and ensure_grams(connection)


def _use_wal(connection: Connection) -> bool:
    """Turn on write-ahead logging; false where the file system cannot share memory for it.

    SQLite does not wait for a lock here by itself, and two programs may start at the same moment.
    """
    until = time.monotonic() + BUSY_S
    while True:
        try:
            mode = connection.execute("pragma journal_mode = wal").fetchone()[0]
        except sqlite3.OperationalError as error:
            if name_of(error).startswith("SQLITE_BUSY") and time.monotonic() < until:
                time.sleep(_LOOK_AGAIN_S)
            elif name_of(error).startswith(_NO_SHARED_MEMORY):
                log.info("write-ahead logging does not work here: %s", name_of(error))
                connection.execute("pragma journal_mode = delete")
                return False
            else:
                raise
        else:
            return bool(mode == "wal")
