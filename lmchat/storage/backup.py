"""Daily copies of `sessions.db`, named `sessions.db.backup-DATE`, and repair of a damaged file.

A damaged file is kept under another name. Its place gets the content of the newest copy, and the
rows of the damaged file that this lacks and that can still be read.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from shutil import copyfile

from lmchat.files.disk import OPEN_FLAGS, OWNER_ONLY, free_name
from lmchat.storage.opening import Connection, connect, is_damaged
from lmchat.storage.schema import transaction
from lmchat.storage.sqlite_errors import DATABASE_ERRORS

_logger = logging.getLogger(__name__)

_KEPT_COPIES = 3
# Checking a larger file would take many seconds each day. The doctor checks it when asked to.
_LARGEST_BYTES = 1024 * 1024 * 1024
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"  # pattern of the date at the end of a name
_COMPANIONS = ("-wal", "-shm", "-journal")  # endings of SQLite's other files
# All tables; a table comes after those whose rows it refers to.
_TABLES = ("sessions", "messages", "parts", "token_choices", "drafts", "ledger", "metrics")


# Daily copies. `path` may be a link to a file in another folder; copies are beside that file.


def is_due(connection: Connection, moment: datetime) -> bool:
    """Return whether the file is to be checked and copied: it has no copy of this day yet.

    False for a file that is larger than `_LARGEST_BYTES`, whose check would take too long.
    """
    if connection.path.stat().st_size > _LARGEST_BYTES:
        return False
    return not _copy_of_day(connection.path, moment).exists()


def back_up(path: Path, moment: datetime, *, keeps_all: bool = False) -> None:
    """Copy the file, and remove all but the newest `_KEPT_COPIES` copies unless `keeps_all`.

    If copying fails, that is logged, and all old copies stay.
    """
    try:
        copy_database(path, _copy_of_day(path, moment))
    except (sqlite3.Error, OSError) as error:
        _logger.warning("the session file could not be copied: %s", error)
        return
    if not keeps_all:
        for copy in daily_copies(path, moment)[_KEPT_COPIES:]:
            _remove(copy)


def remove_copies(path: Path) -> list[Path]:
    """Remove all daily copies, and incomplete ones; return those that could not be removed.

    `purge` calls this, as the copies have the text that it deletes. An incomplete copy is one that
    a killed process has left, or one that is being made.
    """
    path = path.resolve()  # it may be a link; the copies are beside the file
    copies = (*_all_copies(path), *path.parent.glob(f".{path.name}.backup-*"))
    return [copy for copy in copies if not _remove(copy)]


def daily_copies(path: Path, moment: datetime) -> list[Path]:
    """Return the daily copies, newest first; those of the future come last.

    A copy is as old as its name or its time of change says, whichever is earlier. It is of the
    future if that is after tomorrow: the clock was wrong when it was made, or is wrong now.
    """

    def key(copy: Path) -> tuple[bool, date, str]:
        day = _day_of(copy)
        return day <= moment.date() + timedelta(days=1), day, copy.name

    return sorted(_all_copies(path), key=key, reverse=True)


def notice_of_future(path: Path, moment: datetime) -> str:
    """Return a sentence for the user about a copy of the future; empty without one."""
    for copy in _all_copies(path):
        if _day_of(copy) > moment.date() + timedelta(days=1):
            return (
                f"{copy.name} is dated in the future, so it does not count as the newest copy. "
                "Check the clock of this computer."
            )
    return ""


def _all_copies(path: Path) -> list[Path]:
    """Return the daily copies in any order.

    A file whose name does not end with a date is left out: the user may have made such a copy.
    """
    path = path.resolve()  # it may be a link; the copies are beside the file
    return list(path.parent.glob(f"{path.name}.backup-{_DATE}"))


def _day_of(copy: Path) -> date:
    """Return the day in the name of a copy, or that of its last change, whichever is earlier."""
    try:
        changed = datetime.fromtimestamp(copy.stat().st_mtime, UTC).date()
    except (OSError, ValueError, OverflowError):  # another process has just removed it
        changed = date.max
    try:
        return min(changed, date.fromisoformat(copy.name[-len("2026-01-01") :]))
    except ValueError:  # such as the 31st of February
        return changed


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database, which may be in use, to the path `copy`, and replace a file there.

    The copy gets its name once it is complete. Raises `sqlite3.Error` or `OSError`; nothing is left
    of an incomplete copy then.
    """
    incomplete = copy.with_name(f".{copy.name}.{os.urandom(4).hex()}")
    # created here, for its owner alone: SQLite would let others read it
    os.close(os.open(incomplete, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, OWNER_ONLY))
    try:
        with (
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(incomplete)) as target,
        ):
            source.backup(target)
            # without write-ahead logging, the copy is a single file, which is easy to put back
            target.execute("pragma journal_mode = delete")
        incomplete.replace(copy)
    except BaseException:
        # on a full disk, SQLite does not remove its companions
        for ending in ("", *_COMPANIONS):
            _remove(incomplete.with_name(incomplete.name + ending))
        raise


