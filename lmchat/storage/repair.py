"""Replacement of a damaged `sessions.db`, or of one in the format of a development version.

The file is renamed. The new one gets what SQL can still read of it, and the rest from the newest
copy.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from itertools import chain, count
from pathlib import Path

from lmchat.storage.backups import COMPANIONS, daily_copies
from lmchat.storage.connection import (
    DATABASE_ERRORS,
    Connection,
    LostRowError,
    connect,
    is_intact,
)
from lmchat.storage.row_values import insert
from lmchat.storage.running_answer import answer_files
from lmchat.storage.schema import OutdatedError, transaction

log = logging.getLogger(__name__)

_TABLES = ("sessions", "messages", "parts", "drafts", "ledger", "metrics")
"""In the order in which they refer to each other."""
_MOST_ROWS = 1 << 24  # a larger number of the last row is damaged
_TRIED_ROWS = 1 << 17  # in half a second, where the number of the last row is damaged


def raise_if_damaged(connection: Connection) -> None:
    """Raise an error of damage for a damaged file, so that it is replaced."""
    if not is_intact(connection.path):
        raise LostRowError("the pages of the file do not fit together")


def replace_damaged(path: Path, moment: datetime, error: Exception) -> tuple[Connection, str]:
    """Rename a file; return a new one with all readable rows, and a sentence about it."""
    if isinstance(error, OutdatedError):
        reason = "was written by a development version of lmchat"
        aside = _unused(path, f"format-{error.version}")
        # their text is kept, in a form that is no longer read
        endings = [file.name.removeprefix(path.name) for file in answer_files(path)]
    else:
        reason = "was damaged"
        aside = _unused(path, f"damaged-{moment:%Y%m%d-%H%M%S}")
        endings = []
    for ending in ("", *COMPANIONS, *endings):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    log.error("the session file %s and is now %s", reason, aside.name)

    connection = connect(path)
    recovered = 0
    try:
        recovered = _rescue([aside, *daily_copies(path)[:1]], connection)
    except DATABASE_ERRORS as failure:
        log.warning("copying from the replaced file failed: %s", failure)
    return connection, (
        f"{path.name} {reason}. It is kept as {aside.name}; the new file has {recovered} messages "
        "recovered from it."
    )


def _unused(path: Path, ending: str) -> Path:
    """Return a name for a file to set aside that no other file has."""
    names = chain((ending,), (f"{ending}-{number}" for number in count(2)))
    paths = (path.with_name(f"{path.name}.{name}") for name in names)
    return next(aside for aside in paths if not aside.exists())


def _rescue(sources: Sequence[Path], connection: Connection) -> int:
    """Copy all readable rows, and return the number of messages."""
    with transaction(connection):
        for table in _TABLES:
            for source in sources:
                try:
                    _copy_table(table, source, connection)
                except DATABASE_ERRORS as error:
                    log.warning("the table %s of %s cannot be read: %s", table, source.name, error)
        connection.execute("update messages set is_indexed = 0")
    return int(connection.execute("select count(*) from messages").fetchone()[0])


def _copy_table(table: str, source: Path, connection: Connection) -> None:
    """Add the rows of a table that are missing in the new file."""
    with closing(sqlite3.connect(source, isolation_level=None)) as damaged:
        damaged.text_factory = connection.text_factory
        # or SQLite refuses a file that was cut short
        damaged.execute("pragma writable_schema = on")
        there = _column_names(damaged, table)
        columns = [name for name in _column_names(connection, table) if name in there]
        known: set[object] = set()
        if table == "parts":
            # A message that was written again has other parts in an older copy; those of one
            # file are enough.
            known = {number for (number,) in connection.execute("select number from parts")}
        for row in _readable_rows(damaged, table, columns):
            values = dict(zip(columns, row, strict=True))
            if values.get("number") not in known:
                _insert(connection, table, values)


def _column_names(connection: sqlite3.Connection, table: str) -> list[str]:
    return [row[1] for row in connection.execute(f"pragma table_info({table})")]


def _insert(connection: Connection, table: str, values: dict[str, object]) -> None:
    """Insert a row unless it is there; without the row of its session, that is made up."""
    with suppress(sqlite3.IntegrityError):  # the message of a part is lost
        if table == "messages":
            moment = values["created_at"]
            session = {
                "session_id": values["session_id"],
                "created_at": moment,
                "updated_at": moment,
                "title": "Recovered session",
            }
            insert(connection, "sessions", session, "on conflict do nothing")
        insert(connection, table, values, "on conflict do nothing")


def _readable_rows(
    damaged: sqlite3.Connection, table: str, columns: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """Yield the rows one by one: a query for several stops without an error at a damaged number."""
    query = f"select {', '.join(columns)} from {table} where rowid = ?"
    for number in range(1, _last_row(damaged, table) + 1):
        with suppress(*DATABASE_ERRORS):
            yield from damaged.execute(query, (number,))


def _last_row(damaged: sqlite3.Connection, table: str) -> int:
    """Return the number of the last row, or of the last one to try where that is damaged."""
    with suppress(*DATABASE_ERRORS):
        found = damaged.execute(f"select max(rowid) from {table}").fetchone()[0]
        if (number := int(found or 0)) <= _MOST_ROWS:
            return number
    return _TRIED_ROWS
