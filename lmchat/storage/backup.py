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

from lmchat.files.disk import (
    OPEN_FLAGS,
    OWNER_ONLY,
    files_in,
    free_name,
    open_plain,
    write_atomically,
)
from lmchat.files.left_files import OF_SQLITE
from lmchat.storage.opening import Connection, companion, connect, messages_in_copy
from lmchat.units import counted

_logger = logging.getLogger(__name__)

_MOST_COPIES = 3
# checking a larger file would take many seconds each day; the doctor does it when asked
_LARGEST_BYTES = 1024 * 1024 * 1024
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"


def is_due(connection: Connection, moment: datetime) -> bool:
    path = connection.path
    return path.stat().st_size <= _LARGEST_BYTES and not _copy_of_day(path, moment).exists()


def back_up(path: Path, moment: datetime, *, keeps_all: bool = False) -> None:
    """Remove all but the newest copies, unless `keeps_all`, or the copying fails."""
    file = path.resolve()
    try:
        # an lmchat that ended while it copied; another one that copies now gives up
        for incomplete in files_in(file.parent, f".{file.name}.backup-{_DATE}.*"):
            _remove(incomplete)
        copy_database(path, _copy_of_day(path, moment))
        for copy in () if keeps_all else daily_copies(path, moment)[_MOST_COPIES:]:
            _remove(copy)
    except (sqlite3.Error, OSError) as error:
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

    Raises `sqlite3.Error` or `OSError`.
    """
    incomplete = copy.with_name(f".{copy.name}.{os.urandom(4).hex()}")
    # for its owner alone: SQLite would let others read it
    os.close(os.open(incomplete, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, OWNER_ONLY))
    try:
        with (
            closing(sqlite3.connect(path)) as source,
            closing(sqlite3.connect(incomplete)) as target,
        ):
            source.backup(target)
            # without write-ahead logging, the copy is one file, easy to put back
            target.execute("pragma journal_mode = delete")
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


# Damage


def restore(path: Path, moment: datetime) -> str:
    """Set a damaged file aside, put the newest intact copy in its place, and tell the user.

    The caller keeps other processes out. A kill leaves the damaged file or the new one. Raises what
    `connect` raises, and `OSError`.
    """
    file = path.resolve()
    aside = free_name(file, f"damaged-{moment:%Y%m%d-%H%M%S}")
    _logger.error("the session file is damaged and is kept as %s", aside.name)
    copy, text = _newest_copy(path, moment)
    restored = file.with_name(f".{file.name}.backup-restored-{os.urandom(4).hex()}")
    try:
        if copy is not None:
            copy_database(copy, restored)
        with closing(connect(restored)) as connection:  # with tables of the newest format
            connection.execute("reindex")  # a copy is not searched for faults of its indexes
        try:
            os.link(file, aside)
        except OSError:  # a file system without links
            with open_plain(file) as damaged:
                write_atomically(aside, damaged)
        for ending in OF_SQLITE:  # they would change the new file, too
            with suppress(FileNotFoundError):
                companion(file, ending).rename(companion(aside, ending))
        restored.replace(file)
    finally:  # also what a killed process has left
        for rest in files_in(file.parent, f".*{file.name}.backup-restored-*"):
            _remove(rest)
    in_use = "there is no intact copy, so a new file" if copy is None else f"{text},"
    return f"{path.name} was damaged and is kept as {aside.name}; {in_use} is in use."


def notice_of_missing(path: Path, moment: datetime) -> str:
    """Tell the user; the file may be gone on purpose, so no copy takes its place."""
    copy, text = _newest_copy(path, moment)
    if copy is None:
        return ""
    return (
        f"{path.name} was missing, so a new file is in use. To go back to {text}, quit lmchat and "
        f"rename {copy.name} to {path.name}."
    )


def _newest_copy(path: Path, moment: datetime) -> tuple[Path | None, str]:
    for copy in daily_copies(path, moment):
        count = messages_in_copy(copy)
        if count is not None:
            day = _day_of(copy)
            text = f"{day:%A}, {day.day} {day:%B}, with {counted(count, 'message')}"
            return copy, f"the copy of {text}"
    return None, ""
