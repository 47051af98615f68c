"""Copies of a database: of the whole file, or of the rows that can be read."""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from lmchat.files.disk import OPEN_FLAGS

log = logging.getLogger(__name__)

DATABASE_ERRORS = (sqlite3.Error, UnicodeDecodeError)
"""Errors of a database; in a damaged file, SQLite's own message may be undecodable."""
COMPANIONS = ("-wal", "-shm", "-journal")  # endings of SQLite's other files
_FILE_MODE = 0o600
_TABLES = ("sessions", "messages", "parts", "token_choices", "drafts", "ledger", "metrics")
"""In the order in which they refer to each other."""


def unused_name(path: Path, ending: str) -> Path:
    """Return the first of the paths `NAME.ENDING`, `NAME.ENDING-2`, … that does not exist.

    It is in the folder of `path`, whose name is NAME.
    """
    copy = path.with_name(f"{path.name}.{ending}")
    number = 1
    while copy.exists():
        number += 1
        copy = path.with_name(f"{path.name}.{ending}-{number}")
    return copy


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


def copy_readable_rows(source: Path, target: sqlite3.Connection) -> None:
    """Add the rows of a damaged file to `target`, as far as they can be read and it lacks them.

    A table is read from its beginning and from its end, up to a damaged row. The caller begins and
    ends the transaction.
    """
    with closing(sqlite3.connect(source, isolation_level=None)) as connection:
        connection.text_factory = target.text_factory
        # without this setting, SQLite refuses a file that was cut short
        connection.execute("pragma writable_schema = on")
        for table in _TABLES:
            for order in ("asc", "desc"):
                try:
                    rows = connection.execute(f"select * from {table} order by rowid {order}")
                    _insert_missing(rows, table, target)
                    break
                except DATABASE_ERRORS as error:
                    log.warning("the table %s of %s is damaged: %s", table, source.name, error)


def _insert_missing(rows: sqlite3.Cursor, table: str, target: sqlite3.Connection) -> None:
    """Insert the rows that `target` lacks; of messages that it has parts of, no more parts."""
    complete_messages = set(target.execute("select number from parts"))
    columns = [name for name, *_ in rows.description]
    values = ", ".join("?" * len(columns))
    for row in rows:
        if table == "parts" and (row[columns.index("number")],) in complete_messages:
            continue  # the copy may have it from before the message was written again
        with suppress(sqlite3.IntegrityError):  # its session or its message was lost
            target.execute(f"insert or ignore into {table} values ({values})", row)
