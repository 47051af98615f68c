"""Once a day the whole file is looked at, so that damage is found before somebody needs what it has hit."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta
from functools import partial

from lmchat.storage.connection import Connection
from lmchat.storage.database import Database
from lmchat.storage.faults import LOST_ROW
from lmchat.storage.reading_thread import ReadingThread

_EVERY_S = timedelta(days=1).total_seconds()
_LARGEST_BYTES = 1 << 30
"""A larger file would be read for many seconds; the doctor looks at that."""
_LOOKED_AT = "looked_at_s"
"""Where the moment of the last look stands, among the counters."""


async def look_over(database: Database, reading: ReadingThread, moment: datetime) -> None:
    """Look at all pages of the file, if that was not done today; have it mended where it is damaged.

    The look is taken beside everything else, a table at a time, so that a search gets its turn between two.
    """
    if not await database.read(lambda c: _is_due(c, moment)):
        return
    for table in await database.read(_tables):
        if not await reading.read(partial(_is_sound, table=table)):
            await database.read(partial(_meet_damage, table=table))
            return
    await database.write(lambda c: _note(c, moment))


def _is_due(connection: Connection, moment: datetime) -> bool:
    if connection.is_read_only or connection.path.stat().st_size > _LARGEST_BYTES:
        return False
    row = connection.execute(
        "select cast(value as real) from metrics where name = ?", (_LOOKED_AT,)
    ).fetchone()
    return row is None or abs(moment.timestamp() - row[0]) >= _EVERY_S


def _tables(connection: Connection) -> list[str]:
    rows = connection.execute("select name from sqlite_master where type = 'table' and rootpage > 0")
    return [str(row[0]) for row in rows]


def _is_sound(connection: Connection, *, table: str) -> bool:
    found = connection.execute("select * from pragma_quick_check(?)", (table,))
    return [row[0] for row in found] == ["ok"]


def _meet_damage(connection: Connection, *, table: str) -> None:
    """Fail as a job does that meets damage; once it is mended, there is none."""
    if not _is_sound(connection, table=table):
        raise sqlite3.DatabaseError(LOST_ROW)


def _note(connection: Connection, moment: datetime) -> None:
    connection.execute(
        "insert or replace into metrics (name, value) values (?, ?)", (_LOOKED_AT, moment.timestamp())
    )
