"""Reading sessions, their trees and what belongs to them; every function is a job for the connection."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from msgspec import Struct

from lmchat.domain.message import AnswerState, ChatMessage, Part, Role
from lmchat.domain.path import STRETCH, MessagePath
from lmchat.domain.session import ListFilter, Session, SessionHeader, SessionsFound
from lmchat.errors import SessionNotFound, SessionUnreadable
from lmchat.storage.database import Connection
from lmchat.storage.rows import (
    HEADER_COLUMNS,
    MESSAGE_COLUMNS,
    header_from,
    loaded,
    message_from,
    parts_of,
    read_parts,
)
from lmchat.storage.running_answer import answer_path, read_answer

Siblings = tuple[str | None, str]
"""What siblings share: parent and role."""


class Node(Struct, frozen=True, kw_only=True):
    """A message without what it says."""

    message_id: str
    """Its id."""
    number: int
    """Its place in time."""
    parent_id: str | None
    """The message before it."""
    role: str
    """Who speaks."""
    hidden_by: str | None
    """The message whose deletion hid it."""


@dataclass(slots=True)
class Tree:
    """All messages of a session, oldest first."""

    nodes: dict[str, Node]
    """By id; hidden ones too."""
    children: dict[str | None, list[Node]] = field(init=False)
    """By the id of the parent; a node whose parent is missing hangs below None."""

    def __post_init__(self) -> None:
        self.children = {}
        for node in self.nodes.values():
            self.children.setdefault(self.parent_of(node), []).append(node)

    def parent_of(self, node: Node) -> str | None:
        """Return the parent's id, None for a root and where the parent is lost."""
        return node.parent_id if node.parent_id in self.nodes else None

    def path(self, leaf_id: str | None) -> list[Node]:
        """Return the path from the root to a node; a damaged circle ends where it closes."""
        path: dict[str, Node] = {}
        while leaf_id is not None and leaf_id in self.nodes and leaf_id not in path:
            path[leaf_id] = self.nodes[leaf_id]
            leaf_id = self.parent_of(self.nodes[leaf_id])
        return list(reversed(path.values()))

    def below(self, message_id: str) -> Iterator[Node]:
        """Yield a node and all that hang below it."""
        seen = {message_id}
        waiting = [self.nodes[message_id]]
        while waiting:
            node = waiting.pop()
            yield node
            fresh = [
                child for child in self.children.get(node.message_id, ()) if child.message_id not in seen
            ]
            seen.update(child.message_id for child in fresh)
            waiting += fresh

    def newest_leaf(self, below: str | None = None) -> str | None:
        """Return the newest visible node, of all or below one: always a leaf, as children come later."""
        nodes = self.nodes.values() if below is None else self.below(below)
        visible = [node for node in nodes if node.hidden_by is None]
        return max(visible, key=lambda node: node.number).message_id if visible else None

    def leaf_without(self, message_id: str) -> str | None:
        """Return the leaf to show once a message is hidden: of a sibling's path, else its parent."""
        parent_id = self.parent_of(self.nodes[message_id])
        return self.newest_leaf() if parent_id is None else self.newest_leaf(parent_id)

    def versions(self) -> dict[str, tuple[int, int]]:
        """Return place and number among the visible siblings, by id."""
        groups: dict[Siblings, list[str]] = {}
        for node in self.nodes.values():
            if node.hidden_by is None:
                groups.setdefault((self.parent_of(node), node.role), []).append(node.message_id)
        return {
            message_id: (place, len(group))
            for group in groups.values()
            for place, message_id in enumerate(group, 1)
        }


def read_tree(connection: sqlite3.Connection, session_id: str) -> Tree:
    """Read the tree of a session."""
    rows = connection.execute(
        "select message_id, number, parent_id, role, hidden_by from messages where session_id = ? "
        "order by number",
        (session_id,),
    )
    return Tree(
        nodes={
            row[0]: Node(message_id=row[0], number=row[1], parent_id=row[2], role=row[3], hidden_by=row[4])
            for row in rows
        }
    )


def arrived_parts(connection: Connection, number: int, message_id: str) -> list[Part]:
    """Return the parts of a running answer so far.

    The table `pieces` is of files that were written before each answer had a file of its own.
    """
    rows = connection.execute("select kind, text from pieces where number = ? order by piece_id", (number,))
    begun, pieces = read_answer(answer_path(connection.path, message_id))
    parts = parts_of([*rows, *pieces])
    if (
        begun is None and not parts and not _streams(connection, number)
    ):  # it has ended since it was looked up
        return read_parts(connection, "number = ?", (number,)).get(number, [])
    return parts


