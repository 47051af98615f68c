"""Read-only access to SQLite databases of other programs."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from lmchat.errors import FileRefused
from lmchat.formats.file_values import Record
from lmchat.formats.text_files import LARGEST_BYTES

RecordsBy = Callable[[Any], Iterator[Record]]
"""Function that reads the rows of a table that belong to a key, such as the id of a chat."""
# Tables of the file itself: without views and virtual tables.
_TABLES = """
select name from sqlite_master where type = 'table' and rootpage > 0 and sql not like '%virtual%'
"""
_LONGEST_QUERY_S = 30.0  # of processor time; a query of a real database takes less than one
_STEPS_BETWEEN_CHECKS = 10_000  # steps of SQLite's virtual machine between two looks at the time
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
# What a query may use:
_ALLOWED_PRAGMAS = ("table_info", "trusted_schema", "cell_size_check", "query_only", "mmap_size")
_ALLOWED_FUNCTIONS = ("coalesce", "like")  # those of our queries
_ALLOWED_VIEWS = (None, "chain")  # no view, and the common table of our queries
_READING_ACTIONS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)
_VERSION_OFFSET = 18  # of the byte that says how the database is written
_WAL_VERSION = b"\2"  # with a write-ahead log
_SUPER_JOURNAL = bytes.fromhex("d9d505f920a163d7")  # end of a journal that names another file


class ForeignDatabase:
    """Database of another program.

    All rows of a query are read at once, since an open query locks the database for its program.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.tables: dict[str, set[str]] = {}  # names of columns by table
        for table in self.rows(_TABLES):
            escaped_name = table["name"].replace('"', '""')
            columns = self.rows(f'pragma table_info("{escaped_name}")')
            self.tables[table["name"]] = {column["name"] for column in columns}

    def has(self, tables: Mapping[str, Sequence[str]]) -> bool:
        """Return whether there are these tables with these columns, perhaps among others."""
        return all(
            name in self.tables and self.tables[name].issuperset(columns)
            for name, columns in tables.items()
        )

    def rows(self, query: str, **values: Any) -> list[Record]:
        """Return all rows of a query; `values` are those of its `:name` parameters.

        Raises `sqlite3.OperationalError` for a query that takes too long.
        """
        end_s = time.process_time() + _LONGEST_QUERY_S
        # SQLite interrupts a query whose progress handler returns true
        self._connection.set_progress_handler(
            lambda: time.process_time() > end_s, _STEPS_BETWEEN_CHECKS
        )
        return self._connection.execute(query, values).fetchall()

    def rows_by(self, table: str, key_column: str, order: str = "id") -> RecordsBy:
        """Return a function that yields the rows of a table with a given key, one at a time.

        `key_column` is the column that has the keys, and `order` the columns by which the rows are
        sorted. `key_column` may have no index: SQLite would then read the whole table for each
        key. So the numbers of the rows of all keys are read now. A missing table has no rows.
        """
        numbers_by_key: defaultdict[Any, list[int]] = defaultdict(list)
        if table in self.tables:
            columns = f"{key_column} as key_value, rowid as number"
            query = f"select {columns} from {table} order by {order}"  # noqa: S608 - constants
            for row in self.rows(query):
                numbers_by_key[row["key_value"]].append(row["number"])
        row_query = f"select * from {table} where rowid = :number"  # noqa: S608 - a constant

        def rows_of(key: Any) -> Iterator[Record]:
            for number in numbers_by_key.get(key, ()):
                (row,) = self.rows(row_query, number=number)
                yield row

        return rows_of


@contextmanager
def opened_database(path: Path) -> Iterator[ForeignDatabase]:
    """Open a database for the block, and close it afterwards; change none of its files.

    Its program may be using it. Raises `FileRefused` if it cannot be opened, and for errors of
    SQLite or of the disk in the block.
    """
    try:
        with (
            tempfile.TemporaryDirectory(prefix="lmchat-", ignore_cleanup_errors=True) as folder,
            closing(_open_or_copy(path, Path(folder))) as connection,
        ):
            yield ForeignDatabase(connection)
    # `UnicodeDecodeError`: SQLite's own message may quote a damaged name of a column
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        message = f"The database cannot be read: {error}."
        hint = "Close the program that uses it, and try again."
        raise FileRefused(message, hint=hint) from error


