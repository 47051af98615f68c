"""A copy of the sessions' file, made before its tables are changed, for the case that the change is wrong."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

log = logging.getLogger(__name__)

_MODE = 0o600
_DAY_S = 86_400.0
_WITH_IT = ("", "-wal", "-shm", "-journal")


def back_up(connection: sqlite3.Connection, version: int) -> Path | None:
    """Copy the file as it is to `sessions.db.format-N`, whole or not at all; None where that was done before.

    Raises:
        sqlite3.Error, OSError: there is no room for it, say; then nothing should be changed.
    """
    path = Path(connection.execute("pragma database_list").fetchone()[2])
    copy = path.with_name(f"{path.name}.format-{version}")
    if copy.exists():
        return None
    fresh = copy.with_name(f".{copy.name}.{os.urandom(4).hex()}")
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE))
    try:
        # Read beside the connection that is about to change it: SQLite copies from none that writes.
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(fresh)) as target:
            source.backup(target)
            target.execute("pragma journal_mode = delete")  # one file, that anybody can put back
        fresh.replace(copy)
    except BaseException:
        for ending in _WITH_IT:  # a full disk keeps SQLite from tidying up, and each start would leave more
            with suppress(OSError):
                fresh.with_name(fresh.name + ending).unlink()
        raise
    log.info("the session file was copied to %s before its tables are changed", copy.name)
    return copy


def remove_old_copies(path: Path, *, days: int) -> None:
    """Remove copies that nobody needed for so long: what was deleted since is still in them."""
    for copy in _copies(path):
        with suppress(OSError):
            if copy.stat().st_mtime + days * _DAY_S < time.time():
                copy.unlink()


def _copies(path: Path) -> Iterator[Path]:
    """Yield copies, and what a kill left of one; they stand beside the file, not beside a link to it."""
    path = path.resolve()
    names = (f"{path.name}.format-", f".{path.name}.format-")
    with suppress(OSError):
        yield from (one for one in path.parent.iterdir() if one.name.startswith(names))
