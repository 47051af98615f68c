"""A damaged file is set aside under a new name, and what can still be read of it is saved."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path

from lmchat.storage.connection import Connection, connect, transaction
from lmchat.storage.faults import BROKEN

log = logging.getLogger(__name__)

_COMPANIONS = ("-wal", "-shm", "-journal")
_TABLES = ("sessions", "messages", "parts", "pieces", "drafts", "ledger", "metrics")
"""In the order in which they refer to each other."""
_MOST_ROWS = 1 << 24
"""Rows that a table can have, where it no longer tells."""
_MOST_TRIES = 20_000
"""Queries on one table, a second or two; without an end a wholly broken one would take hours."""


def is_sound(path: Path) -> bool:
    """Whether the file can be opened and its pages fit together."""
    try:
        with closing(connect(path)) as connection:
            return bool(connection.execute("pragma quick_check(1)").fetchone()[0] == "ok")
    except BROKEN:
        return False


def begin_anew(path: Path, moment: datetime) -> tuple[Connection, str]:
    """Set a damaged file aside and return a new one with what could be saved, and a sentence about it."""
    aside = _set_aside(path, moment)
    log.error("the session file was damaged and is now %s", aside.name)
    connection = connect(path)
    saved = 0
    try:
        saved = _rescue(aside, connection)
    except BROKEN as error:
        log.warning("saving from the damaged file failed: %s", error)
    return connection, (
        f"{path.name} was damaged: it is kept as {aside.name}, and a new one was begun with "
        f"{saved} messages saved from it."
    )


def _set_aside(path: Path, moment: datetime) -> Path:
    aside = path.with_name(f"{path.name}.damaged-{moment:%Y%m%d-%H%M%S}")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.damaged-{moment:%Y%m%d-%H%M%S}-{number}")
    for ending in ("", *_COMPANIONS):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def _rescue(aside: Path, connection: Connection) -> int:
    """Copy every row that can be read; return how many messages there are in the end."""
    with closing(sqlite3.connect(aside, isolation_level=None)) as damaged:
        damaged.text_factory = connection.text_factory
        damaged.execute("pragma writable_schema = on")  # or SQLite refuses a file that was cut short
        with transaction(connection, is_durable=True):
            for table in _TABLES:
                _copy(table, damaged, connection)
    return int(connection.execute("select count(*) from messages").fetchone()[0])


def _copy(table: str, damaged: sqlite3.Connection, connection: Connection) -> None:
    try:
        there = {row[1] for row in damaged.execute(f"pragma table_info({table})")}
    except BROKEN:
        return
    columns = [row[1] for row in connection.execute(f"pragma table_info({table})") if row[1] in there]
    if not columns:
        return
    places = ", ".join("?" * len(columns))
    insert = f"insert or ignore into {table} ({', '.join(columns)}) values ({places})"
    for row in _readable_rows(damaged, table, columns):
        if table == "messages":
            _ensure_session(connection, dict(zip(columns, row, strict=True)))
        with suppress(sqlite3.IntegrityError):  # what it belongs to is lost
            connection.execute(insert, row)
    if table == "messages":
        connection.execute("update messages set is_indexed = 0")


def _readable_rows(
    damaged: sqlite3.Connection, table: str, columns: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """Yield rows, some of them twice: a stretch that cannot be read whole is halved until it can."""
    stretches = [(0, _highest(damaged, table))]
    for _ in range(_MOST_TRIES):
        if not stretches:
            return
        low, high = stretches.pop()
        try:
            yield from damaged.execute(
                f"select {', '.join(columns)} from {table} where rowid between ? and ?", (low, high)
            )
        except BROKEN:
            middle = (low + high) // 2
            stretches += [(middle + 1, high), (low, middle)] if low < high else []
    log.warning("the table %s is too broken to look at every row", table)


def _highest(damaged: sqlite3.Connection, table: str) -> int:
    try:
        return int(damaged.execute(f"select max(rowid) from {table}").fetchone()[0] or 0)
    except BROKEN:
        return _MOST_ROWS


def _ensure_session(connection: Connection, message: dict[str, object]) -> None:
    connection.execute(
        "insert or ignore into sessions (session_id, title, created_at, updated_at) values (?, ?, ?, ?)",
        (message["session_id"], "Rescued chat", message["created_at"], message["created_at"]),
    )
