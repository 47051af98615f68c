"""Files in the formats of development versions: a copy is kept, and their tables are replaced."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from lmchat.storage.database_copies import copy_database, copy_readable_rows, unused_name
from lmchat.storage.running_answer import answer_files
from lmchat.storage.schema import create_tables

log = logging.getLogger(__name__)


def renew_tables(connection: sqlite3.Connection, path: Path, version: int) -> str:
    """Copy the file, then replace its tables by tables of this version that hold the readable rows.

    `version` is the present format of the file. Return a sentence for the user about the copy.
    Raises `sqlite3.Error` or `OSError` if the file cannot be copied, as on a full disk. The caller
    begins and ends the transaction.
    """
    copy = unused_name(path, f"format-{version}")
    copy_database(path, copy)
    log.warning("the session file has format %d and is kept as %s", version, copy.name)
    # answers of killed processes in the old format are not read, but stay with the copy
    for answer in answer_files(path):
        ending = answer.name.removeprefix(path.name)
        answer.rename(copy.with_name(copy.name + ending))

    # Search indexes first: dropping one also drops the tables in which it is stored. Then the
    # newest table first: messages refer to sessions.
    query = """select type, name from sqlite_master
        where type in ('table', 'view') and name not like 'sqlite\\_%' escape '\\'
        order by sql not like 'create virtual%', rowid desc"""
    for kind, name in connection.execute(query).fetchall():
        connection.execute(f"drop {kind} if exists {name}")
    create_tables(connection)
    message_count = copy_readable_rows([copy], connection)
    return (
        f"{path.name} was written by a development version of lmchat. It is kept as {copy.name}; "
        f"the new file has {message_count} messages recovered from it."
    )
