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
from lmchat.storage.salvage_pages import TABLES, copy_by_pages, ensure_session_of

log = logging.getLogger(__name__)

_COMPANIONS = ("-wal", "-shm", "-journal")
_MOST_ROWS = 1 << 24
"""Rows that a table can have, where it no longer tells."""
_MOST_TRIES = 4_000
"""Queries on one table, well below a second; where they do not suffice, every page is looked at."""


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
    """Copy every row that can be read; return how many messages there are in the end.

    First by the trees, which know what holds; what they do not lead to is looked for in every page.
    """
    with transaction(connection, is_durable=True):
        if not _copy_by_trees(aside, connection):
            copy_by_pages(aside, connection)
        connection.execute("update messages set is_indexed = 0")
    return int(connection.execute("select count(*) from messages").fetchone()[0])


def _copy_by_trees(aside: Path, connection: Connection) -> bool:
    """Copy what SQLite still reads; return whether that was all."""
    try:
        with closing(sqlite3.connect(aside, isolation_level=None)) as damaged:
            damaged.text_factory = connection.text_factory
            damaged.execute("pragma writable_schema = on")  # or SQLite refuses a file that was cut short
            copied = [_copy(table, damaged, connection) for table in TABLES]
            return all(copied)
    except BROKEN as error:
        log.warning("the damaged file cannot be opened: %s", error)
        return False


def _copy(table: str, damaged: sqlite3.Connection, connection: Connection) -> bool:
    try:
        there = {row[1] for row in damaged.execute(f"pragma table_info({table})")}
    except BROKEN:
        return False
    wanted = [row[1] for row in connection.execute(f"pragma table_info({table})")]
    columns = [name for name in wanted if name in there]
    if not columns:
        return False
    places = ", ".join("?" * len(columns))
    insert = f"insert or ignore into {table} ({', '.join(columns)}) values ({places})"
    troubles: list[Exception] = []
    for row in _readable_rows(damaged, table, columns, troubles):
        if table == "messages":
            ensure_session_of(connection, dict(zip(columns, row, strict=True)))
        with suppress(sqlite3.IntegrityError):  # what it belongs to is lost
            connection.execute(insert, row)
    return not troubles and columns == wanted


def _readable_rows(
    damaged: sqlite3.Connection, table: str, columns: Sequence[str], troubles: list[Exception]
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
        except BROKEN as error:
            troubles.append(error)
            middle = (low + high) // 2
            stretches += [(middle + 1, high), (low, middle)] if low < high else []
    log.warning("the table %s is too broken to look at every row", table)


def _highest(damaged: sqlite3.Connection, table: str) -> int:
    try:
        return int(damaged.execute(f"select max(rowid) from {table}").fetchone()[0] or 0)
    except BROKEN:
        return _MOST_ROWS
