"""Doubts about the clock of this computer, by which the trash expires and copies are replaced.

If the clock is far from the last use, it may be wrong, as after a flat battery: for some days,
nothing is deleted by time. The use is not noted when the file is opened: it may be found damaged
only then.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta

from lmchat.storage.opening import Connection
from lmchat.storage.row_values import insert, stored_time, time_from
from lmchat.storage.schema import transaction

_FARTHEST = timedelta(days=60)
_DOUBTED = timedelta(days=3)
_TABLE = "create table if not exists uses (used_at text not null, doubted_at text not null)"


def is_doubtful(connection: Connection, moment: datetime) -> bool:
    """True also if the last use is not known."""
    used, doubted = _times(connection)
    if used is None or doubted is None or _is_far(moment, used):
        return True
    return moment < doubted + _DOUBTED


def notice_of_doubt(connection: Connection, moment: datetime) -> str:
    used, _ = _times(connection)
    if used is None or not _is_far(moment, used):
        return ""
    return (
        f"By this computer's clock, today is {moment:%Y-%m-%d}, and lmchat was last used on "
        f"{used:%Y-%m-%d}: nothing is removed from the trash for {_DOUBTED.days} days. Correct the "
        "clock if it is wrong."
    )


def note_use(connection: Connection, moment: datetime) -> None:
    """Note the use once a day, unless another process prevents it."""
    used, doubted = _times(connection)
    if used is None or doubted is None or _is_far(moment, used):
        doubted = moment
    elif used.date() == moment.date():
        return
    with suppress(sqlite3.OperationalError), transaction(connection):
        connection.execute(_TABLE)
        connection.execute("delete from uses")
        times = {"used_at": stored_time(moment), "doubted_at": stored_time(doubted)}
        insert(connection, "uses", times)


def _is_far(moment: datetime, used: datetime) -> bool:
    return abs(moment - used) > _FARTHEST


def _times(connection: Connection) -> tuple[datetime | None, datetime | None]:
    """Return the times of the last use and of the last doubt."""
    try:
        row = connection.execute("select used_at, doubted_at from uses").fetchone()
        return (None, None) if row is None else (time_from(row[0]), time_from(row[1]))
    except (sqlite3.OperationalError, ValueError):  # no table yet, or damaged times
        return None, None
