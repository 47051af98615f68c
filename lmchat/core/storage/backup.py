"""Daily copies of `sessions.db`, named `sessions.db.backup-DATE`, for a file that is damaged.

`path` may be a link to another folder; copies are beside the real file.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing, suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from lmchat.base.files.disk import (
    OPEN_FLAGS,
    OWNER_ONLY,
    files_in,
    free_name,
    open_plain,
    status_of,
    write_atomically,
)
from lmchat.base.files.left_files import OF_SQLITE
from lmchat.base.files.locks import is_byte_locked
from lmchat.base.units import counted
from lmchat.core.storage.opening import (
    BUSY_S,
    Connection,
    companion,
    connect,
    is_damage,
    real_file,
    require_whole,
    sessions_in,
)

_logger = logging.getLogger(__name__)

_MOST_COPIES = 3
# checking a larger file would take many seconds each day; the doctor does it when asked
_LARGEST_BYTES = 1024 * 1024 * 1024
_PAGES_AT_ONCE = 4096  # 4 MB; a write in between makes SQLite begin again
_PAUSE_S = 0.01
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def is_due(connection: Connection, moment: datetime) -> bool:
    path = connection.path
    return path.stat().st_size <= _LARGEST_BYTES and not _copy_of_day(path, moment).exists()


def back_up(path: Path, moment: datetime, *, keeps_all: bool = False) -> None:
    """Remove all but the newest copies, unless `keeps_all`, or the copying fails.

    Raises an error for a damaged file, of which no copy is made.
    """
    file = path.resolve()
    try:
        # an lmchat that ended while it copied; another one that copies now gives up
        for incomplete in files_in(file.parent, f".{file.name}.backup-{_DATE}.*"):
            _remove(incomplete)
        copy_database(path, _copy_of_day(path, moment))
        for copy in () if keeps_all else daily_copies(path, moment)[_MOST_COPIES:]:
            _remove(copy)
    except (sqlite3.Error, OSError) as error:
        if is_damage(error):
            raise
        _logger.warning("the session file could not be copied: %s", error)


def remove_copies(path: Path) -> list[Path]:
    """Return copies that could not be removed; raise `OSError` if they cannot be seen.

    An incomplete one was left by a killed process, or is being made.
    """
    path = path.resolve()
    copies = (*_all_copies(path), *files_in(path.parent, f".*{path.name}.backup-*"))
    return [copy for copy in copies if not _remove(copy)]


def daily_copies(path: Path, moment: datetime) -> list[Path]:
    """Return the copies, newest first, but those dated after tomorrow last.

    The clock was wrong when these were made, or is wrong now.
    """

    def key(copy: Path) -> tuple[bool, date, str]:
        day = _day_of(copy)
        return day <= moment.date() + timedelta(days=1), day, copy.name

    return sorted(_all_copies(path), key=key, reverse=True)


def _all_copies(path: Path) -> list[Path]:
    """Leave out names that do not end with a date: the user may have made them."""
    path = path.resolve()
    return files_in(path.parent, f"{path.name}.backup-{_DATE}")


def _day_of(copy: Path) -> date:
    """Return the day in its name, or that of its last change if that is earlier."""
    try:
        changed = datetime.fromtimestamp(copy.stat().st_mtime, UTC).date()
    except (OSError, ValueError, OverflowError):  # another process has just removed it
        changed = date.max
    try:
        return min(changed, date.fromisoformat(copy.name[-len("2026-01-01") :]))
    except ValueError:  # such as the 31st of February
        return changed


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database, which may be in use; the copy gets its name once it is complete.

    The copy is checked, not the file: its readers keep others from writing. Raises `sqlite3.Error`
    or `OSError`.
    """
    incomplete = copy.with_name(f".{copy.name}.{os.urandom(4).hex()}")
    # for its owner alone: SQLite would let others read it
    os.close(os.open(incomplete, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, OWNER_ONLY))
    try:
        with (
            closing(sqlite3.connect(path, timeout=BUSY_S)) as source,
            closing(sqlite3.connect(incomplete)) as target,
        ):
            # while another program keeps the file locked, this fails, and `backup` waits for ever
            source.execute("select 1 from sqlite_master").fetchone()
            source.backup(target, pages=_PAGES_AT_ONCE, sleep=_PAUSE_S)
            require_whole(target)
        incomplete.replace(copy)
    except BaseException:
        # on a full disk, SQLite does not remove its companions
        for ending in ("", *OF_SQLITE):
            _remove(companion(incomplete, ending))
        raise


def _remove(file: Path) -> bool:
    """Return whether the file is gone."""
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        _logger.warning("%s could not be removed: %s", file.name, error.strerror)
        return False
    return True


def _copy_of_day(path: Path, moment: datetime) -> Path:
    path = path.resolve()
    return path.with_name(f"{path.name}.backup-{moment:%Y-%m-%d}")


# Logs beside the file

