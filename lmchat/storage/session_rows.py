"""All rows of one session, read from one database and written into another."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from lmchat.domain.message import AnswerState, ChatMessage, interrupted
from lmchat.storage import write
from lmchat.storage.database import Connection
from lmchat.storage.read import header
from lmchat.storage.row_values import MESSAGE_COLUMNS, insert, message_from
from lmchat.storage.running_answer import arrived_parts
from lmchat.storage.search import index_message

ColumnValues = dict[str, Any]
_COPIED = "The session was copied"
_NUMBERED = (
    "number",
    "part_id",
    "is_indexed",
)  # columns that each database fills with its own values


class MessageRows(Struct, frozen=True, kw_only=True):
    """Row of a message, and those of its parts."""

    message: ColumnValues
    parts: tuple[ColumnValues, ...]
    ended: ChatMessage | None = None  # an answer that streams, ended with what has arrived


class SessionRows(Struct, frozen=True, kw_only=True):
    """Row of a session, and those of its messages, also of deleted ones, oldest first."""

    session: ColumnValues
    messages: tuple[MessageRows, ...]


def read_rows(connection: Connection, session_id: str) -> SessionRows:
    """Return all rows of a session; raises `SessionNotFound`."""
    header(connection, session_id)
    (session,) = _rows(connection, "select * from sessions where session_id = ?", session_id)
    found = _rows(
        connection, "select * from messages where session_id = ? order by number", session_id
    )
    messages = tuple(_message_rows(connection, message) for message in found)
    return SessionRows(session=session, messages=messages)


def write_rows(connection: Connection, rows: SessionRows) -> None:
    """Write a session that this database does not have."""
    insert(connection, "sessions", rows.session)
    session_id = rows.session["session_id"]
    for copied in rows.messages:
        insert(connection, "messages", _without_numbers(copied.message))
        number = connection.execute("select last_insert_rowid()").fetchone()[0]
        for part in copied.parts:
            insert(connection, "parts", {**_without_numbers(part), "number": number})
        index_message(connection, number)
        if copied.ended is not None:
            write.put_whole(connection, session_id, copied.ended)


def _message_rows(connection: Connection, message: ColumnValues) -> MessageRows:
    number = message["number"]
    parts = _rows(connection, "select * from parts where number = ? order by part_id", number)
    ended: ChatMessage | None = None
    if message["state"] == AnswerState.STREAMING:
        values = [message[name] for name in MESSAGE_COLUMNS.split(", ")]
        running = message_from(values, arrived_parts(connection, number, message["message_id"]))
        ended = running and interrupted(running, _COPIED)
    return MessageRows(message=message, parts=tuple(parts), ended=ended)


def _rows(connection: Connection, query: str, value: object) -> list[ColumnValues]:
    cursor = connection.execute(query, (value,))
    names = [description[0] for description in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor]


def _without_numbers(row: ColumnValues) -> ColumnValues:
    return {name: value for name, value in row.items() if name not in _NUMBERED}
