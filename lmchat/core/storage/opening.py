"""Opening and checking of `sessions.db`, the settings of SQLite, and words for its errors."""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from operator import methodcaller
from pathlib import Path
from urllib.parse import quote

from lmchat.base.errors import StoreDamaged, StoreUnavailable
from lmchat.base.files.disk import (
    FULL,
    LOCKED,
    NOT_WRITABLE,
    OPEN_FLAGS,
    OWNER_ONLY,
    PERMISSION,
    ensure_folder,
    explain_system_error,
    files_in,
    refusal_to_write,
    status_of,
)
from lmchat.base.files.locks import has_locks
from lmchat.core.storage.record_values import contains, searchable
from lmchat.core.storage.schema import (
    TABLES,
    forget_index,
    index_anew,
    migrate,
    newest_version,
    version_of,
)

# in a damaged file, SQLite's own message may be undecodable
DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
# beginnings of names of errors
_HELD = ("SQLITE_BUSY", "SQLITE_LOCKED")
_NO_LOCKS = (
    "the disk has no file locks, as some network disks",
    "Set LMCHAT_HOME to a folder on this machine.",
)
# reason and next step by the beginning of SQLite's name of an error; the first counts
_REASONS = {
    "SQLITE_FULL": FULL,
    "SQLITE_IOERR_WRITE": FULL,
    "SQLITE_PROTOCOL": _NO_LOCKS,  # its message is "locking protocol"
    "SQLITE_IOERR_LOCK": _NO_LOCKS,
    "SQLITE_IOERR_RDLOCK": _NO_LOCKS,
    "SQLITE_IOERR_CHECKRESERVEDLOCK": _NO_LOCKS,
    "SQLITE_IOERR_UNLOCK": _NO_LOCKS,
    "SQLITE_IOERR": (
        "the disk reports an error, or is full",
        "Free some disk space, or check the disk.",
    ),
    "SQLITE_CANTOPEN": ("it cannot be opened", PERMISSION),
    "SQLITE_READONLY": NOT_WRITABLE,
    **dict.fromkeys(_HELD, LOCKED),
}
BUSY_S = 2.0  # wait for another process that is writing
HELD_S = 0.1  # the same, for each try; after a wait in vain, there is one
_SETTINGS = (
    "pragma cache_size = -500",  # kB; the system caches the file too
    "pragma synchronous = full",
    "pragma fullfsync = on",  # macOS; its `fsync` leaves data in the disk's own cache
    "pragma foreign_keys = on",
)
# a damaged byte does not cost the row
_decode_text = methodcaller("decode", "utf-8", "replace")


class LostRecordError(sqlite3.DatabaseError):
    """Damage of which SQLite raises no error, as that a row just written is missing."""

    sqlite_errorname = "SQLITE_CORRUPT"  # so `is_damage` is true of it


class Connection(sqlite3.Connection):
    """Connection to a database in a file, or in memory."""

    path = Path(os.devnull)  # in memory: no file of an answer is beside it
    notice = ""  # see `Store.notice`
    changed_rows = 0  # rows of sessions, on this connection
    number = 0  # random, unlike that of any other


@contextmanager
def transaction(connection: Connection, mode: str = "immediate") -> Iterator[None]:
    """Lock the file for writing from the beginning, if `exclusive` also for reading.

    The first page, with which the journal begins, has the number of this connection before anything
    else changes: so a journal that a kill has left tells of which file it is (`set_aside_logs`).
    """
    connection.execute(f"begin {mode}")
    try:
        put_number = f"pragma application_id = {connection.number}"
        while connection.execute("pragma application_id").fetchone() != (connection.number,):
            connection.execute(put_number)
            connection.execute("commit")
            connection.execute(f"begin {mode}")
        connection.execute(put_number)
        yield
        connection.execute("commit")
    except BaseException:
        # a failure to roll back must not hide the error that caused it
        with suppress(sqlite3.Error):
            if connection.in_transaction:
                connection.execute("rollback")
        raise