_SECTOR_SIZE = slice(20, 24)  # in the head of a journal, of one sector; the first page follows
# in the head of the first page, and of the file
_HEAD_BYTES = 100
_MODE = slice(18, 20)
_CHANGES = slice(24, 28)
_CONNECTION = slice(68, 72)
_WRITE_AHEAD = b"\2\2"
_INDEX_LOCK = 128


def foreign_logs(path: Path) -> list[Path]:
    """Return logs that belong to another file, or to another state of it. Raises `OSError`.

    SQLite would write their pages into the file as soon as it opens it.
    """
    file = real_file(path)
    head = b""
    if status_of(file):
        with open_plain(file) as opened:
            head = opened.read(_HEAD_BYTES)
    logs = (companion(file, ending) for ending in ("-wal", "-journal"))
    return [log for log in logs if status_of(log) and not _is_own(log, file, head)]


def set_aside_logs(path: Path, moment: datetime) -> str:
    """Move foreign logs away; return a sentence.

    A copy of the file goes with them. The caller keeps other processes out. Raises `OSError`.
    """
    file = real_file(path)
    if not _is_index_used(file):
        companion(file, "-shm").unlink(missing_ok=True)
    foreign = foreign_logs(path)
    if not foreign:
        return ""
    aside = free_name(file, f"damaged-{moment:%Y%m%d-%H%M%S}")
    if status_of(file):
        with open_plain(file) as opened:
            write_atomically(aside, opened)
    for log in foreign:
        log.replace(aside.with_name(log.name.replace(file.name, aside.name, 1)))
    return (
        f"A log beside {path.name} is of another file, or of another state of it, and was not "
        f"used. It is kept beside {aside.name}, a copy of the file."
    )


def _is_own(log: Path, file: Path, head: bytes) -> bool:
    """`head` is that of the file. True if that cannot be told.

    A journal begins with the first page before the transaction: `transaction` writes the number of
    its connection there, and SQLite counts the changes.
    """
    if log.name.endswith("-journal"):
        with open_plain(log) as opened:
            opened.seek(int.from_bytes(opened.read(_SECTOR_SIZE.stop)[_SECTOR_SIZE]))
            number = opened.read(4)
            before = opened.read(_HEAD_BYTES)
        changes = int.from_bytes(head[_CHANGES]) - int.from_bytes(before[_CHANGES])
        is_same = changes in (0, 1) and head[_CONNECTION] == before[_CONNECTION]
        # SQLite has written the number of the page, and not yet the page
        return is_same or int.from_bytes(number) != 1 or not before
    if _is_index_used(file):  # an older lmchat runs
        return True
    if head[_MODE] != _WRITE_AHEAD:
        return False
    status = file.stat()
    is_older = max(status.st_mtime, status.st_ctime) <= log.stat().st_mtime
    return is_older or sessions_in(file) is None


def _is_index_used(file: Path) -> bool:
    """Each user of the index of a write-ahead log locks a byte of it."""
    index = companion(file, "-shm")
    return status_of(index) is not None and is_byte_locked(index, _INDEX_LOCK)


# Damage


def intact_backups(path: Path, moment: datetime) -> dict[Path, str]:
    """Return the copies, newest first, with words for each. Raises `OSError`."""
    found: dict[Path, str] = {}
    for copy in daily_copies(path, moment):
        count = sessions_in(copy)
        day = _day_of(copy)
        if count is not None:
            sessions = counted(count, "session")
            found[copy] = f"the backup of {day:%A}, {day.day} {day:%B}, with {sessions}"
    return found


def replace_damaged(path: Path, moment: datetime, backup: Path | None) -> str:
    """Put a backup, or an empty file, in the place of a damaged file, which is kept; say so.

    The caller keeps other processes out. Raises what `connect` raises, and `OSError`.
    """
    file = path.resolve()
    aside = free_name(file, f"damaged-{moment:%Y%m%d-%H%M%S}")
    _move(file, aside)
    try:
        if backup is not None:
            copy_database(backup, file)
        connect(path).close()
    except BaseException:
        _remove(file)
        _move(aside, file)
        raise
    in_use = "an empty file" if backup is None else f"a copy of {backup.name}"
    return f"{path.name} was damaged and is kept as {aside.name}; {in_use} is in use."


def _move(file: Path, target: Path) -> None:
    """With its logs, which would change another file, too."""
    for ending in ("", *OF_SQLITE):
        with suppress(FileNotFoundError):
            companion(file, ending).rename(companion(target, ending))


def notice_of_missing(path: Path, moment: datetime) -> str:
    """Tell the user; the file may be gone on purpose, so no copy takes its place."""
    copies = intact_backups(path, moment) if status_of(path) is None else {}
    for backup, text in copies.items():
        if status_of(path) is None:  # else another lmchat has made the file, and this copy of it
            return (
                f"{path.name} was missing, so a new file is in use. To go back to {text}, quit "
                f"lmchat and rename {backup.name} to {path.name}."
            )
    return ""
