"""All rows of one session, read from one database and written into another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from lmchat.domain.message import AnswerState, ChatMessage, interrupted
from lmchat.storage.connection import Connection
from lmchat.storage.message_rows import put_message
from lmchat.storage.row_values import MESSAGE_COLUMNS, insert, message_from
from lmchat.storage.search_index import index_message
from lmchat.storage.session_queries import arrived_parts, header

ColumnValues = dict[str, Any]

_SESSION_COLUMNS = (
    *("session_id", "title", "created_at", "updated_at", "model", "endpoint", "is_pinned"),
    *("is_archived", "deleted_at", "parent_id", "leaf_id", "tags", "place"),
)
_MESSAGE_COLUMNS = (*MESSAGE_COLUMNS, "session_id", "branch", "hidden_by", "hidden_at")
_PART_COLUMNS = ("kind", "text", "call_id", "name")
_COPIED = "The session was copied"


class MessageRows(Struct, frozen=True, kw_only=True):
    """Row of a message, and those of its parts."""

    message: ColumnValues
    parts: list[ColumnValues]
    ended: ChatMessage | None = None  # a running answer, ended with what has arrived


class SessionRows(Struct, frozen=True, kw_only=True):
    """Row of a session, and those of its messages, also of deleted ones, oldest first."""

    session: ColumnValues
    messages: list[MessageRows]


def read_rows(connection: Connection, session_id: str) -> SessionRows:
    """Return all rows of a session; raises `SessionNotFound`."""
    header(connection, session_id)
    (session,) = _select(
        connection, _SESSION_COLUMNS, "from sessions where session_id = ?", session_id
    )
    messages = _select(
        connection,
        _MESSAGE_COLUMNS,
        "from messages where session_id = ? order by number",
        session_id,
    )
    return SessionRows(
        session=session, messages=[_message_rows(connection, message) for message in messages]
    )


def write_rows(connection: Connection, rows: SessionRows) -> None:
    """Write a session that this database does not have."""
    insert(connection, "sessions", rows.session)
    for copied in rows.messages:
        insert(connection, "messages", copied.message)
        number = connection.execute("select last_insert_rowid()").fetchone()[0]
        for part in copied.parts:
            insert(connection, "parts", {**part, "number": number})
        index_message(connection, number)
        if copied.ended is not None:
            put_message(connection, rows.session["session_id"], copied.ended)


def _message_rows(connection: Connection, message: ColumnValues) -> MessageRows:
    """Return the rows of a message, without the number that it has in this database."""
    ended: ChatMessage | None = None
    if message["state"] == AnswerState.STREAMING:
        parts = arrived_parts(connection, message["number"], message["message_id"])
        running = message_from([message[name] for name in MESSAGE_COLUMNS], parts)
        ended = running and interrupted(running, _COPIED)
    number = message.pop("number")
    part_rows = _select(
        connection, _PART_COLUMNS, "from parts where number = ? order by part_id", number
    )
    return MessageRows(message=message, parts=part_rows, ended=ended)


def _select(
    connection: Connection, columns: Sequence[str], source: str, value: object
) -> list[ColumnValues]:
    rows = connection.execute(f"select {', '.join(columns)} {source}", (value,))
    return [dict(zip(columns, row, strict=True)) for row in rows]
