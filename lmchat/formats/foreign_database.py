"""Read-only access to SQLite databases of other programs."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from lmchat.errors import FileRefused
from lmchat.formats.file_values import Record
from lmchat.formats.text_files import LARGEST_BYTES

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
_ALLOWED_VIEWS = (None, "chain")  # no view, and the common table of our queries
_READING_ACTIONS = (sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE)


class ForeignDatabase:
    """Database of another program.

    All rows of a query are read at once, since an open query locks the database for its program.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.tables = {table["name"] for table in self.rows(_TABLES)}

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


@contextmanager
def opened_database(path: Path) -> Iterator[ForeignDatabase]:
    """Open a database read-only for the block, and close it afterwards.

    Its program may be using it. Raises `FileRefused` if it cannot be opened, and for errors of
    SQLite or of the disk in the block.
    """
    try:
        with closing(_connect(path)) as connection:
            yield ForeignDatabase(connection)
    # `UnicodeDecodeError`: SQLite's own message may quote a damaged name of a column
    except (sqlite3.Error, OSError, UnicodeDecodeError) as error:
        message = f"The database cannot be read: {error}."
        hint = "Close the program that uses it, and try again."
        raise FileRefused(message, hint=hint) from error


def _connect(path: Path) -> sqlite3.Connection:
    """Open a database with limits and guards against a hostile one; raises `sqlite3.Error`."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    connection = sqlite3.connect(address, uri=True, timeout=1)
    try:
        for limit, value in _LIMITS.items():
            connection.setlimit(limit, value)
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
    action: int, _name: str | None, detail: str | None, _schema: str | None, view: str | None
) -> int:
    """Return `SQLITE_OK` or `SQLITE_DENY` for an action of a query, before SQLite does it.

    Reading tables is allowed. Views, triggers and functions of the file are not run. `detail`
    depends on the action: for a function, it is its name. `view` is the view or trigger that wants
    the action.
    """
    is_like = action == sqlite3.SQLITE_FUNCTION and detail == "like"  # of `_TABLES`
    if (action in _READING_ACTIONS or is_like) and view in _ALLOWED_VIEWS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY
