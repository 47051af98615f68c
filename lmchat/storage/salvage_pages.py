"""Saves the rows of a damaged file that its trees no longer lead to, by what they look like."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from lmchat.domain.message import AnswerState, Role
from lmchat.storage.connection import Connection
from lmchat.storage.raw_rows import RawRow, Value, raw_rows

log = logging.getLogger(__name__)

TABLES = ("sessions", "messages", "parts", "pieces", "drafts", "ledger", "metrics")
"""In the order in which they refer to each other."""
_SESSION, _MESSAGE, _PART, _PIECE, _TURN = 11, 15, 6, 4, 18
"""Columns that a row has at least; later versions may add some."""
_KINDS = frozenset({"text", "reasoning", "tool_call", "refusal"})
_ROLES = frozenset(Role)
_STATES = frozenset(AnswerState)


def copy_by_pages(aside: Path, connection: Connection) -> None:
    """Add what can be recognised in single pages; what is there already stays as it is."""
    for table, is_of in _LOOKS.items():
        try:
            _copy_table(aside, connection, table, is_of)
        except OSError as error:
            log.warning("the pages of the damaged file cannot be read: %s", error.strerror)


def ensure_session_of(connection: Connection, message: Mapping[str, object]) -> None:
    """Make the session of a message whose own row is lost."""
    session_id, moment = message.get("session_id"), message.get("created_at", "")
    with suppress(sqlite3.IntegrityError):  # it does not say which
        connection.execute(
            "insert or ignore into sessions (session_id, title, created_at, updated_at) values (?, ?, ?, ?)",
            (session_id, "Rescued chat", moment, moment),
        )


def _copy_table(
    aside: Path, connection: Connection, table: str, is_of: Callable[[Sequence[Value]], bool]
) -> None:
    shape = connection.execute(f"pragma table_info({table})").fetchall()
    names = [row[1] for row in shape]
    key = next((row[1] for row in shape if row[5] and row[2].lower() == "integer"), "")
    # A text that was written anew has left its old parts in some free page: one form of a message is enough.
    known = {row[0] for row in connection.execute("select number from parts")} if table == "parts" else set()
    for row in raw_rows(aside):
        if len(row.values) <= len(names) and is_of(row.values):
            found = _named(row, names, key)
            if table != "parts" or found["number"] not in known:
                _insert(connection, table, found)


def _named(row: RawRow, names: Sequence[str], key: str) -> dict[str, Value]:
    found = dict(zip(names, row.values, strict=False))  # the columns of a later version come last
    return found | {key: row.rowid} if key else found


def _insert(connection: Connection, table: str, found: Mapping[str, Value]) -> None:
    if table == "messages":
        ensure_session_of(connection, found)
    places = ", ".join("?" * len(found))
    with suppress(sqlite3.IntegrityError):  # what it belongs to is lost
        connection.execute(
            f"insert or ignore into {table} ({', '.join(found)}) values ({places})", tuple(found.values())
        )


def _is_session(values: Sequence[Value]) -> bool:
    return len(values) >= _SESSION and isinstance(values[0], str) and all(map(_is_time, values[2:4]))


def _is_message(values: Sequence[Value]) -> bool:
    return (
        len(values) >= _MESSAGE
        and values[0] is None
        and all(isinstance(one, str) for one in values[1:3])
        and values[4] in _ROLES
        and values[5] in _STATES
        and _is_time(values[6])
    )


def _is_part(values: Sequence[Value]) -> bool:
    return len(values) == _PART and _is_piece(values[:_PIECE])


def _is_piece(values: Sequence[Value]) -> bool:
    is_counted = len(values) == _PIECE and values[0] is None and isinstance(values[1], int)
    return is_counted and values[2] in _KINDS and isinstance(values[3], str | bytes)


def _is_turn(values: Sequence[Value]) -> bool:
    return len(values) >= _TURN and values[0] is None and _is_time(values[1]) and isinstance(values[2], str)


def _is_time(value: Value) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


_LOOKS: Mapping[str, Callable[[Sequence[Value]], bool]] = {
    "sessions": _is_session,
    "messages": _is_message,
    "parts": _is_part,
    "pieces": _is_piece,
    "ledger": _is_turn,
}
"""How the rows of a table look; those of the others hold too little to be told apart."""
