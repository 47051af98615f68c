"""Daily copies of `sessions.db`, and the repair of a damaged file.

A new file gets what SQL can still read of the damaged one, and then what the newest copy has. The file is
checked before it is copied to `sessions.db.backup-DATE`.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from datetime import datetime, timedelta
from itertools import chain, count
from pathlib import Path

from lmchat.storage.database import BROKEN, Connection, LostRowError, connect, is_sound
from lmchat.storage.row_values import insert
from lmchat.storage.schema import COMPANIONS, copy_database, transaction

log = logging.getLogger(__name__)

_KEPT, _KEPT_DAYS = 3, 7  # daily copies, and their age
_LARGEST_BYTES = 1 << 30  # a larger file would be read for many seconds; the doctor checks it
_DAY_S = 86_400.0
_TABLES = ("sessions", "messages", "parts", "pieces", "drafts", "ledger", "metrics")
"""In the order in which they refer to each other."""
_MOST_ROWS = 1 << 24  # a larger number of the last row is damaged
_MAY_HOLD = (
    1 << 17
)  # rows that are tried where the number of the last one is damaged, in half a second


def is_due(connection: Connection, moment: datetime) -> bool:
    """Return whether the file is to be checked and copied: once a day."""
    is_small = connection.path.stat().st_size <= _LARGEST_BYTES
    return is_small and not connection.is_read_only and not _daily(connection.path, moment).exists()


def meet_damage(connection: Connection) -> None:
    """Raise an error of damage for a damaged file, so that it is replaced."""
    if not is_sound(connection.path):
        raise LostRowError("the pages of the file do not fit together")


def back_up(path: Path, moment: datetime) -> None:
    """Copy the file, and remove older copies."""
    try:
        copy_database(path, _daily(path, moment))
    except (sqlite3.Error, OSError) as error:
        log.warning("the session file could not be copied: %s", error)
    else:
        oldest = _daily(path, moment - timedelta(days=_KEPT_DAYS)).name
        for number, copy in enumerate(_backups(path)):
            if number >= _KEPT or copy.name < oldest:
                copy.unlink(missing_ok=True)


def remove_copies(path: Path, *, but: Path | None = None) -> None:
    """Remove the daily copies, and incomplete ones after a kill."""
    path = path.resolve()
    for copy in (*_backups(path), *path.parent.glob(f".{path.name}.backup-*")):
        if copy != but:
            with suppress(OSError):
                copy.unlink()


def renew_copies(path: Path, moment: datetime) -> None:
    """Replace the daily copies, which have what expired, by one of the file as it is, if that is sound."""
    if not _backups(path) or not is_sound(path):
        return
    copy = _daily(path, moment)
    try:
        copy_database(path, copy)
    except (sqlite3.Error, OSError) as error:
        log.warning("the session file could not be copied: %s", error)
    else:
        remove_copies(path, but=copy)


def empty_log(connection: Connection) -> None:
    """Write the write-ahead log into the file and empty it, unless another connection is reading."""
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()


def remove_old_copies(path: Path, *, days: int) -> None:
    """Remove old copies made before a migration, and incomplete copies after a kill."""
    path = path.resolve()  # copies are beside the file, not beside a link to it
    ours = (
        f"{path.name}.format-",
        f".{path.name}.format-",
        f".{path.name}.backup-",
        f".{path.name}-answer-",
    )
    with suppress(OSError):
        for copy in path.parent.iterdir():
            if copy.name.startswith(ours) and copy.stat().st_mtime + days * _DAY_S < time.time():
                copy.unlink()


def begin_anew(path: Path, moment: datetime) -> tuple[Connection, str]:
    """Set a damaged file aside; return a new one with all readable rows, and a sentence about it."""
    aside = _set_aside(path, moment)
    log.error("the session file was damaged and is now %s", aside.name)
    connection = connect(path)
    saved = 0
    try:
        saved = _rescue([aside, *_backups(path)[:1]], connection)
    except BROKEN as error:
        log.warning("saving from the damaged file failed: %s", error)
    return connection, (
        f"{path.name} was damaged. It is kept as {aside.name}; the new file has {saved} messages "
        "recovered from it."
    )


def _daily(path: Path, moment: datetime) -> Path:
    path = path.resolve()
    return path.with_name(f"{path.name}.backup-{moment:%Y-%m-%d}")


def _backups(path: Path) -> list[Path]:
    path = path.resolve()
    with suppress(OSError):
        return sorted(
            path.parent.glob(f"{path.name}.backup-*"),
            key=lambda one: one.stat().st_mtime,
            reverse=True,
        )
    return []


def _set_aside(path: Path, moment: datetime) -> Path:
    name = f"{path.name}.damaged-{moment:%Y%m%d-%H%M%S}"
    names = chain((name,), (f"{name}-{number}" for number in count(2)))
    aside = next(one for one in map(path.with_name, names) if not one.exists())
    for ending in ("", *COMPANIONS):
        with suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def _rescue(sources: Sequence[Path], connection: Connection) -> int:
    """Copy all readable rows, and return the number of messages."""
    with transaction(connection):
        for table in _TABLES:
            for source in sources:
                try:
                    _copy(table, source, connection)
                except BROKEN as error:
                    log.warning("the table %s of %s cannot be read: %s", table, source.name, error)
        connection.execute("update messages set is_indexed = 0")
    return int(connection.execute("select count(*) from messages").fetchone()[0])


def _copy(table: str, source: Path, connection: Connection) -> None:
    """Add the rows of a table that are not there yet."""
    with closing(sqlite3.connect(source, isolation_level=None)) as damaged:
        damaged.text_factory = connection.text_factory
        damaged.execute(
            "pragma writable_schema = on"
        )  # or SQLite refuses a file that was cut short
        there = {row[1] for row in damaged.execute(f"pragma table_info({table})")}
        wanted = [row[1] for row in connection.execute(f"pragma table_info({table})")]
        columns = [name for name in wanted if name in there]
        # A message that was written again has other parts in an older copy: those of one are enough.
        known = (
            {row[0] for row in connection.execute("select number from parts")}
            if table == "parts"
            else ()
        )
        for row in _readable_rows(damaged, table, columns):
            values = dict(zip(columns, row, strict=True))
            if table != "parts" or values["number"] not in known:
                _insert(connection, table, values)


def _insert(connection: Connection, table: str, values: dict[str, object]) -> None:
    with suppress(sqlite3.IntegrityError):  # what it belongs to is lost
        if table == "messages":  # the row of its session may be
            moment = values["created_at"]
            session = {
                "session_id": values["session_id"],
                "created_at": moment,
                "updated_at": moment,
            }
            session |= {"title": "Recovered session"}
            insert(connection, "sessions", session, "on conflict do nothing")
        insert(connection, table, values, "on conflict do nothing")


def _readable_rows(
    damaged: sqlite3.Connection, table: str, columns: Sequence[str]
) -> Iterator[tuple[object, ...]]:
    """Yield the rows one by one: a query for several stops without an error at a damaged number."""
    highest = _MAY_HOLD
    with suppress(*BROKEN):
        found = int(damaged.execute(f"select max(rowid) from {table}").fetchone()[0] or 0)
        highest = found if found <= _MOST_ROWS else highest
    query = f"select {', '.join(columns)} from {table} where rowid = ?"
    for number in range(1, highest + 1):
        with suppress(*BROKEN):
            yield from damaged.execute(query, (number,))
