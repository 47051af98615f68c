"""Copies of a database: of the whole file, or of the rows that can be read."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path

from lmchat.files import OPEN_FLAGS
from lmchat.storage.row_values import insert

log = logging.getLogger(__name__)

DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a database; in a damaged file, SQLite's own message may be undecodable."""
COMPANIONS = ("-wal", "-shm", "-journal")  # endings of SQLite's other files
_FILE_MODE = 0o600
_TABLES = ("sessions", "messages", "parts", "token_choices", "drafts", "ledger", "metrics")
"""In the order in which they refer to each other."""
# Row numbers that are tried if the largest one is damaged; that takes half a second.
_TRIED_ROWS = 128 * 1024
_SMALLEST_ROW_BYTES = 16  # fewer bytes of a file hold no row of ours


def unused_name(path: Path, ending: str) -> Path:
    """Return the first of the paths `NAME.ENDING`, `NAME.ENDING-2`, … that does not exist.

    It is in the folder of `path`, whose name is NAME.
    """
    candidate = path.with_name(f"{path.name}.{ending}")
    number = 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}.{ending}-{number}")
    return candidate


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database, which may be in use, to the path `copy`, and replace a file there.

    The copy gets its name once it is complete. Raises `sqlite3.Error` or `OSError`; nothing is left
    of an incomplete copy then.
    """
    fresh = copy.with_name(f".{copy.name}.{os.urandom(4).hex()}")
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, _FILE_MODE))
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(fresh)) as target:
            source.backup(target)
            # without write-ahead logging, the copy is a single file, which is easy to put back
            target.execute("pragma journal_mode = delete")
        fresh.replace(copy)
    except BaseException:
        # on a full disk, SQLite does not remove its companions
        for ending in ("", *COMPANIONS):
            with suppress(OSError):
                fresh.with_name(fresh.name + ending).unlink()
        raise


def copy_readable_rows(sources: Sequence[Path], target: sqlite3.Connection) -> int:
    """Add the readable rows of files to `target`; return how many messages `target` has then.

    The files may be damaged. A row that is in several of them is taken from the first. A table that
    cannot be read is logged and left out. The caller begins and ends the transaction.
    """
    for table in _TABLES:
        for source in sources:
            try:
                _copy_table(table, source, target)
            except DATABASE_ERRORS as error:
                log.warning("the table %s of %s cannot be read: %s", table, source.name, error)
    target.execute("update messages set is_indexed = 0")  # the index of `target` has none of them
    return int(target.execute("select count(*) from messages").fetchone()[0])


def _copy_table(table: str, source: Path, target: sqlite3.Connection) -> None:
    """Copy the readable rows of a table that `target` does not have yet.

    Only columns that both tables have are copied. Parts are copied for those messages that have no
    part in `target` yet.
    """
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.text_factory = target.text_factory
        # without this setting, SQLite refuses a file that was cut short
        connection.execute("pragma writable_schema = on")
        source_columns = _column_names(connection, table)
        columns = [name for name in _column_names(target, table) if name in source_columns]
        if not columns:  # the schema of the table is lost
            return

        complete_messages: set[object] = set()  # numbers of those whose parts `target` has
        if table == "parts":
            # Take the parts of a message from one file: an older copy may have others, from before
            # the message was written again.
            rows = target.execute("select number from parts")
            complete_messages = {number for (number,) in rows}
        size_bytes = source.stat().st_size
        for row in _readable_rows(connection, table, columns, size_bytes):
            values = dict(zip(columns, row, strict=True))
            is_complete = table == "parts" and values.get("number") in complete_messages
            if not is_complete:
                _insert_missing(target, table, values)


def _column_names(connection: sqlite3.Connection, table: str) -> list[str]:
    rows = connection.execute(f"pragma table_info({table})")
    return [name for _, name, *_ in rows]


def _insert_missing(target: sqlite3.Connection, table: str, values: dict[str, object]) -> None:
    """Insert a row unless `target` has one with its key.

    A message whose session was lost gets a new session. A row that breaks another rule of the table
    is left out, such as a part whose message was lost.
    """
    with suppress(sqlite3.IntegrityError):
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
    connection: sqlite3.Connection, table: str, columns: Sequence[str], size_bytes: int
) -> Iterator[tuple[object, ...]]:
    """Yield the rows of a table that can be read, with one query for each row.

    One query for all rows would stop at a damaged one without an error. `size_bytes` is the size of
    the file.
    """
    query = f"select {', '.join(columns)} from {table} where rowid = ?"
    for number in range(1, _last_row_number(connection, table, size_bytes) + 1):
        with suppress(*DATABASE_ERRORS):  # a damaged row
            yield from connection.execute(query, (number,))


def _last_row_number(connection: sqlite3.Connection, table: str, size_bytes: int) -> int:
    """Return the number of the last row; `_TRIED_ROWS` if that number is damaged.

    It counts as damaged if a file of this size could never have had that many rows. Deleted rows
    do not disturb this test: their numbers are not used again, but the file keeps its size too.
    """
    try:
        largest = connection.execute(f"select max(rowid) from {table}").fetchone()[0]
    except DATABASE_ERRORS:  # the end of the table is damaged
        return _TRIED_ROWS
    number = int(largest or 0)  # None for an empty table
    is_possible = number <= max(_TRIED_ROWS, size_bytes // _SMALLEST_ROW_BYTES)
    return number if is_possible else _TRIED_ROWS
