"""Queries of sessions, their trees and what belongs to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from lmchat.domain.message import AnswerState, ChatMessage, Part, Role
from lmchat.domain.session import STRETCH, MessagePath, Session, SessionHeader, title_from
from lmchat.errors import SessionNotFound, SessionUnreadable
from lmchat.storage.database import Connection
from lmchat.storage.row_values import (
    HEADER_COLUMNS,
    MESSAGE_COLUMNS,
    header_from,
    loaded,
    message_from,
    read_parts,
    stored_time,
)
from lmchat.storage.running_answer import arrived_parts

# Numbers only fall on the way to the root: a circle, which only damage can make, ends where they would rise.
WALK = """with recursive path (number, message_id, parent_id) as (
    select number, message_id, parent_id from messages where message_id = :leaf and session_id = :session
    union all
    select m.number, m.message_id, m.parent_id from path p cross join messages m on m.message_id = p.parent_id
        where m.session_id = :session and m.number < p.number
    limit :count
)"""
_SIBLINGS = """select count(*) from messages s where s.parent_id is m.parent_id and s.role = m.role
    and s.session_id = m.session_id and s.hidden_by is null"""
_READ = f"""{WALK} select {", ".join("m." + name for name in MESSAGE_COLUMNS.split(", "))}, m.hidden_by,
    ({_SIBLINGS} and s.number <= m.number), ({_SIBLINGS})
    from path cross join messages m using (number) order by number desc"""
_STATE, _HIDDEN = MESSAGE_COLUMNS.split(", ").index("state"), -3
BELOW = """with recursive below (number, message_id, hidden_by) as (
    select number, message_id, hidden_by from messages where message_id = :message and session_id = :session
    union
    select m.number, m.message_id, m.hidden_by from below b
        cross join messages m on m.parent_id = b.message_id where m.session_id = :session
)"""
_WITH_VERSIONS = f"""select {", ".join("m." + name for name in MESSAGE_COLUMNS.split(", "))},
    row_number() over siblings, count(*) over siblings
    from messages m left join messages p on p.message_id = m.parent_id and p.session_id = m.session_id
    where m.session_id = ? and m.hidden_by is null
    window siblings as (partition by p.message_id, m.role order by m.number
        rows between unbounded preceding and unbounded following)
    order by m.number"""
_SHORTEST_PREFIX = 4
_READ_PER_PROMPT = 5  # prompts read for one that is returned: people repeat themselves


def leaf_of(connection: Connection, session_id: str) -> str | None:
    """Return the chosen leaf, or the newest message if that is hidden or lost."""
    query = """select m.message_id from sessions s join messages m
        on m.message_id = s.leaf_id and m.session_id = s.session_id
        where s.session_id = ? and m.hidden_by is null"""
    return _id(connection, query, (session_id,)) or _newest_of(connection, session_id)


def newest_leaf(connection: Connection, session_id: str, message_id: str) -> str | None:
    """Return the newest visible message at or below one: a leaf, as children come later."""
    query = f"{BELOW} select message_id from below where hidden_by is null order by number desc"
    return _id(connection, query, {"session": session_id, "message": message_id})


def leaf_without(connection: Connection, session_id: str, message_id: str) -> str | None:
    """Return the leaf to show once a message is hidden: below a sibling, else its parent."""
    query = """select p.message_id from messages m join messages p
        on p.message_id = m.parent_id and p.session_id = m.session_id where m.message_id = ?"""
    parent_id = _id(connection, query, (message_id,))
    return (
        newest_leaf(connection, session_id, parent_id)
        if parent_id
        else _newest_of(connection, session_id)
    )


def _newest_of(connection: Connection, session_id: str) -> str | None:
    query = "select message_id from messages where session_id = ? and hidden_by is null order by number desc"
    return _id(connection, query, (session_id,))


def _id(
    connection: Connection, query: str, values: Sequence[object] | dict[str, object]
) -> str | None:
    row = connection.execute(query, values).fetchone()
    return None if row is None else str(row[0])


def newest(
    connection: Connection, session_id: str, leaf_id: str, count: int
) -> tuple[MessagePath, str | None]:
    """Return the last messages of a path, root first, and the id of the one before them, if there is one."""
    rows = connection.execute(
        _READ, {"session": session_id, "leaf": leaf_id, "count": count + 1}
    ).fetchall()
    earlier = rows.pop()[1] if len(rows) > count else None
    numbers = [row[0] for row in rows]
    parts = read_parts(connection, f"number in ({', '.join('?' * len(rows))})", numbers)
    shown = [row for row in reversed(rows) if row[_HIDDEN] is None]
    return MessagePath(_messages(connection, shown, parts)), earlier


def whole(connection: Connection, session_id: str, leaf_id: str | None) -> MessagePath:
    """Return all of a path."""
    path = MessagePath()
    while leaf_id is not None:
        found, leaf_id = newest(connection, session_id, leaf_id, STRETCH)
        path = path.after(found)
    return path


def headers(connection: Connection, *, is_trash: bool) -> tuple[SessionHeader, ...]:
    """Return headers; the trash begins with what was deleted last."""
    where = (
        "is not null order by deleted_at"
        if is_trash
        else "is null order by is_pinned desc, updated_at"
    )
    query = f"select {HEADER_COLUMNS} from sessions where deleted_at {where} desc, rowid desc"
    return tuple(filter(None, map(header_from, connection.execute(query))))


def header(connection: Connection, session_id: str) -> SessionHeader:
    """Return one header."""
    query = f"select {HEADER_COLUMNS} from sessions where session_id = ?"
    row = connection.execute(query, (session_id,)).fetchone()
    if row is None:
        message = f"No session has the id {session_id}."
        raise SessionNotFound(message, hint="`lmchat sessions` lists them all.")
    found = header_from(row)
    if found is None:
        message = f"The session {session_id} is damaged and cannot be read."
        raise SessionUnreadable(
            message, hint="Open another session, or check the file with `lmchat doctor`."
        )
    return found


def full_id(connection: Connection, text: str) -> str:
    """Return the id that a prefix or `last` means."""
    newest_first = "order by updated_at desc, rowid desc limit 9"
    if text == "last":
        last = _id(
            connection,
            f"select session_id from sessions where deleted_at is null {newest_first}",
            (),
        )
        if last is None:
            hint = "Your first message starts one; `lmchat sessions --trash` lists deleted ones."
            raise SessionNotFound("There are no saved sessions.", hint=hint)
        return last
    if len(text) < _SHORTEST_PREFIX:
        raise SessionNotFound(
            f"“{text}” is too short for a session id.",
            hint="Type at least the first 4 characters.",
        )
    query = f"select session_id from sessions where substr(session_id, 1, ?) = ? {newest_first}"
    found = [str(row[0]) for row in connection.execute(query, (len(text), text.lower()))]
    if not found:
        raise SessionNotFound(
            f"No session id begins with {text}.", hint="`lmchat sessions` lists them all."
        )
    if len(found) > 1:
        message = f"More than one session id begins with {text}: {', '.join(found)}."
        raise SessionNotFound(message, hint="Type more characters of it.")
    return found[0]


def chosen_path(connection: Connection, session_id: str, count: int | None = None) -> Session:
    """Return a session with its chosen path, or with so many messages of its end."""
    leaf_id, earlier_id = leaf_of(connection, session_id), None
    if count is None or leaf_id is None:
        path = whole(connection, session_id, leaf_id)
    else:
        path, earlier_id = newest(connection, session_id, leaf_id, count)
    return Session(header=header(connection, session_id), messages=path, earlier_id=earlier_id)


def all_messages(connection: Connection, session_id: str) -> tuple[ChatMessage, ...]:
    """Return all visible messages of a session, oldest first; damaged ones are left out."""
    where = "number in (select number from messages where session_id = ?)"
    parts = read_parts(connection, where, (session_id,))
    rows = connection.execute(_WITH_VERSIONS, (session_id,)).fetchall()
    return tuple(_messages(connection, rows, parts))


def _messages(
    connection: Connection, rows: Sequence[Sequence[Any]], parts: Mapping[int, list[Part]]
) -> Iterator[ChatMessage]:
    for row in rows:
        *_, version, versions = row
        is_streaming = row[_STATE] == AnswerState.STREAMING
        said = arrived_parts(connection, *row[:2]) if is_streaming else parts.get(row[0], ())
        if message := message_from(row, said, version=version, versions=versions):
            yield message


def bookmark(connection: Connection, session_id: str) -> str:
    """Return the saved reading position, or nothing."""
    return _text(connection, "select place from sessions where session_id = ?", session_id)


def draft(connection: Connection, session_id: str) -> str:
    """Return a draft, or nothing."""
    return _text(connection, "select text from drafts where session_id = ?", session_id)


def _text(connection: Connection, query: str, session_id: str) -> str:
    row = connection.execute(query, (session_id,)).fetchone()
    return "" if row is None else loaded(row[0])


def first_prompt_title(connection: Connection, session_id: str) -> str:
    """Return the title that a session has from its first prompt, or nothing."""
    query = """select p.text from messages m cross join parts p on p.number = m.number and p.kind = 'text'
        where m.session_id = ? and m.role = 'user' and m.hidden_by is null order by m.number"""
    return title_from(_text(connection, query, session_id))


def prompts(connection: Connection, limit: int) -> tuple[str, ...]:
    """Return earlier prompts, newest first, each once; not those of deleted sessions."""
    rows = connection.execute(
        """select p.text from messages m
            cross join parts p on p.number = m.number and p.kind = 'text'
            cross join sessions s on s.session_id = m.session_id
            where m.role = ? and m.hidden_by is null and s.deleted_at is null
            order by m.number desc limit ?""",
        (Role.USER, limit * _READ_PER_PROMPT),
    )
    return tuple(dict.fromkeys(loaded(row[0]) for row in rows))[:limit]


def branch_names(connection: Connection, session_id: str) -> dict[str, str]:
    """Return the names of branches by the id of their first message."""
    rows = connection.execute(
        "select message_id, branch from messages where session_id = ? and branch <> ''",
        (session_id,),
    )
    return {str(message_id): loaded(name) for message_id, name in rows}


def last_hidden(connection: Connection, session_id: str, since: datetime | None) -> str | None:
    """Return the message that was deleted last, after a moment if one is given.

    It may be shown again, where another window has gone on below it; then it hides what is beside that.
    """
    query = """select root.message_id from messages root where root.session_id = ?
        and root.message_id in (select hidden_by from messages where session_id = root.session_id)
        and coalesce(root.hidden_at, '') >= ? order by root.hidden_at desc, root.number desc"""
    return _id(connection, query, (session_id, stored_time(since) if since else ""))
