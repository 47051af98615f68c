"""Writing of the rows of sessions and messages, in a transaction of the caller."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from lmchat.core.sessions.message import ChatMessage, Role
from lmchat.core.sessions.session import SessionHeader
from lmchat.core.sessions.tokens import TokenProbabilities
from lmchat.core.storage.branch_queries import PATH_TO_ROOT
from lmchat.core.storage.opening import Connection
from lmchat.core.storage.record_values import (
    column_value,
    insert,
    packed_choices,
    storable,
    stored_time,
    write_parts,
)

# counted, or written separately
_NOT_COLUMNS = ("parts", "version", "versions", "message_count", "deleted_at")
# columns of an existing row that change when it is written again
_CHANGED_AT_END = ("state", "model", "endpoint", "receipt", "failure")


def put_session(connection: Connection, header: SessionHeader) -> None:
    """Keep the values of an existing row, as they may be newer.

    But take the session out of the trash, as a message follows.
    """
    insert(
        connection,
        "sessions",
        _columns_of(header),
        """on conflict (session_id) do update set deleted_at = null,
            title = case sessions.title when '' then excluded.title else sessions.title end""",
    )
    connection.changed_rows += 1  # the screen reads the list of sessions again


def ensure_session(connection: Connection, session_id: str, moment: datetime) -> None:
    """Write a row if there is none, as after a full disk."""
    time = stored_time(moment)
    record = {"session_id": session_id, "created_at": time, "updated_at": time}
    insert(connection, "sessions", record, "on conflict do nothing")


def set_columns(connection: Connection, session_id: str, **values: object) -> None:
    """`values` are in the form of `record_values.column_value`.

    With a time and a new leaf, or with `change` 0, the session becomes the last changed one.
    """
    assignments = ", ".join(f"{name} = ?" for name in values)
    query = f"update sessions set {assignments} where session_id = ?"
    connection.execute(query, (*values.values(), session_id))
    connection.changed_rows += 1  # the screen reads the list of sessions again


def session_records(
    connection: Connection, session_id: str
) -> Iterator[tuple[str, dict[str, object]]]:
    """Yield table and columns of all rows of a session, deleted messages included."""
    of_message = "number in (select number from messages where session_id = ?)"
    tables = dict.fromkeys(("sessions", "messages", "drafts"), "session_id = ?")
    tables |= dict.fromkeys(("parts", "token_choices"), of_message)
    for table, condition in tables.items():
        records = connection.execute(
            f"select * from {table} where {condition} order by rowid", (session_id,)
        )
        names = [name for name, *_ in records.description]  # other files have another order
        yield from ((table, dict(zip(names, record, strict=True))) for record in records)


def put_records(connection: Connection, records: Iterable[tuple[str, dict[str, object]]]) -> None:
    """Give each row a number of its own, and interrupt an answer that still ran."""
    numbers: dict[object, object] = {}  # of messages, by those in the other file
    for table, columns in records:
        columns.pop("part_id", None)
        number = columns.pop("number", None)
        if number in numbers:
            columns["number"] = numbers[number]
        row = insert(connection, table, columns)
        if table == "messages":
            numbers[number] = row.lastrowid
    connection.execute("update messages set state = 'interrupted' where state = 'streaming'")


def number_of(connection: Connection, message_id: str) -> int | None:
    query = "select number from messages where message_id = ?"
    record = connection.execute(query, (message_id,)).fetchone()
    return None if record is None else int(record[0])


def put_message(
    connection: Connection,
    session_id: str,
    message: ChatMessage,
    choices: Sequence[TokenProbabilities] = (),
) -> None:
    """Stored choices stay if `choices` are empty."""
    number = _put_record(connection, session_id, message)
    connection.execute("delete from parts where number = ?", (number,))
    write_parts(connection, number, message.parts)
    if choices:
        record = {"number": number, "data": packed_choices(choices)}
        changes = "on conflict (number) do update set data = excluded.data"
        insert(connection, "token_choices", record, changes)


def start_answer(
    connection: Connection, session_id: str, message: ChatMessage, moment: datetime
) -> None:
    """Write the row of an answer or a tool call that starts, and make it the leaf."""
    ensure_session(connection, session_id, moment)
    if message.role is Role.TOOL:
        put_message(connection, session_id, message)
    else:
        _put_record(connection, session_id, message)
    make_leaf(connection, session_id, message, moment)


def end_answer(
    connection: Connection,
    session_id: str,
    message: ChatMessage,
    moment: datetime,
    choices: Sequence[TokenProbabilities] = (),
) -> None:
    """Write an answer or a tool call that has ended.

    Its row or that of its parent may be missing, as after a full disk.
    """
    is_new = number_of(connection, message.message_id) is None
    has_parent = message.parent_id is None or number_of(connection, message.parent_id) is not None

    ensure_session(connection, session_id, moment)
    put_message(connection, session_id, message, choices)
    # One with a row became the leaf when it started. Without a row of its parent, the path would
    # have no other message.
    if is_new and has_parent:
        make_leaf(connection, session_id, message, moment)
    values: dict[str, object] = {"updated_at": stored_time(moment), "change": 0}
    if message.role is Role.ASSISTANT:
        values |= {"model": storable(message.model), "endpoint": storable(message.endpoint)}
    set_columns(connection, session_id, **values)


def make_leaf(
    connection: Connection, session_id: str, message: ChatMessage, moment: datetime
) -> None:
    """Make a written message the leaf of the active path, and its session the newest.

    If another window has hidden the parent, all messages above become visible again.
    """
    set_columns(
        connection,
        session_id,
        leaf_id=message.message_id,
        deleted_at=None,
        updated_at=stored_time(moment),
    )

    query = "select 1 from messages where message_id = ? and hidden_by is not null"
    has_hidden_parent = connection.execute(query, (message.parent_id,)).fetchone() is not None
    if has_hidden_parent:
        # `path`: the new message and all above it
        connection.execute(
            f"""{PATH_TO_ROOT} update messages set hidden_by = null
                where number in (select number from path)""",
            {"session": session_id, "leaf": message.message_id, "count": -1},
        )


def _columns_of(value: ChatMessage | SessionHeader) -> dict[str, object]:
    """A column has the name of its field, except that `stats` is in the column `receipt`."""
    # `msgspec.structs.fields` reads the annotations again with each call
    names = zip(value.__struct_encode_fields__, value.__struct_fields__, strict=True)
    return {
        column_name: column_value(getattr(value, field_name))
        for column_name, field_name in names
        if field_name not in _NOT_COLUMNS
    }


def _put_record(connection: Connection, session_id: str, message: ChatMessage) -> int:
    changes = ", ".join(f"{name} = excluded.{name}" for name in _CHANGED_AT_END)
    record = insert(
        connection,
        "messages",
        {**_columns_of(message), "session_id": session_id},
        f"on conflict (message_id) do update set {changes} returning number",
    ).fetchone()
    return int(record[0])
