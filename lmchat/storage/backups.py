"""Daily copies of `sessions.db`, named `sessions.db.backup-DATE`."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from lmchat.storage.connection import Connection, is_intact
from lmchat.storage.database_copies import copy_database

log = logging.getLogger(__name__)

_KEPT = 3  # daily copies
_KEPT_DAYS = 7
_LARGEST_BYTES = 1 << 30  # a larger file would be read for many seconds; the doctor checks it
_DAY_S = 86_400.0


def is_due(connection: Connection, moment: datetime) -> bool:
    """Return whether the file is to be checked and copied: once a day."""
    if connection.is_read_only or connection.path.stat().st_size > _LARGEST_BYTES:
        return False
    return not _copy_of_day(connection.path, moment).exists()


def back_up(path: Path, moment: datetime) -> None:
    """Copy the file, and remove older copies."""
    if _try_to_copy(path, _copy_of_day(path, moment)):
        oldest = _copy_of_day(path, moment - timedelta(days=_KEPT_DAYS)).name
        for number, copy in enumerate(daily_copies(path)):
            if number >= _KEPT or copy.name < oldest:
                copy.unlink(missing_ok=True)


def renew_copies(path: Path, moment: datetime) -> None:
    """Replace the daily copies by one of an intact file: they have what expired."""
    if not daily_copies(path) or not is_intact(path):
        return
    copy = _copy_of_day(path, moment)
    if _try_to_copy(path, copy):
        remove_copies(path, but=copy)


def remove_copies(path: Path, *, but: Path | None = None) -> None:
    """Remove the daily copies, and incomplete ones after a kill."""
    path = path.resolve()
    for copy in (*daily_copies(path), *path.parent.glob(f".{path.name}.backup-*")):
        if copy != but:
            with suppress(OSError):  # the folder may be read-only now
                copy.unlink()


def remove_leftovers(path: Path, *, days: int) -> None:
    """Remove incomplete copies and files of answers that a kill left long ago."""
    path = path.resolve()  # copies are beside the file, not beside a link to it
    hidden = f".{path.name}"
    leftovers = (f"{hidden}.backup-", f"{hidden}.format-", f"{hidden}-answer-")
    with suppress(OSError):  # another process was faster
        for file in path.parent.iterdir():
            if file.name.startswith(leftovers):
                age_s = time.time() - file.stat().st_mtime
                if age_s > days * _DAY_S:
                    file.unlink()


def daily_copies(path: Path) -> list[Path]:
    """Return the daily copies, newest first."""
    path = path.resolve()
    with suppress(OSError):  # another process has just removed one
        copies = path.parent.glob(f"{path.name}.backup-*")
        return sorted(copies, key=lambda copy: copy.stat().st_mtime, reverse=True)
    return []


def _try_to_copy(path: Path, copy: Path) -> bool:
    """Copy the file; return whether that worked."""
    try:
        copy_database(path, copy)
    except (sqlite3.Error, OSError) as error:
        log.warning("the session file could not be copied: %s", error)
        return False
    return True


def _copy_of_day(path: Path, moment: datetime) -> Path:
    path = path.resolve()
    return path.with_name(f"{path.name}.backup-{moment:%Y-%m-%d}")
