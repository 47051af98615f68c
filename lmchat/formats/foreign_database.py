"""Read-only access to SQLite databases of other programs."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from lmchat.errors import FileRefused
from lmchat.formats.file_values import Record
from lmchat.formats.text_files import LARGEST_BYTES

RecordsBy = Callable[[Any], Iterator[Record]]
_TABLES = """
select name from sqlite_master where type = 'table' and rootpage > 0 and sql not like '%virtual%'
"""
_LONGEST_QUERY_S = 30.0  # of processor time; a query of a real database takes less than one
_STEPS_BETWEEN_CHECKS = 10_000
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: LARGEST_BYTES,
    sqlite3.SQLITE_LIMIT_SQL_LENGTH: 100_000,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 50,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 10,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 10,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 10,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
}
"""Limits for a database that may be hostile: https://sqlite.org/security.html"""
_GUARDS = ("trusted_schema = off", "cell_size_check = on", "query_only = on", "mmap_size = 0")
_PRAGMAS = ("table_info", *(guard.partition(" ")[0] for guard in _GUARDS))
_FUNCTIONS = ("coalesce", "like")  # those of our queries
_OWN_VIEWS = (None, "chain")  # no view, and the common table of our queries
_READING = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
_WAL_VERSION = b"\2"  # byte 18 of a database with a write-ahead log
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # end of a journal that names another file


class ForeignDatabase:
    """Database of another program.

    Each query is fetched whole, since an open one locks the database for its owner.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.tables: dict[str, set[str]] = {}  # names of columns by table
        for table in self.rows(_TABLES):
            name = table["name"].replace('"', '""')
            columns = self.rows(f'pragma table_info("{name}")')
            self.tables[table["name"]] = {column["name"] for column in columns}

    def has(self, tables: Mapping[str, Sequence[str]]) -> bool:
        """Return whether there are these tables with these columns."""
        return all(
            name in self.tables and self.tables[name].issuperset(columns)
            for name, columns in tables.items()
        )

    def rows(self, query: str, **values: Any) -> list[Record]:
        """Return all rows; raises `sqlite3.OperationalError` for a query that takes too long."""
        end_s = time.process_time() + _LONGEST_QUERY_S
        self._connection.set_progress_handler(
            lambda: time.process_time() > end_s, _STEPS_BETWEEN_CHECKS
        )
        return self._connection.execute(query, values).fetchall()

    def rows_by(self, table: str, owner: str, order: str = "id") -> RecordsBy:
        """Return a function for the rows by a column without an index; a missing table has none."""
        numbers: dict[Any, list[int]] = {}
        if table in self.tables:
            columns = f"{owner} as owner, rowid as number"
            query = f"select {columns} from {table} order by {order}"  # noqa: S608 - constants
            for row in self.rows(query):
                numbers.setdefault(row["owner"], []).append(row["number"])
        by_number = f"select * from {table} where rowid = :number"  # noqa: S608 - a constant
        return lambda key: (self.rows(by_number, number=found)[0] for found in numbers.get(key, ()))


@contextmanager
def opened_database(path: Path) -> Iterator[ForeignDatabase]:
    """Open a database that its program may be using, and change nothing; raises `FileRefused`."""
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lmchat-", ignore_cleanup_errors=True) as folder,
            closing(_connection(path, Path(folder))) as connection,
        ):
            yield ForeignDatabase(connection)
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:  # the latter of a table's name
        message = f"The database cannot be read: {error}."
        hint = "Close the program that uses it, and try again."
        raise FileRefused(message, hint=hint) from error


def _connection(path: Path, folder: Path) -> sqlite3.Connection:
    wal, shm, journal = (path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))
    for beside in (wal, shm, journal):
        if beside.exists() and not beside.is_file():  # a pipe would be waited for
            message = f"{beside.name} is not a regular file."
            raise FileRefused(message, hint="Move it away.")
    with path.open("rb") as file:
        has_wal = file.read(19)[18:] == _WAL_VERSION

    if has_wal and not shm.exists():  # SQLite would make the two files
        if not wal.exists() or wal.stat().st_size == 0:
            return _connected(path, "mode=ro&immutable=1")
    else:
        with suppress(sqlite3.OperationalError):  # locked, or in a folder that is not writable
            return _connected(path, "mode=ro")

    for part in (path, wal, journal):
        if part.exists():
            shutil.copyfile(part, folder / part.name)
    _refuse_super_journal(folder / journal.name)
    return _connected(folder / path.name, "mode=rw")


def _refuse_super_journal(journal: Path) -> None:
    """Refuse a journal that names another file: SQLite would delete that file."""
    if not journal.exists():
        return
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(_SUPER_JOURNAL)))
        if file.read() == _SUPER_JOURNAL:
            message = f"{journal.name} belongs to several databases."
            hint = "Start the program that wrote it, and close it again."
            raise FileRefused(message, hint=hint)


def _connected(path: Path, mode: str) -> sqlite3.Connection:
    address = f"{path.absolute().as_uri()}?{mode}"
    connection = sqlite3.connect(address, uri=True, timeout=1, check_same_thread=False)
    try:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        connection.execute("select count(*) from sqlite_master").fetchone()  # plays a journal back
        for guard in _GUARDS:
            connection.execute(f"pragma {guard}")
        connection.set_authorizer(_authorized)
    except sqlite3.Error:
        connection.close()
        raise
    # Texts with invalid UTF-8 cost their characters only.
    connection.text_factory = lambda data: data.decode(errors="replace")
    connection.row_factory = _record
    return connection


def _record(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Record:
    names = (column[0] for column in cursor.description)
    return dict(zip(names, row, strict=True))


def _authorized(
    action: int, name: str | None, detail: str | None, _schema: str | None, view: str | None
) -> int:
    """Allow SQLite to read tables; views, triggers and functions of the file are not run."""
    is_function = action == sqlite3.SQLITE_FUNCTION and detail in _FUNCTIONS
    is_pragma = action == sqlite3.SQLITE_PRAGMA and name in _PRAGMAS
    is_reading = action in _READING or is_function or is_pragma
    return sqlite3.SQLITE_OK if is_reading and view in _OWN_VIEWS else sqlite3.SQLITE_DENY