def _open_or_copy(path: Path, folder: Path) -> sqlite3.Connection:
    """Open a database where it is, or a copy in `folder` if opening it would change files or fails.

    Beside a database may be its rollback journal (`-journal`), or its write-ahead log (`-wal`) and
    an index of that log (`-shm`); the index exists while a program uses the database. The copy
    gets the log and the journal, too: they hold changes that are not in the database yet. Raises
    `FileRefused`, `OSError` or `sqlite3.Error`.
    """
    wal = path.with_name(f"{path.name}-wal")
    shm = path.with_name(f"{path.name}-shm")
    journal = path.with_name(f"{path.name}-journal")
    for companion in (wal, shm, journal):
        if companion.exists() and not companion.is_file():  # a pipe would be waited for
            message = f"{companion.name} is not a regular file."
            raise FileRefused(message, hint="Move it away.")
    with path.open("rb") as file:
        file.seek(_VERSION_OFFSET)
        uses_wal = file.read(1) == _WAL_VERSION

    if uses_wal and not shm.exists():
        # To read it here, SQLite would make `-wal` and `-shm`. With `immutable` it makes no files,
        # but does not read the log either: that is right only if the log is missing or empty.
        if not wal.exists() or wal.stat().st_size == 0:
            return _connect(path, "mode=ro&immutable=1")
    else:
        with suppress(sqlite3.OperationalError):  # locked, or in a folder that is not writable
            return _connect(path, "mode=ro")

    for original in (path, wal, journal):
        if original.exists():
            shutil.copyfile(original, folder / original.name)
    _refuse_super_journal(folder / journal.name)
    return _connect(folder / path.name, "mode=rw")  # writes the log or journal into the copy


def _refuse_super_journal(journal: Path) -> None:
    """Raise `FileRefused` for a journal that names another file: SQLite would delete that file."""
    if not journal.exists():
        return
    with journal.open("rb") as file:
        file.seek(max(0, journal.stat().st_size - len(_SUPER_JOURNAL)))
        if file.read() == _SUPER_JOURNAL:
            message = f"{journal.name} belongs to several databases."
            hint = "Start the program that wrote it, and close it again."
            raise FileRefused(message, hint=hint)


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    """Open a database with limits and guards against a hostile one; raises `sqlite3.Error`.

    `mode` holds parameters of SQLite's URI.
    """
    address = f"{path.absolute().as_uri()}?{mode}"
    connection = sqlite3.connect(address, uri=True, timeout=1, check_same_thread=False)
    try:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
        # Opens the file now, so that the caller can use a copy if it is locked. This also plays a
        # journal back.
        connection.execute("select count(*) from sqlite_master").fetchone()
        for guard in _GUARDS:
            connection.execute(f"pragma {guard}")
        connection.set_authorizer(_authorize)
    except sqlite3.Error:
        connection.close()
        raise
    # In a text with invalid UTF-8, only the invalid bytes are replaced.
    connection.text_factory = lambda data: data.decode(errors="replace")
    connection.row_factory = _record_of_row
    return connection


def _record_of_row(cursor: sqlite3.Cursor, row: tuple[Any, ...]) -> Record:
    """Return a row as values by the names of its columns."""
    names = (column[0] for column in cursor.description)
    return dict(zip(names, row, strict=True))


def _authorize(
    action: int, name: str | None, detail: str | None, _schema: str | None, view: str | None
) -> int:
    """Return `SQLITE_OK` or `SQLITE_DENY` for an action of a query, before SQLite does it.

    Reading tables is allowed. Views, triggers and functions of the file are not run. `name` and
    `detail` depend on the action: for a function, `detail` is its name. `view` is the view or
    trigger that wants the action.
    """
    is_allowed_function = action == sqlite3.SQLITE_FUNCTION and detail in _ALLOWED_FUNCTIONS
    is_allowed_pragma = action == sqlite3.SQLITE_PRAGMA and name in _ALLOWED_PRAGMAS
    is_reading = action in _READING_ACTIONS or is_allowed_function or is_allowed_pragma
    if is_reading and view in _ALLOWED_VIEWS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
