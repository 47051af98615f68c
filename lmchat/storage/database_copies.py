"""Copies of a database: of the whole file, or of the rows that can be read."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from itertools import chain, count
from pathlib import Path

from lmchat.files import OPEN_FLAGS
from lmchat.storage.row_values import insert

log = logging.getLogger(__name__)

DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a database; in a damaged file, SQLite's own message may be undecodable."""
COMPANIONS = ("-wal", "-shm", "-journal")  # endings of SQLite's other files
_FILE_MODE = 0o600
_TABLES = ("sessions", "messages", "parts", "drafts", "ledger", "metrics")
"""In the order in which they refer to each other."""
_MOST_ROWS = 1 << 24  # a larger number of the last row is damaged
_TRIED_ROWS = 1 << 17  # in half a second, where the number of the last row is damaged


def unused_name(path: Path, ending: str) -> Path:
    """Return the name of a file to set aside, with an ending and perhaps a number."""
    endings = chain((ending,), (f"{ending}-{number}" for number in count(2)))
    names = (path.with_name(f"{path.name}.{name}") for name in endings)
    return next(name for name in names if not name.exists())


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database that may be in use, all or nothing; raises `sqlite3.Error`, `OSError`."""
    fresh = copy.with_name(f".{copy.name}.{os.urandom(4).hex()}")
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, _FILE_MODE))
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(fresh)) as target:
            source.backup(target)
            target.execute("pragma journal_mode = delete")  # one file, which anybody can put back
        fresh.replace(copy)
    except BaseException:
        for ending in ("", *COMPANIONS):  # a full disk keeps SQLite from removing them
            with suppress(OSError):
                fresh.with_name(fresh.name + ending).unlink()
        raise


def copy_readable_rows(sources: Sequence[Path], target: sqlite3.Connection) -> int:
    """Add the rows of files that may be damaged; return the number of messages after that.

    This is a part of a transaction. A row that is in several files is taken from the first one.
    """
    for table in _TABLES:
        for source in sources:
            try:
                _copy_table(table, source, target)
            except DATABASE_ERRORS as error:
                log.warning("the table %s of %s cannot be read: %s", table, source.name, error)
    target.execute("update messages set is_indexed = 0")
    return int(target.execute("select count(*) from messages").fetchone()[0])


def _copy_table(table: str, source: Path, target: sqlite3.Connection) -> None:
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.text_factory = target.text_factory
        # or SQLite refuses a file that was cut short
        connection.execute("pragma writable_schema = on")
        there = _column_names(connection, table)
        columns = [name for name in _column_names(target, table) if name in there]
        if not columns:  # the schema of the table is lost
            return

        known: set[object] = set()
        if table == "parts":
            # A message that was written again has other parts in an older copy; those of one
            # file are enough.
            known = {number for (number,) in target.execute("select number from parts")}
        for row in _readable_rows(connection, table, columns):
            values = dict(zip(columns, row, strict=True))
            if values.get("number") not in known:
                _insert_missing(target, table, values)


def _column_names(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"pragma table_info({table})")]


def _insert_missing(target: sqlite3.Connection, table: str, values: dict[str, object]) -> None:
    """Insert a row unless it is there; a message whose session was lost gets a new session."""
    with suppress(sqlite3.IntegrityError):  # the message of a part is lost
        if table == "messages":
            session = {
                "session_id": values["session_id"],
                "created_at": values["created_at"],
                "updated_at": values["created_at"],
                "title": "Recovered session",
            }
            insert(target, "sessions", session, "on conflict do nothing")
        insert(target, table, values, "on conflict do nothing")


def _readable_rows(
    connection: sqlite3.Connection, table: str, columns: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """Yield rows one by one: a query for several stops without an error at a damaged number."""
    query = f"select {', '.join(columns)} from {table} where rowid = ?"
    for number in range(1, _last_row(connection, table) + 1):
        with suppress(*DATABASE_ERRORS):  # a damaged row
            yield from connection.execute(query, (number,))


def _last_row(connection: sqlite3.Connection, table: str) -> int:
    """Return the number of the last row, or of the last one to try where that is damaged."""
    with suppress(*DATABASE_ERRORS):  # the end of the table is damaged
        found = connection.execute(f"select max(rowid) from {table}").fetchone()[0]
        number = int(found or 0)
        if number <= _MOST_ROWS:
            return number
    return _TRIED_ROWS