def _streams(connection: Connection, number: int) -> bool:
    row = connection.execute("select state from messages where number = ?", (number,)).fetchone()
    return row is not None and row[0] == AnswerState.STREAMING


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
        path = path.after(MessagePath(stretch))
    return path


def _stretches(connection: Connection, session_id: str, leaf_id: str | None) -> Iterator[list[ChatMessage]]:
    while leaf_id is not None:
        found, leaf_id = newest(connection, session_id, leaf_id, STRETCH)
        yield found


def _among_firsts(connection: Connection, session_id: str, row: tuple[object, ...]) -> tuple[int, int]:
    """Return place and number among the messages that begin a session: their parent is none, or lost."""
    numbers = [number for (number,) in connection.execute(_FIRSTS, (session_id, row[_ROLE]))]
    return (numbers.index(row[0]) + 1, len(numbers)) if row[0] in numbers else (1, 1)


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


def chosen_path(connection: Connection, session_id: str) -> Session:
    """Return a session with its chosen path, also in the middle of a change."""
    path = whole(connection, session_id, leaf_of(connection, session_id))
    return Session(header=header(connection, session_id), messages=path)


def end_of_session(connection: Connection, session_id: str, count: int) -> Session:
    """Return a session with the end of its chosen path."""
    leaf_id = leaf_of(connection, session_id)
    found, earlier_id = newest(connection, session_id, leaf_id, count) if leaf_id else ([], None)
    return Session(header=header(connection, session_id), messages=MessagePath(found), earlier_id=earlier_id)


def stretch(
    connection: Connection, session_id: str, leaf_id: str, count: int
) -> tuple[MessagePath, str | None]:
    """Return a message and those before it, packed, and the id of the one before them, if there is one."""
    found, earlier_id = newest(connection, session_id, leaf_id, count)
    return MessagePath(found), earlier_id


def answer_now(connection: Connection, session_id: str, message_id: str) -> ChatMessage | None:
    """Return one message as it is now; None where it is hidden, removed or damaged."""
    found, _ = newest(connection, session_id, message_id, 1)
    return found[0] if found else None


def all_messages(connection: Connection, session_id: str) -> tuple[ChatMessage, ...]:
    """Return all visible messages of a session, oldest first; damaged ones are left out."""
    parts = read_parts(
        connection, "number in (select number from messages where session_id = ?)", (session_id,)
    )
    places = read_tree(connection, session_id).versions()
    found: list[ChatMessage] = []
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
            found.append(message)
    return tuple(found)


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


def sessions_with(connection: Connection, wanted: ListFilter, limit: int) -> SessionsFound:
    """Return the first sessions of the list that fit, archived ones behind all others, and the number of all.

    A filter looks at every title, but not at what else belongs to a session.
    """
    where = "deleted_at is null"
    if wanted != ListFilter():
        connection.create_function("fits", 2, _on_stored(wanted), deterministic=True)
        where += " and fits(title, tags)"
    found: list[SessionHeader] = []
    for is_archived in (False, True):
        rows = connection.execute(
            f"select {HEADER_COLUMNS} from sessions where {where} and is_archived = ? "
            "order by is_pinned desc, updated_at desc, rowid desc limit ?",
            (is_archived, max(limit - len(found), 0)),
        )
        found += (header for header in map(header_from, rows) if header is not None)
    total = connection.execute(f"select count(*) from sessions where {where}").fetchone()[0]
    return SessionsFound(headers=tuple(found), total=total)


def _on_stored(wanted: ListFilter) -> Callable[[object, object], bool]:
    def fits(title: object, tags: object) -> bool:
        return wanted.fits(loaded(title), loaded(tags).split())

    return fits


def branch_names(connection: Connection, session_id: str) -> dict[str, str]:
    """Return the names of branches by the id of their first message."""
    rows = connection.execute(
        "select message_id, branch from messages where session_id = ? and branch <> ''", (session_id,)
    )
    return {str(message_id): loaded(name) for message_id, name in rows}


def last_hidden(connection: Connection, session_id: str) -> str | None:
    """Return the message that was deleted last."""
    row = connection.execute(
        """select message_id from messages where session_id = ? and hidden_by = message_id
            order by hidden_at desc, number desc""",
        (session_id,),
    ).fetchone()
    return None if row is None else str(row[0])


def draft(connection: Connection, session_id: str) -> str:
    """Return a draft, or nothing."""
    row = connection.execute("select text from drafts where session_id = ?", (session_id,)).fetchone()
    return "" if row is None else loaded(row[0])
