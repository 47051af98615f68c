"""Replacement of a damaged `sessions.db`.

The damaged file is renamed. The newest daily copy takes its place, and gets the rows of the damaged
file that it lacks and that can still be read.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from lmchat.storage.backups import daily_copies
from lmchat.storage.connection import Connection, LostRowError, connect, is_damaged
from lmchat.storage.database_copies import (
    COMPANIONS,
    DATABASE_ERRORS,
    copy_database,
    copy_readable_rows,
    unused_name,
)
from lmchat.storage.schema import renew_index, transaction

log = logging.getLogger(__name__)


def raise_if_damaged(connection: Connection) -> None:
    """Raise `LostRowError` if the file is damaged: `Database`, which runs this job, replaces it."""
    if is_damaged(connection.path):
        raise LostRowError("the pages of the file do not fit together")


def replace_damaged(path: Path, moment: datetime) -> Connection:
    """Rename a damaged file, and return a connection to the file that takes its place.

    That is the newest daily copy, if there is one, with the rows of the damaged file that it lacks
    and that can be read. The connection has a notice for the user. Raises what `connect` raises,
    and `OSError` if a file cannot be renamed or written.
    """
    # `path` may be a link, which stays; the companions and the copies are beside its file
    file = path.resolve()
    damaged = unused_name(file, f"damaged-{moment:%Y%m%d-%H%M%S}")
    for ending in ("", *COMPANIONS):
        with suppress(FileNotFoundError):  # SQLite has removed a companion
            file.with_name(file.name + ending).rename(damaged.with_name(damaged.name + ending))
    log.error("the session file was damaged and is now %s", damaged.name)

    for copy in daily_copies(path)[:1]:
        if not is_damaged(copy):
            copy_database(copy, file)
    connection = connect(path)
    try:
        with transaction(connection):
            copy_readable_rows(damaged, connection)
    except DATABASE_ERRORS as error:
        log.warning("copying from the damaged file failed: %s", error)
    renew_index(connection)
    message_count = connection.execute("select count(*) from messages").fetchone()[0]
    connection.notice = (
        f"{path.name} was damaged. It is kept as {damaged.name}; the new file has {message_count} "
        "messages recovered from it."
    )
    return connection