def connect(path: Path) -> Connection:
    """Open the file, or create it; raise `OSError`, `sqlite3.Error`, `StoreUnavailable`."""
    file = real_file(path)
    ensure_folder(path.parent)
    # closing an existing file here would release SQLite's locks on it in this process
    is_new = status_of(path) is None
    if is_new:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | OPEN_FLAGS, OWNER_ONLY))
    with suppress(OSError):  # the file of another user, or a file system without modes
        path.chmod(OWNER_ONLY)
    # without locks, SQLite would wait for one that nobody has
    connection = _open(path, "mode=rw", busy_s=HELD_S if has_locks(path.parent) else 0.0)
    try:
        # a turn changes about 20 pages: 65 kB, not 205 kB as with the usual 4096
        connection.execute("pragma page_size = 1024")
        # Older lmchats have left a write-ahead log, whose index would be in shared memory.
        connection.execute("pragma locking_mode = exclusive")
        try:
            version = version_of(connection)  # nothing is written to one that it cannot use
            if version == 0 and not is_new and files_in(file.parent, f"{file.name}.backup-*"):
                raise LostRecordError("it was emptied")
            connection.execute("pragma journal_mode = delete")
        except sqlite3.OperationalError as error:
            if not name_of(error).startswith(_HELD):  # an older lmchat has the file open
                raise
        connection.execute("pragma locking_mode = normal")
        for setting in _SETTINGS:
            connection.execute(setting)
        if version_of(connection) != newest_version():
            with transaction(connection):
                migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def real_file(path: Path) -> Path:
    """Resolve links; companions and copies are beside the real file.

    Raises `StoreUnavailable`, and `OSError` if that cannot be seen.
    """
    status = status_of(path)
    if status and not stat.S_ISREG(status.st_mode):
        raise StoreUnavailable(
            f"{path} is a folder or a device, not a file.", next_step="Move it away."
        )
    return Path(os.path.realpath(path))  # `Path.resolve` fails at circular links