def _remove(file: Path) -> bool:
    """Remove a file; return False if it is still there, as in a read-only folder."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        _logger.warning("%s could not be removed: %s", file.name, error.strerror)
        return False
    return True


def _copy_of_day(path: Path, moment: datetime) -> Path:
    path = path.resolve()  # it may be a link; the copies are beside the file
    return path.with_name(f"{path.name}.backup-{moment:%Y-%m-%d}")


# Repair


def repair(path: Path, moment: datetime) -> Connection:
    """Keep a damaged file under another name, repair it, and return a connection to it.

    The file gets the content of the newest daily copy, or none if that copy is missing or damaged,
    and the rows of the damaged file that it lacks and that can be read. The connection has a notice
    for the user. The caller keeps other processes out. If this process is killed, the file is still
    damaged. Raises what `connect` raises, and `OSError` if a file cannot be read or written.
    """
    file = path.resolve()  # `path` may be a link, which stays
    damaged = _copy_of_damaged(file, moment)
    _logger.error("the session file was damaged and is kept as %s", damaged.name)
    repaired = file.with_name(f".{file.name}.repaired-{os.urandom(4).hex()}")
    try:
        copies = daily_copies(path, moment)  # newest first
        if copies and not is_damaged(copies[0]):
            copy_database(copies[0], repaired)
        with closing(connect(repaired)) as connection:  # creates an empty file without a copy
            loss = _add_what_can_be_read(damaged, connection)
            message_count = connection.execute("select count(*) from messages").fetchone()[0]
        _put_in_place(repaired, file)
    finally:
        for ending in ("", *_COMPANIONS):
            _remove(repaired.with_name(repaired.name + ending))
    connection = connect(path)
    connection.notice = (
        f"{path.name} was damaged. It is kept as {damaged.name}; the new file has {message_count} "
        f"messages.{loss}"
    )
    return connection


def _copy_of_damaged(file: Path, moment: datetime) -> Path:
    """Copy a damaged file, and the log beside it, to a name that no file has; return its path."""
    copy = free_name(file, f"damaged-{moment:%Y%m%d-%H%M%S}")
    for ending in ("", "-wal", "-journal"):  # SQLite makes the third companion of the log
        source, target = (one.with_name(one.name + ending) for one in (file, copy))
        if source.exists():
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | OPEN_FLAGS, OWNER_ONLY))
            copyfile(source, target)
    return copy


def _put_in_place(repaired: Path, file: Path) -> None:
    """Give a damaged file the content of a repaired one.

    SQLite writes it into the file: another process that has the file open then reads it, and does
    not go on with a file that has lost its name. Only a file that SQLite cannot open is replaced.
    """
    try:
        with closing(sqlite3.connect(repaired)) as source, closing(sqlite3.connect(file)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        _logger.info("the damaged file is replaced: %s", error)
    if not is_damaged(file):
        return
    with closing(sqlite3.connect(repaired, isolation_level=None)) as source:
        source.execute("pragma journal_mode = delete")  # all of it is then in one file
    for ending in _COMPANIONS:
        _remove(file.with_name(file.name + ending))
    repaired.replace(file)


def _add_what_can_be_read(damaged: Path, connection: Connection) -> str:
    """Add the rows of a damaged file; return a sentence if not all could be read, else ""."""
    is_all_read = False  # remains so if the copying below fails
    try:
        connection.execute("pragma foreign_keys = off")  # rows may come before those they refer to
        with transaction(connection):
            is_all_read = _add_rows_of(damaged, connection)
    except DATABASE_ERRORS as error:
        _logger.warning("copying from the damaged file failed: %s", error)
    connection.execute("pragma foreign_keys = on")
    return "" if is_all_read else " Not everything in the damaged file could be read."


def _add_rows_of(damaged: Path, target: Connection) -> bool:
    """Add the rows of a damaged file that `target` lacks; return whether all could be read.

    Each table is read from its beginning. If a row is damaged, the table is also read from its end,
    back to a damaged row.
    """
    is_all_read = True
    # numbers of the messages whose parts `target` has already
    complete_messages = {number for (number,) in target.execute("select number from parts")}
    with closing(sqlite3.connect(damaged, isolation_level=None)) as source:
        source.text_factory = target.text_factory  # a damaged byte does not cost the row
        # without this setting, SQLite refuses a file that was cut short
        source.execute("pragma writable_schema = on")
        for table in _TABLES:
            names = [name for _, name, *_ in target.execute(f"pragma table_info({table})")]
            columns, values = ", ".join(names), ", ".join("?" * len(names))
            insertion = f"insert or ignore into {table} ({columns}) values ({values})"
            for order in ("asc", "desc"):
                try:
                    rows: Iterable[Sequence[object]] = source.execute(
                        f"select {columns} from {table} order by rowid {order}"
                    )
                    if table == "parts":
                        # A message may have been written again after the copy was made. Its parts
                        # in the damaged file are not added to those that the copy has.
                        index = names.index("number")  # of the column with the message
                        rows = (row for row in rows if row[index] not in complete_messages)
                    target.executemany(insertion, rows)
                    break  # all rows were read
                except DATABASE_ERRORS as error:
                    _logger.warning("the table %s of %s is damaged: %s", table, damaged.name, error)
                    is_all_read = False

    # a session whose row was lost keeps its messages
    target.execute(
        """insert or ignore into sessions (session_id, created_at, updated_at)
            select session_id, min(created_at), max(created_at) from messages group by session_id"""
    )
    # no row may refer to a message that was lost
    for table in ("parts", "token_choices"):
        target.execute(f"delete from {table} where number not in (select number from messages)")
    return is_all_read
