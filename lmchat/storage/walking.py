"""Walking from a leaf towards the root, as far as asked; every function is a job for the connection."""

from __future__ import annotations

from collections.abc import Iterator

from lmchat.domain.message import ChatMessage
from lmchat.domain.path import STRETCH, MessagePath
from lmchat.storage.arrived import arrived_parts
from lmchat.storage.connection import Connection
from lmchat.storage.rows import MESSAGE_COLUMNS, message_from, read_parts

# Numbers only fall on the way to the root: a circle, which only damage can make, ends where they would rise.
_WALK = """with recursive path (number, message_id, parent_id) as (
    select number, message_id, parent_id from messages where message_id = :leaf and session_id = :session
    union all
    select m.number, m.message_id, m.parent_id from path p cross join messages m on m.message_id = p.parent_id
        where m.session_id = :session and m.number < p.number
    limit :count
)"""
_SIBLINGS = """select count(*) from messages s where s.parent_id = m.parent_id and s.role = m.role
    and s.session_id = m.session_id and s.hidden_by is null"""
_FIRSTS = """select s.number from messages s where s.session_id = ? and s.role = ? and s.hidden_by is null
    and not exists (select 1 from messages p where p.message_id = s.parent_id and p.session_id = s.session_id)
    order by s.number"""
_READ = f"""{_WALK} select {", ".join("m." + name for name in MESSAGE_COLUMNS.split(", "))}, m.hidden_by,
    ({_SIBLINGS} and s.number <= m.number), ({_SIBLINGS})
    from path cross join messages m using (number) order by number desc"""
_ROLE, _STATE, _HIDDEN, _PLACE = 2, 3, -3, -2


def leaf_of(connection: Connection, session_id: str) -> str | None:
    """Return the leaf that was chosen, or the newest message where that is hidden or lost."""
    row = connection.execute(
        """select m.message_id from sessions s join messages m
            on m.message_id = s.leaf_id and m.session_id = s.session_id
            where s.session_id = ? and m.hidden_by is null""",
        (session_id,),
    ).fetchone()
    row = (
        row
        or connection.execute(
            "select message_id from messages where session_id = ? and hidden_by is null order by number desc",
            (session_id,),
        ).fetchone()
    )
    return None if row is None else str(row[0])


def newest(
    connection: Connection, session_id: str, leaf_id: str, count: int
) -> tuple[list[ChatMessage], str | None]:
    """Return the last messages of a path, root first, and the id of the one before them, if there is one."""
    rows = connection.execute(_READ, {"session": session_id, "leaf": leaf_id, "count": count + 1}).fetchall()
    earlier = rows.pop()[1] if len(rows) > count else None
    numbers = [row[0] for row in rows]
    parts = read_parts(connection, f"number in ({', '.join('?' * len(rows))})", numbers)
    parts |= {row[0]: arrived_parts(connection, *row[:2]) for row in rows if row[_STATE] == "streaming"}
    found: list[ChatMessage] = []
    for row in reversed(rows):
        is_first = row is rows[-1] and earlier is None
        version, versions = _among_firsts(connection, session_id, row) if is_first else row[_PLACE:]
        if row[_HIDDEN] is None:
            message = message_from(row, parts.get(row[0], ()), version=version, versions=versions)
            found += [] if message is None else [message]
    return found, earlier


def whole(connection: Connection, session_id: str, leaf_id: str | None) -> MessagePath:
    """Return all of a path."""
    path = MessagePath()
    for stretch in _stretches(connection, session_id, leaf_id):
        path = path.after(MessagePath.packed(stretch)) if path else MessagePath(stretch)
    return path


def _stretches(connection: Connection, session_id: str, leaf_id: str | None) -> Iterator[list[ChatMessage]]:
    while leaf_id is not None:
        found, leaf_id = newest(connection, session_id, leaf_id, STRETCH)
        yield found


def _among_firsts(connection: Connection, session_id: str, row: tuple[object, ...]) -> tuple[int, int]:
    """Return place and number among the messages that begin a session: their parent is none, or lost."""
    numbers = [number for (number,) in connection.execute(_FIRSTS, (session_id, row[_ROLE]))]
    return (numbers.index(row[0]) + 1, len(numbers)) if row[0] in numbers else (1, 1)