def companion(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def connect_in_memory() -> Connection:
    connection = sqlite3.connect(":memory:", isolation_level=None, factory=Connection)
    _set_up(connection)
    # a large sort would write texts to a temporary file
    connection.execute("pragma temp_store = memory")
    connection.execute("pragma foreign_keys = on")
    migrate(connection)
    return connection


def renew_indexes(path: Path) -> bool:
    """Rebuild all indexes; return whether the file is whole. One that is not stays as it is.

    SQLite's check of the pages does not compare them with the tables. Raises errors that do not
    tell of damage.
    """
    try:
        with closing(_open(path, "immutable=1", busy_s=0.0)) as connection:
            if version_of(connection) == 0:  # it was emptied: `connect` would begin a new one
                return False
        with closing(connect(path)) as connection:
            connection.execute("begin immediate")
            forget_index(connection)  # from SQLite 3.44 on, the check looks into it
            require_whole(connection)
            connection.execute("reindex")
            index_anew(connection)
            connection.execute("commit")
    except DATABASE_ERRORS as error:
        if is_damage(error):
            return False
        raise
    return True


def sessions_in(path: Path) -> int | None:
    """Count the sessions in a file that no process writes; None unless it is whole."""
    query = "select count(*) from sessions where deleted_at is null"
    try:
        with closing(_open(path, "immutable=1", busy_s=0.0)) as connection:
            if version_of(connection) == 0 or _fault(connection):
                return None
            return int(connection.execute(query).fetchone()[0])
    except (*DATABASE_ERRORS, OSError, StoreUnavailable):
        return None


def require_whole(connection: sqlite3.Connection) -> None:
    if fault := _fault(connection):
        raise LostRecordError(fault)


def _fault(connection: sqlite3.Connection, check: str = "quick_check") -> str:
    """Return the first fault in the pages, or ""; raises `sqlite3.Error`.

    SQLite takes a column for another one if a letter of its name is damaged.
    """
    with closing(sqlite3.connect(":memory:")) as new:
        migrate(new, version_of(connection))
        for table in TABLES:
            wanted, found = (
                {name for _, name, *_ in one.execute(f"pragma table_info({table})")}
                for one in (new, connection)
            )
            if not wanted <= found:
                return f"the table {table} lacks columns"
    (fault,) = connection.execute(f"pragma {check}(1)").fetchone()
    return "" if fault == "ok" else str(fault)


def check_file(path: Path) -> tuple[int, str]:
    """Check all pages, and whether the file can be written; change nothing.

    Return the format, and the first fault that SQLite has found. Raises `StoreUnavailable`.
    """
    try:
        real_file(path)
        # `connect` would change its mode, and create missing tables
        with closing(_open(path, "mode=rw", busy_s=HELD_S)) as connection:
            file_format = version_of(connection)
            # fails if it is read-only or locked
            connection.execute("begin immediate")
            connection.execute("rollback")
            fault = _fault(connection, "integrity_check")
    except (*DATABASE_ERRORS, OSError) as error:
        raise explain(error, path) from error
    return file_format, fault


def _open(path: Path, mode: str, *, busy_s: float) -> Connection:
    """`mode` is of SQLite's URI; `busy_s` is the wait for a process that writes."""
    connection = sqlite3.connect(
        f"file:{quote(os.fsencode(path.absolute()))}?{mode}",
        uri=True,
        timeout=busy_s,
        isolation_level=None,  # Python starts no transactions: `transaction` does
        factory=Connection,
    )
    connection.path = path
    _set_up(connection)
    return connection


def _set_up(connection: Connection) -> None:
    connection.number = int.from_bytes(os.urandom(4), "big") >> 1  # SQLite's number has a sign
    # zeros over deleted text; not all builds of SQLite do that by default
    connection.execute("pragma secure_delete = on")
    connection.text_factory = _decode_text  # Python's own would refuse a damaged byte
    connection.create_function("contains", 2, contains, deterministic=True)
    connection.create_function("searchable", 3, searchable, deterministic=True)


def explain(error: Exception, path: Path) -> StoreUnavailable:
    """`error` is one of `DATABASE_ERRORS`, or an `OSError`."""
    if isinstance(error, OSError):
        return explain_system_error(error, path)
    name = name_of(error)
    if is_damage(error):
        return StoreDamaged(
            f"{path.name} is damaged.",
            next_step="`lmchat sessions recover` keeps it, and puts a daily backup in its "
            "place; so does the chat, if you choose one.",
            details=f"{path}: {name or error}",
        )
    file = Path(os.path.realpath(path))
    # ask the system, as SQLite has several names for its refusals
    refusal = refusal_to_write(file) or refusal_to_write(file.parent)
    if refusal is not None and not name.startswith(_HELD):
        return explain_system_error(refusal, path)
    unknown_error = (str(error), "Check the log file, then start lmchat again.")
    fitting = (_REASONS[beginning] for beginning in _REASONS if name.startswith(beginning))
    reason, next_step = next(fitting, unknown_error)
    if (reason, next_step) == LOCKED and not has_locks(path.parent):
        reason, next_step = _NO_LOCKS
    return StoreUnavailable(
        f"{path.name} cannot be used: {reason}.",
        next_step=next_step,
        details=f"{path}: {name or error}",
    )


def name_of(error: BaseException) -> str:
    """Such as `SQLITE_BUSY`."""
    return str(getattr(error, "sqlite_errorname", None) or "")


def is_held(error: Exception, path: Path) -> bool:
    """Whether another program has locked the file, and may give it back."""
    is_busy = name_of(error).startswith(_HELD) and has_locks(path.parent)
    return is_busy or isinstance(error, BlockingIOError)


def is_damage(error: Exception) -> bool:
    """Whether one of `DATABASE_ERRORS` may mean that the file itself is damaged.

    SQLite's general error is, with statements that are right, one of a damaged schema. Rows keep
    all constraints, unless an index leads to other rows.
    """
    damage = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_CONSTRAINT")
    return (
        isinstance(error, UnicodeDecodeError)
        or name_of(error).startswith(damage)
        or name_of(error) == "SQLITE_ERROR"
    )
