"""Reading sessions; every function is a job for the connection."""

from __future__ import annotations

from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.domain.path import MessagePath
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import SessionNotFound, SessionUnreadable
from lmchat.storage import walking
from lmchat.storage.arrived import arrived_parts
from lmchat.storage.connection import Connection
from lmchat.storage.rows import HEADER_COLUMNS, MESSAGE_COLUMNS, header_from, loaded, message_from, read_parts
from lmchat.storage.tidying import end_orphans
from lmchat.storage.tree import Tree

_SHORTEST_PREFIX = 4
_READ_PER_PROMPT = 5
"""Prompts read for one kept: people repeat themselves."""


def headers(connection: Connection, *, is_trash: bool, limit: int) -> tuple[SessionHeader, ...]:
    """Return headers; the trash begins with what was deleted last."""
    order = "deleted_at desc" if is_trash else "is_pinned desc, updated_at desc"
    rows = connection.execute(
        f"select {HEADER_COLUMNS} from sessions where deleted_at is {'not null' if is_trash else 'null'} "
        f"order by {order}, rowid desc limit ?",
        (limit,),
    )
    found = (header_from(row) for row in rows)
    return tuple(header for header in found if header is not None)


def header(connection: Connection, session_id: str) -> SessionHeader:
    """Return one header."""
    row = connection.execute(
        f"select {HEADER_COLUMNS} from sessions where session_id = ?", (session_id,)
    ).fetchone()
    if row is None:
        raise SessionNotFound(
            f"No session has the id {session_id}.", hint="`lmchat sessions` lists them all."
        )
    found = header_from(row)
    if found is None:
        raise SessionUnreadable(
            f"The session {session_id} is damaged and cannot be read.", hint="The other sessions can."
        )
    return found


def full_id(connection: Connection, text: str) -> str:
    """Return the id that a prefix or `last` stands for."""
    if text == "last":
        row = connection.execute(
            "select session_id from sessions where deleted_at is null order by updated_at desc, rowid desc"
        ).fetchone()
        if row is None:
            raise SessionNotFound("There is no session yet.", hint="Your first message begins one.")
        return str(row[0])
    if len(text) < _SHORTEST_PREFIX:
        raise SessionNotFound(
            f"“{text}” is too short for a session.", hint="Give 4 or more characters of its id, or `last`."
        )
    found = connection.execute(
        "select session_id from sessions where substr(session_id, 1, ?) = ? order by updated_at desc limit 9",
        (len(text), text.lower()),
    ).fetchall()
    if not found:
        raise SessionNotFound(f"No session begins with {text}.", hint="`lmchat sessions` lists them all.")
    if len(found) > 1:
        ids = ", ".join(row[0] for row in found)
        raise SessionNotFound(
            f"More than one session begins with {text}: {ids}.", hint="Give more of its id."
        )
    return str(found[0][0])


def session(connection: Connection, session_id: str) -> Session:
    """Return a session with its chosen path, in order."""
    _settle(connection, session_id)
    return chosen_path(connection, session_id)


def chosen_path(connection: Connection, session_id: str) -> Session:
    """Return a session with its chosen path, also in the middle of a change."""
    path = walking.whole(connection, session_id, walking.leaf_of(connection, session_id))
    return Session(header=header(connection, session_id), messages=path)


def end_of_session(connection: Connection, session_id: str, count: int) -> Session:
    """Return a session with the end of its chosen path."""
    _settle(connection, session_id)
    leaf_id = walking.leaf_of(connection, session_id)
    found, earlier_id = walking.newest(connection, session_id, leaf_id, count) if leaf_id else ([], None)
    return Session(header=header(connection, session_id), messages=MessagePath(found), earlier_id=earlier_id)


def stretch(
    connection: Connection, session_id: str, leaf_id: str, count: int
) -> tuple[MessagePath, str | None]:
    """Return a message and those before it, packed, and the id of the one before them, if there is one."""
    found, earlier_id = walking.newest(connection, session_id, leaf_id, count)
    return MessagePath.packed(found), earlier_id


def answer_now(connection: Connection, session_id: str, message_id: str) -> ChatMessage | None:
    """Return one message as it is now; None where it is hidden, removed or damaged."""
    _settle(connection, session_id)
    found, _ = walking.newest(connection, session_id, message_id, 1)
    return found[0] if found else None


def _settle(connection: Connection, session_id: str) -> None:
    if not connection.is_read_only:
        end_orphans(connection, session_id)  # their process may have gone since the file was opened


def messages(connection: Connection, session_id: str, tree: Tree) -> dict[str, ChatMessage]:
    """Return all visible messages of a session by id, oldest first; damaged ones are left out."""
    parts = read_parts(
        connection, "number in (select number from messages where session_id = ?)", (session_id,)
    )
    places = tree.versions()
    found: dict[str, ChatMessage] = {}
    rows = connection.execute(
        f"select {MESSAGE_COLUMNS} from messages where session_id = ? and hidden_by is null order by number",
        (session_id,),
    ).fetchall()
    for row in rows:
        version, versions = places.get(row[1], (1, 1))
        if row[3] == AnswerState.STREAMING:
            parts[row[0]] = arrived_parts(connection, *row[:2])
        message = message_from(row, parts.get(row[0], ()), version=version, versions=versions)
        if message is not None:
            found[message.message_id] = message
    return found


def place(connection: Connection, session_id: str) -> str:
    """Return where one was reading, or nothing."""
    row = connection.execute("select place from sessions where session_id = ?", (session_id,)).fetchone()
    return "" if row is None else loaded(row[0])


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
