"""Changing sessions and their trees; every function is a job inside one transaction."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage, Failure, new_id
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import SessionNotFound, WrongUse
from lmchat.storage import messages, reading, walking
from lmchat.storage.connection import Connection
from lmchat.storage.rows import loaded, stored, stored_time
from lmchat.storage.tree import Tree, read_tree

_CHANGEABLE = ("title", "is_pinned", "is_archived", "deleted_at", "tags")
_FORKED = Failure(kind="interrupted", message="The session was forked while this answer was arriving.")


def finish(connection: Connection, session_id: str, message: ChatMessage, moment: datetime) -> None:
    """Write the end of an answer; also of one whose beginning could not be written."""
    is_new = messages.number_of(connection, message.message_id) is None
    messages.ensure_session(connection, session_id, moment)
    messages.put_whole(connection, session_id, message)
    if is_new:
        messages.make_leaf(connection, session_id, message, moment)
    connection.execute(
        "update sessions set model = ?, endpoint = ? where session_id = ?",
        (stored(message.model), stored(message.endpoint), session_id),
    )
    messages.make_newest(connection, session_id, moment)


def set_leaf(connection: Connection, session_id: str, message_id: str) -> Session:
    """Choose the path through a message."""
    tree = _tree_with(connection, session_id, message_id)
    return _show(connection, session_id, tree.newest_leaf(message_id))


def hide(connection: Connection, session_id: str, message_id: str, moment: datetime) -> Session:
    """Hide a message and what hangs below it, and show the nearest path that is left."""
    tree = _tree_with(connection, session_id, message_id)
    shown = reading.chosen_path(connection, session_id).messages
    numbers = [(message_id, node.number) for node in tree.below(message_id) if node.hidden_by is None]
    connection.executemany("update messages set hidden_by = ? where number = ?", numbers)
    last = connection.execute(
        "select max(hidden_at) from messages where session_id = ?", (session_id,)
    ).fetchone()[0]
    connection.execute(
        "update messages set hidden_at = ? where message_id = ?",
        (messages.stored_after(moment, last), message_id),
    )
    tree = read_tree(connection, session_id)
    if shown.place(message_id) is not None:
        return _show(connection, session_id, tree.leaf_without(message_id))
    return reading.chosen_path(connection, session_id)


def unhide(connection: Connection, session_id: str, message_id: str) -> Session:
    """Bring back what the deletion of a message hid, and show it."""
    _tree_with(connection, session_id, message_id)
    connection.execute(
        "update messages set hidden_by = null where session_id = ? and hidden_by = ?",
        (session_id, message_id),
    )
    connection.execute("update messages set hidden_at = null where message_id = ?", (message_id,))
    tree = read_tree(connection, session_id)
    return _show(connection, session_id, tree.newest_leaf(message_id))


def last_hidden(connection: Connection, session_id: str) -> str | None:
    """Return the message that was deleted last."""
    row = connection.execute(
        """select message_id from messages where session_id = ? and hidden_by = message_id
            order by hidden_at desc, number desc""",
        (session_id,),
    ).fetchone()
    return None if row is None else str(row[0])


def update_session(connection: Connection, session_id: str, changes: Mapping[str, object]) -> SessionHeader:
    """Change what the list shows of a session; an empty title becomes the one it has by itself."""
    reading.header(connection, session_id)
    for name, value in changes.items():
        if name not in _CHANGEABLE:
            raise WrongUse(f"“{name}” of a session cannot be changed.")
        connection.execute(
            f"update sessions set {name} = ? where session_id = ?",
            (_column(connection, session_id, value), session_id),
        )
    return reading.header(connection, session_id)


def fork(connection: Connection, session_id: str, message_id: str, moment: datetime) -> Session:
    """Copy the path up to a message into a new session."""
    _tree_with(connection, session_id, message_id)
    path = walking.whole(connection, session_id, message_id)
    old = reading.header(connection, session_id)
    fresh = replace(
        old,
        session_id=new_id(),
        created_at=moment,
        updated_at=moment,
        is_pinned=False,
        is_archived=False,
        deleted_at=None,
        parent_id=session_id,
    )
    messages.put_session(connection, fresh)
    parent_id: str | None = None
    for message in path:
        copy = replace(_settled(message), message_id=new_id(), parent_id=parent_id)
        messages.put_whole(connection, fresh.session_id, copy)
        parent_id = copy.message_id
    connection.execute("update sessions set leaf_id = ? where session_id = ?", (parent_id, fresh.session_id))
    return reading.chosen_path(connection, fresh.session_id)


def save_draft(connection: Connection, session_id: str, text: str) -> None:
    """Keep a draft; an empty one is removed."""
    if text:
        connection.execute(
            "insert or replace into drafts (session_id, text) values (?, ?)", (session_id, stored(text))
        )
    else:
        connection.execute("delete from drafts where session_id = ?", (session_id,))


def draft(connection: Connection, session_id: str) -> str:
    """Return a draft, or nothing."""
    row = connection.execute("select text from drafts where session_id = ?", (session_id,)).fetchone()
    return "" if row is None else loaded(row[0])


def save_place(connection: Connection, session_id: str, place: str) -> None:
    """Keep where one is reading; a session is no newer for having been read."""
    connection.execute("update sessions set place = ? where session_id = ?", (place, session_id))


def _show(connection: Connection, session_id: str, leaf_id: str | None) -> Session:
    connection.execute("update sessions set leaf_id = ? where session_id = ?", (leaf_id, session_id))
    return reading.chosen_path(connection, session_id)


def _tree_with(connection: Connection, session_id: str, message_id: str) -> Tree:
    tree = read_tree(connection, session_id)
    if message_id not in tree.nodes:
        raise SessionNotFound(
            "This message is no longer in its session.", hint="Open the session again to see what is."
        )
    return tree


def _column(connection: Connection, session_id: str, value: object) -> object:
    match value:
        case "":
            return stored(messages.first_prompt_title(connection, session_id))
        case str():
            return stored(value)
        case datetime():
            return stored_time(value)
        case tuple():
            return stored(" ".join(value))
        case _:
            return value


def _settled(message: ChatMessage) -> ChatMessage:
    """Return a message that nobody streams: a copy has no owner."""
    if message.state is not AnswerState.STREAMING:
        return message
    state = AnswerState.INTERRUPTED if message.text or message.reasoning else AnswerState.FAILED
    return replace(message, state=state, failure=_FORKED)
