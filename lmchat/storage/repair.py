"""Replacement of a damaged `sessions.db`.

The damaged file is renamed. A new file gets the rows that can still be read, and the missing ones
from the newest daily copy.
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
    copy_readable_rows,
    unused_name,
)
from lmchat.storage.schema import transaction

log = logging.getLogger(__name__)


def raise_if_damaged(connection: Connection) -> None:
    """Raise `LostRowError` if the file is damaged: `Database`, which runs this job, replaces it."""
    if is_damaged(connection.path):
        raise LostRowError("the pages of the file do not fit together")


def replace_damaged(path: Path, moment: datetime) -> Connection:
    """Rename a damaged file; return a connection to a new file with the rows that can be read.

    Rows that cannot be read come from the newest daily copy, if there is one. The connection has a
    notice for the user. If copying the rows fails, the new file has none. Raises what `connect`
    raises, and `OSError` if the file cannot be renamed.
    """
    # `path` may be a link, which stays; the companions and the copies are beside its file
    file = path.resolve()
    damaged = unused_name(file, f"damaged-{moment:%Y%m%d-%H%M%S}")
    for ending in ("", *COMPANIONS):
        with suppress(FileNotFoundError):  # SQLite has removed a companion
            file.with_name(file.name + ending).rename(damaged.with_name(damaged.name + ending))
    log.error("the session file was damaged and is now %s", damaged.name)

    connection = connect(path)
    newest_copies = daily_copies(path)[:1]
    message_count = 0
    try:
        with transaction(connection):
            message_count = copy_readable_rows([damaged, *newest_copies], connection)
    except DATABASE_ERRORS as error:
        log.warning("copying from the damaged file failed: %s", error)
    connection.notice = (
        f"{path.name} was damaged. It is kept as {damaged.name}; the new file has {message_count} "
        "messages recovered from it."
    )
    return connection
