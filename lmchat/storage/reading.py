"""Reading sessions; every function is a job for the connection."""

from __future__ import annotations

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import SessionNotFound, SessionUnreadable
from lmchat.storage.connection import Connection
from lmchat.storage.rows import HEADER_COLUMNS, MESSAGE_COLUMNS, header_from, loaded, message_from, read_parts
from lmchat.storage.tidying import end_orphans
from lmchat.storage.tree import Tree, read_tree

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
    """Return a session with its chosen path."""
    if not connection.is_read_only:
        end_orphans(connection, session_id)  # their process may have gone since the file was opened
    tree = read_tree(connection, session_id)
    return session_with(connection, session_id, tree)


def session_with(connection: Connection, session_id: str, tree: Tree) -> Session:
    """Return a session whose tree is known already."""
    chosen = connection.execute("select leaf_id from sessions where session_id = ?", (session_id,)).fetchone()
    path = [node.message_id for node in tree.path(tree.leaf(chosen[0] if chosen else None))]
    known = messages(connection, session_id, tree)
    return Session(
        header=header(connection, session_id),
        messages=tuple(known[message_id] for message_id in path if message_id in known),
    )


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
    )
    for row in rows:
        version, versions = places.get(row[1], (1, 1))
        message = message_from(row, parts.get(row[0], ()), version=version, versions=versions)
        if message is not None:
            found[message.message_id] = message
    return found


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
