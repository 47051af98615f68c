"""Daily copies of `sessions.db`, named `sessions.db.backup-DATE`."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from lmchat.storage.connection import Connection, is_damaged
from lmchat.storage.database_copies import copy_database

log = logging.getLogger(__name__)

_KEPT_COPIES = 3
_KEPT_DAYS = 7
# Checking a larger file would take many seconds each day. The doctor checks it when asked to.
_LARGEST_BYTES = 1024 * 1024 * 1024
_DAY_S = 86_400.0
_DATE = "[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"  # pattern of the date at the end of a name


def is_due(connection: Connection, moment: datetime) -> bool:
    """Return whether the file is to be checked and copied: it has no copy of this day yet.

    False for a read-only file and for one that is larger than `_LARGEST_BYTES`.
    """
    if connection.is_read_only or connection.path.stat().st_size > _LARGEST_BYTES:
        return False
    return not _copy_of_day(connection.path, moment).exists()


def back_up(path: Path, moment: datetime) -> None:
    """Copy the file; if that worked, remove old copies.

    The newest `_KEPT_COPIES` copies stay, unless they are older than `_KEPT_DAYS`. If copying
    fails, that is logged, and all old copies stay.
    """
    if not _try_to_copy(path, _copy_of_day(path, moment)):
        return
    # Names of copies differ only in the date at their end, so an older copy has a smaller name.
    oldest_name = _copy_of_day(path, moment - timedelta(days=_KEPT_DAYS)).name
    for index, copy in enumerate(daily_copies(path)):
        if index >= _KEPT_COPIES or copy.name < oldest_name:
            with suppress(OSError):  # another process has removed it, or the folder is read-only
                copy.unlink()


def renew_copies(path: Path, moment: datetime) -> None:
    """Replace all daily copies by one new copy: the old ones have the text of expired sessions.

    Does nothing without daily copies. The old copies also stay if the file is damaged, because they
    may be needed to repair it, or if it cannot be copied.
    """
    if not daily_copies(path) or is_damaged(path):
        return
    copy = _copy_of_day(path, moment)
    if _try_to_copy(path, copy):
        remove_copies(path, but=copy)


def remove_copies(path: Path, *, but: Path | None = None) -> None:
    """Remove all daily copies except `but`, and incomplete copies that a killed process left."""
    path = path.resolve()  # copies are beside the file, not beside a link to it
    for copy in (*daily_copies(path), *path.parent.glob(f".{path.name}.backup-*")):
        if copy != but:
            with suppress(OSError):  # another process has removed it, or the folder is read-only
                copy.unlink()


def remove_leftovers(path: Path, *, days: int) -> None:
    """Remove hidden files older than `days` that killed processes left beside the file.

    These are incomplete copies, and files of answers that did not get their final name. Younger
    ones may be in use.
    """
    path = path.resolve()  # copies are beside the file, not beside a link to it
    hidden = f".{path.name}"
    beginnings = (f"{hidden}.backup-", f"{hidden}-answer-")
    # An error means that another process has just removed one. The next start removes the others.
    with suppress(OSError):
        for file in path.parent.iterdir():
            if file.name.startswith(beginnings):
                age_s = time.time() - file.stat().st_mtime
                if age_s > days * _DAY_S:
                    file.unlink()


def daily_copies(path: Path) -> list[Path]:
    """Return the daily copies, newest first; an empty list if one is just being removed.

    Files with other names than a date at the end are copies that the user has made.
    """
    path = path.resolve()
    copies = path.parent.glob(f"{path.name}.backup-{_DATE}")
    try:
        return sorted(copies, key=lambda copy: copy.stat().st_mtime, reverse=True)
    except OSError:
        return []


def _try_to_copy(path: Path, copy: Path) -> bool:
    """Copy the file; return whether that worked, and log a failure."""
    try:
        copy_database(path, copy)
    except (sqlite3.Error, OSError) as error:
        log.warning("the session file could not be copied: %s", error)
        return False
    return True


def _copy_of_day(path: Path, moment: datetime) -> Path:
    """Return the path of the copy of a day; `path` may be a link to a file in another folder."""
    path = path.resolve()
    return path.with_name(f"{path.name}.backup-{moment:%Y-%m-%d}")
