"""Queries of sessions, and of paths through the trees of their messages.

A path starts at a root and ends at its leaf; the active path is shown and sent. The *number* of a
message is the key of its row; newer messages have higher ones. A deleted message is *hidden* with
all below it: their `hidden_by` is its id. All others are *visible*.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from lmchat.base.errors import SessionNotFound, SessionUnreadable
from lmchat.core.sessions.journal_entries import parts_of
from lmchat.core.sessions.message import AnswerState, ChatMessage, Part
from lmchat.core.sessions.session import (
    MESSAGES_PER_READ,
    MessagePath,
    Session,
    SessionHeader,
    title_from,
)
from lmchat.core.storage.journal import answer_path, read_answer
from lmchat.core.storage.opening import Connection
from lmchat.core.storage.record_values import (
    HEADER_COLUMNS,
    MESSAGE_COLUMNS,
    header_from,
    message_from,
    read_parts,
    text_from,
)

# Beginning of a query over the rows `path`: the message `:leaf` and those above it, at most
# `:count` (-1: no limit). A damaged file may have a circle of messages; `m.number < p.number` ends
# the search in it.
PATH_TO_ROOT = """with recursive path (number, message_id, parent_id) as (
    select number, message_id, parent_id from messages
        where message_id = :leaf and session_id = :session
    union all
    select m.number, m.message_id, m.parent_id from path p
        cross join messages m on m.message_id = p.parent_id
        where m.session_id = :session and m.number < p.number
    limit :count
)"""
# the same for the message `:message` and all below it, hidden ones too
BELOW = """with recursive below (number, message_id, hidden_by) as (
    select number, message_id, hidden_by from messages
        where message_id = :message and session_id = :session
    union
    select m.number, m.message_id, m.hidden_by from below b
        cross join messages m on m.parent_id = b.message_id where m.session_id = :session
)"""
# Versions of a message `m`: itself and its visible siblings of the same role. Conditions for the
# siblings `s` may follow. Roots are siblings too: `is` compares null with null.
_COUNT_VERSIONS = """select count(*) from messages s where s.parent_id is m.parent_id
    and s.role = m.role and s.session_id = m.session_id and s.hidden_by is null"""
_MESSAGE = ", ".join(f"m.{name}" for name in MESSAGE_COLUMNS)
# Messages of a path, leaf first; then `hidden_by`, the place among the versions (from 1), and their
# number.
_READ_PATH = f"""{PATH_TO_ROOT} select {_MESSAGE}, m.hidden_by,
    ({_COUNT_VERSIONS} and s.number <= m.number), ({_COUNT_VERSIONS})
    from path cross join messages m using (number) order by number desc"""
_HIDDEN_BY = -3  # column in rows of `_READ_PATH`
# visible messages of a session, with the same two figures of versions
_READ_TREE = f"""select {_MESSAGE}, row_number() over siblings, count(*) over siblings
    from messages m
    left join messages p on p.message_id = m.parent_id and p.session_id = m.session_id
    where m.session_id = ? and m.hidden_by is null
    window siblings as (partition by p.message_id, m.role order by m.number
        rows between unbounded preceding and unbounded following)
    order by m.number"""
_STATE = MESSAGE_COLUMNS.index("state")  # in rows of both queries
LAST_CHANGED_FIRST = "change desc, updated_at desc, rowid desc"  # order of sessions
DRAFT = "select text from drafts where session_id = ?"
# a column for prompts `m`: the words that give a title, as in `title_of`
TITLE_WORDS = """coalesce(
        (select text from parts where number = m.number and kind = 'text' and text <> ''),
        (select group_concat(name, ', ') from parts where number = m.number and kind = 'file'),
        '')"""


# Sessions


def header(connection: Connection, session_id: str) -> SessionHeader:
    """Raises `SessionNotFound`, `SessionUnreadable`."""
    query = f"select {HEADER_COLUMNS} from sessions where session_id = ?"
    record = connection.execute(query, (session_id,)).fetchone()
    if record is None:
        raise SessionNotFound(
            f"No session has the id {session_id}.",
            next_step="`lmchat sessions` lists them; with --trash, the deleted ones.",
        )
    session_header = header_from(record)
    if session_header is None:
        raise SessionUnreadable(
            f"The session {session_id} is damaged and cannot be read.",
            next_step="Open another session, or check the file with `lmchat doctor`.",
        )
    return session_header


def active_path(connection: Connection, session_id: str, count: int | None = None) -> Session:
    """Raises `SessionNotFound`, `SessionUnreadable`."""
    query = """select m.message_id from sessions s join messages m
        on m.message_id = s.leaf_id and m.session_id = s.session_id
        where s.session_id = ? and m.hidden_by is null"""
    leaf_id = first_id(connection, query, (session_id,))
    leaf_id = leaf_id or _newest_visible_id(connection, session_id)
    earlier_id = None
    if count is None or leaf_id is None:
        path = whole_path(connection, session_id, leaf_id)
    else:
        path, earlier_id = end_of_path(connection, session_id, leaf_id, count)
    return Session(header=header(connection, session_id), messages=path, earlier_id=earlier_id)


def first_prompt_title(connection: Connection, session_id: str) -> str:
    """Return "Untitled" without a visible prompt with words."""
    query = f"""select {TITLE_WORDS} as words from messages m
        where m.session_id = ? and m.role = 'user' and m.hidden_by is null and words <> ''
        order by m.number"""
    return title_from(first_text(connection, query, session_id))


def first_text(connection: Connection, query: str, session_id: str) -> str:
    """`query` has one question mark, for the id of the session."""
    record = connection.execute(query, (session_id,)).fetchone()
    return "" if record is None else text_from(record[0])


# Paths


def end_of_path(
    connection: Connection, session_id: str, leaf_id: str, count: int
) -> tuple[MessagePath, str | None]:
    """Return the last `count` messages of the path to a leaf, and the id of the one before.

    Hidden and damaged ones count, but are left out.
    """
    # one more, to know whether there is one before them
    values = {"session": session_id, "leaf": leaf_id, "count": count + 1}
    records_leaf_first = connection.execute(_READ_PATH, values).fetchall()
    earlier_id = None
    if len(records_leaf_first) > count:
        _number, earlier_id, *_ = records_leaf_first.pop()

    records = [record for record in reversed(records_leaf_first) if record[_HIDDEN_BY] is None]
    numbers = [number for number, *_ in records]
    placeholders = ", ".join("?" * len(numbers))
    parts = read_parts(connection, f"number in ({placeholders})", numbers)
    return MessagePath(_messages(connection, records, parts)), earlier_id


def whole_path(connection: Connection, session_id: str, leaf_id: str | None) -> MessagePath:
    """Read the path in batches, from its end."""
    path = MessagePath()
    last_id = leaf_id
    while last_id is not None:
        batch, last_id = end_of_path(connection, session_id, last_id, MESSAGES_PER_READ)
        path = path.after(batch)
    return path


def all_messages(connection: Connection, session_id: str) -> tuple[ChatMessage, ...]:
    """Visible ones, oldest first."""
    of_session = "number in (select number from messages where session_id = ?)"
    parts = read_parts(connection, of_session, (session_id,))
    records = connection.execute(_READ_TREE, (session_id,)).fetchall()
    return tuple(_messages(connection, records, parts))


def _messages(
    connection: Connection, records: Sequence[Sequence[Any]], parts: Mapping[int, list[Part]]
) -> Iterator[ChatMessage]:
    """`records` are those of `_READ_PATH` or `_READ_TREE`."""
    for record in records:
        number, message_id, *_other_columns, version, versions = record
        if record[_STATE] == AnswerState.STREAMING:
            message_parts = arrived_parts(connection, number, message_id)
        else:
            message_parts = parts.get(number, [])
        message = message_from(record, message_parts, version=version, versions=versions)
        if message is not None:
            yield message


def arrived_parts(connection: Connection, number: int, message_id: str) -> list[Part]:
    """Return the parts of a row in the state `streaming`."""
    with suppress(OSError):  # its file was removed at its end, or cannot be read now
        _, entries = read_answer(answer_path(connection.path, message_id))
        if parts := parts_of(entries):
            return list(parts)
    # Nothing has arrived, or the answer has ended since its row was read: its parts are in the
    # table. Those of a tool call are there from the beginning.
    return read_parts(connection, "number = ?", (number,)).get(number, [])


# Leaves


def newest_leaf(connection: Connection, session_id: str, message_id: str) -> str | None:
    """None if all are hidden.

    No visible message is below it, because children are newer than their parents.
    """
    query = f"{BELOW} select message_id from below where hidden_by is null order by number desc"
    return first_id(connection, query, {"session": session_id, "message": message_id})


def leaf_without(connection: Connection, session_id: str, message_id: str) -> str | None:
    """Return the newest visible message among the parent and all below it, or of the session."""
    # the parent may be lost
    query = """select p.message_id from messages m join messages p
        on p.message_id = m.parent_id and p.session_id = m.session_id where m.message_id = ?"""
    parent_id = first_id(connection, query, (message_id,))
    if parent_id is None:
        return _newest_visible_id(connection, session_id)
    return newest_leaf(connection, session_id, parent_id)


def first_id(
    connection: Connection, query: str, values: Sequence[object] | Mapping[str, object]
) -> str | None:
    record = connection.execute(query, values).fetchone()
    return None if record is None else str(record[0])


def _newest_visible_id(connection: Connection, session_id: str) -> str | None:
    query = """select message_id from messages
        where session_id = ? and hidden_by is null order by number desc"""
    return first_id(connection, query, (session_id,))
