"""Rows of sessions and messages as they are written; each function is a part of a transaction."""

from __future__ import annotations

from datetime import datetime, timedelta

from msgspec.structs import asdict

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.session import SessionHeader
from lmchat.storage.connection import Connection, LostRowError
from lmchat.storage.row_values import column, insert, stored, stored_time, write_parts
from lmchat.storage.search_index import index_message, unindex_message
from lmchat.storage.session_queries import PATH_TO_ROOT

_CLOCK_SET_BACK = timedelta(days=1)
"""Longest time by which a clock is expected to be set back.

It is an hour in autumn, and more where two systems share a machine.
"""
_NOT_COLUMNS = ("parts", "version", "versions", "message_count", "deleted_at")
"""Fields of messages and headers that are counted, or written separately."""
# Columns that an existing row of a message takes over when it is written again.
_CHANGED_AT_END = ("state", "model", "endpoint", "receipt", "failure")


def put_session(connection: Connection, header: SessionHeader) -> None:
    """Write a new session.

    An existing one leaves the trash and gets a title if it has none; else it keeps its values.
    """
    insert(
        connection,
        "sessions",
        _columns_of(header),
        """on conflict (session_id) do update set deleted_at = null,
            title = case sessions.title when '' then excluded.title else sessions.title end""",
    )


def ensure_session(connection: Connection, session_id: str, moment: datetime) -> None:
    """Write the row of a session that another process removed while this one used it."""
    time = stored_time(moment)
    row = {"session_id": session_id, "created_at": time, "updated_at": time}
    insert(connection, "sessions", row, "on conflict do nothing")


def set_columns(connection: Connection, session_id: str, **values: object) -> None:
    """Change columns of a session, given by name."""
    assignments = ", ".join(f"{name} = ?" for name in values)
    query = f"update sessions set {assignments} where session_id = ?"
    connection.execute(query, (*values.values(), session_id))


def number_of(connection: Connection, message_id: str) -> int | None:
    """Return the key of the row of a message, None where there is no such message."""
    query = "select number from messages where message_id = ?"
    row = connection.execute(query, (message_id,)).fetchone()
    return None if row is None else int(row[0])


def put_message(connection: Connection, session_id: str, message: ChatMessage) -> None:
    """Write a message with all its parts; earlier parts are replaced."""
    number = _put_row(connection, session_id, message)
    unindex_message(connection, number)
    connection.execute("delete from parts where number = ?", (number,))
    write_parts(connection, number, message.parts)
    index_message(connection, number)


def begin_answer(
    connection: Connection, session_id: str, message: ChatMessage, moment: datetime
) -> None:
    """Write the row of an answer, or a tool call with all its parts, before it begins."""
    ensure_session(connection, session_id, moment)
    if message.role is Role.TOOL:
        put_message(connection, session_id, message)
    else:
        _put_row(connection, session_id, message)
    make_leaf(connection, session_id, message, moment)


def end_answer(
    connection: Connection, session_id: str, message: ChatMessage, moment: datetime
) -> None:
    """Write the end of an answer or a tool call.

    Its beginning, or its prompt, may be missing: they could not be written.
    """
    is_new = number_of(connection, message.message_id) is None
    has_prompt = message.parent_id is None or number_of(connection, message.parent_id) is not None

    ensure_session(connection, session_id, moment)
    put_message(connection, session_id, message)
    # With a row, it is the leaf already. Without a prompt, the path would be this answer alone.
    if is_new and has_prompt:
        make_leaf(connection, session_id, message, moment)
    if message.role is Role.ASSISTANT:
        set_columns(
            connection, session_id, model=stored(message.model), endpoint=stored(message.endpoint)
        )
    _make_newest(connection, session_id, moment)


def make_leaf(
    connection: Connection, session_id: str, message: ChatMessage, moment: datetime
) -> None:
    """Make a message the leaf of the chosen path, and its session the newest, out of the trash.

    If another window has hidden its parent, all messages above it become visible again.
    """
    set_columns(connection, session_id, leaf_id=message.message_id, deleted_at=None)
    _make_newest(connection, session_id, moment)

    query = "select 1 from messages where message_id = ? and hidden_by is not null"
    has_hidden_parent = connection.execute(query, (message.parent_id,)).fetchone() is not None
    if has_hidden_parent:
        connection.execute(
            f"""{PATH_TO_ROOT} update messages set hidden_by = null
                where number in (select number from path)""",
            {"session": session_id, "leaf": message.message_id, "count": -1},
        )


def stored_after(moment: datetime, earlier: str | None) -> str:
    """Return a moment as it is stored, made later than an earlier stored one.

    It is changed only if the clock was set back since the earlier one.
    """
    if earlier is None:
        return stored_time(moment)
    try:
        just_after = datetime.fromisoformat(earlier) + timedelta(microseconds=1)
        return stored_time(max(moment, just_after))
    except (ValueError, TypeError, OverflowError):  # the earlier one is damaged
        return stored_time(moment)


def _columns_of(value: ChatMessage | SessionHeader) -> dict[str, object]:
    """Return the columns of the row of a message or session by name."""
    columns = asdict(value)
    for name in _NOT_COLUMNS:
        columns.pop(name, None)
    return {name: column(field) for name, field in columns.items()}


def _put_row(connection: Connection, session_id: str, message: ChatMessage) -> int:
    """Write or update the row of a message, without its parts, and return its number."""
    changes = ", ".join(f"{name} = excluded.{name}" for name in _CHANGED_AT_END)
    insert(
        connection,
        "messages",
        {**_columns_of(message), "session_id": session_id},
        f"on conflict (message_id) do update set {changes}",
    )
    number = number_of(connection, message.message_id)
    if number is None:  # only in a damaged file
        raise LostRowError(message.message_id)
    return number


def _make_newest(connection: Connection, session_id: str, moment: datetime) -> None:
    """Put a session first in the list, also where the clock was set back by up to a day.

    Sessions that were changed further in the future do not count: their time is wrong.
    """
    latest = stored_time(moment + _CLOCK_SET_BACK)
    query = "select max(updated_at) from sessions where updated_at < ?"
    newest = connection.execute(query, (latest,)).fetchone()[0]
    connection.execute(
        "update sessions set updated_at = max(updated_at, ?) where session_id = ?",
        (stored_after(moment, newest), session_id),
    )
