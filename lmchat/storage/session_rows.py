"""Copying of a session from one database into another, with all its rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from lmchat.sessions.message import AnswerState, ChatMessage, interrupted
from lmchat.storage.connection import Connection
from lmchat.storage.message_rows import put_message
from lmchat.storage.row_values import MESSAGE_COLUMNS, insert, message_from
from lmchat.storage.search_index import index_message
from lmchat.storage.session_queries import arrived_parts, header

ColumnValues = dict[str, Any]

_SESSION_COLUMNS = (
    *("session_id", "title", "created_at", "updated_at", "model", "endpoint", "is_pinned"),
    *("is_archived", "deleted_at", "parent_id", "leaf_id", "tags", "place", "sampling"),
)
_MESSAGE_COLUMNS = (*MESSAGE_COLUMNS, "session_id", "hidden_by", "hidden_at")
_PART_COLUMNS = ("kind", "text", "call_id", "name")
_COPIED = "The session was copied"  # reason of an interrupted answer


class MessageRows(Struct, frozen=True, kw_only=True):
    """Row of a message, and those of its parts."""

    message: ColumnValues
    parts: list[ColumnValues]
    ended_answer: ChatMessage | None = None
    """For a running answer: the message to store instead, with the text that has arrived."""
    choices: list[ColumnValues] = []
    """Row of the choices of its tokens, if they are stored."""


class SessionRows(Struct, frozen=True, kw_only=True):
    """Row of a session, and those of its messages, also of deleted ones, oldest first."""

    session: ColumnValues
    messages: list[MessageRows]


def read_rows(connection: Connection, session_id: str) -> SessionRows:
    """Return all rows of a session; raises `SessionNotFound` or `SessionUnreadable`."""
    header(connection, session_id)  # raises these errors
    (session,) = _select(
        connection, _SESSION_COLUMNS, "from sessions where session_id = ?", session_id
    )
    of_session = "from messages where session_id = ? order by number"
    messages = _select(connection, _MESSAGE_COLUMNS, of_session, session_id)
    return SessionRows(
        session=session, messages=[_message_rows(connection, columns) for columns in messages]
    )


def write_rows(connection: Connection, rows: SessionRows) -> None:
    """Write a session that this database does not have; its messages get new numbers.

    A running answer is first written as it was, then as its `ended_answer`, which has no values for
    `hidden_by` and `hidden_at`. The caller begins the transaction.
    """
    insert(connection, "sessions", rows.session)
    for message_rows in rows.messages:
        insert(connection, "messages", message_rows.message)
        number = connection.execute("select last_insert_rowid()").fetchone()[0]
        for part in message_rows.parts:
            insert(connection, "parts", {**part, "number": number})
        for choices in message_rows.choices:
            insert(connection, "token_choices", {**choices, "number": number})
        index_message(connection, number)
        if message_rows.ended_answer is not None:
            put_message(connection, rows.session["session_id"], message_rows.ended_answer)


def _message_rows(connection: Connection, columns: ColumnValues) -> MessageRows:
    """Return the row of a message and the rows of its parts, without the number of the message.

    `columns` is the row. The number is left out because the other database gives a new one. A
    running answer also gets `ended_answer`, unless its row is damaged.
    """
    number = columns["number"]
    ended_answer: ChatMessage | None = None
    if columns["state"] == AnswerState.STREAMING:
        parts = arrived_parts(connection, number, columns["message_id"])
        answer = message_from([columns[name] for name in MESSAGE_COLUMNS], parts)
        if answer is not None:
            ended_answer = interrupted(answer, _COPIED)

    without_number = {name: value for name, value in columns.items() if name != "number"}
    part_rows = _select(
        connection, _PART_COLUMNS, "from parts where number = ? order by part_id", number
    )
    choices = _select(connection, ("data",), "from token_choices where number = ?", number)
    return MessageRows(
        message=without_number, parts=part_rows, ended_answer=ended_answer, choices=choices
    )


def _select(
    connection: Connection, columns: Sequence[str], source: str, value: object
) -> list[ColumnValues]:
    """Return for each row of a source the values of its columns by name.

    `source` is the end of a query, such as `from TABLE where COLUMN = ?`, and `value` is for its
    question mark.
    """
    rows = connection.execute(f"select {', '.join(columns)} {source}", (value,))
    return [dict(zip(columns, row, strict=True)) for row in rows]
