"""Changes of sessions and messages; each is a part of one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from msgspec.structs import asdict, replace

from lmchat.domain.message import AnswerState, ChatMessage, Role, interrupted, new_id
from lmchat.domain.session import Session, SessionHeader
from lmchat.errors import SessionNotFound, StoreUnavailable, WrongUse
from lmchat.storage import read
from lmchat.storage.database import Connection, LostRowError
from lmchat.storage.row_values import column, insert, stored, stored_time, write_parts
from lmchat.storage.search import index_message, unindex_message

_CLOCKS_DIFFER = timedelta(days=1)
"""A clock may be set back: by an hour in autumn, by more where two systems share a machine."""
_NOT_PUT = ("parts", "version", "versions", "message_count", "deleted_at")
_OF_ANSWERS = (
    "state",
    "model",
    "endpoint",
    "receipt",
    "failure",
)  # what the end of an answer changes
_CHANGEABLE = ("title", "is_pinned", "is_archived", "deleted_at", "tags")
_FORKED = "The session was forked"


def put_session(connection: Connection, header: SessionHeader) -> None:
    """Write a new session; an existing one keeps its values, and leaves the trash."""
    values = {name: column(value) for name, value in asdict(header).items() if name not in _NOT_PUT}
    insert(
        connection,
        "sessions",
        values,
        """on conflict (session_id) do update set deleted_at = null,
            title = case sessions.title when '' then excluded.title else sessions.title end""",
    )


def _ensure_session(connection: Connection, session_id: str, moment: datetime) -> None:
    """Make the row of a session that another process removed while this one used it."""
    time = stored_time(moment)
    row = {"session_id": session_id, "created_at": time, "updated_at": time}
    insert(connection, "sessions", row, "on conflict do nothing")


def _set(connection: Connection, session_id: str, **values: object) -> None:
    changes = ", ".join(f"{name} = ?" for name in values)
    connection.execute(
        f"update sessions set {changes} where session_id = ?", (*values.values(), session_id)
    )


def _put_message(connection: Connection, session_id: str, message: ChatMessage) -> int:
    """Write or update a message without its parts, and return its number."""
    values = {
        name: column(value) for name, value in asdict(message).items() if name not in _NOT_PUT
    }
    changes = ", ".join(f"{name} = excluded.{name}" for name in _OF_ANSWERS)
    values["session_id"] = session_id
    insert(connection, "messages", values, f"on conflict (message_id) do update set {changes}")
    number = number_of(connection, message.message_id)
    if number is None:
        raise LostRowError(message.message_id)
    return number


def put_whole(connection: Connection, session_id: str, message: ChatMessage) -> None:
    """Write a message with all its parts; earlier parts and pieces are replaced."""
    number = _put_message(connection, session_id, message)
    unindex_message(connection, number)
    connection.execute("delete from parts where number = ?", (number,))
    connection.execute("delete from pieces where number = ?", (number,))
    write_parts(connection, number, message.parts)
    index_message(connection, number)


def number_of(connection: Connection, message_id: str) -> int | None:
    """Return the number of a message, None where there is none."""
    row = connection.execute(
        "select number from messages where message_id = ?", (message_id,)
    ).fetchone()
    return None if row is None else int(row[0])


def make_leaf(
    connection: Connection, session_id: str, message: ChatMessage, moment: datetime
) -> None:
    """Make a message the leaf of its session; a parent that another window has hidden comes back."""
    _set(connection, session_id, leaf_id=message.message_id, deleted_at=None)
    _make_newest(connection, session_id, moment)
    query = "select 1 from messages where message_id = ? and hidden_by is not null"
    if connection.execute(query, (message.parent_id,)).fetchone() is not None:
        connection.execute(
            f"{read.WALK} update messages set hidden_by = null where number in (select number from path)",
            {"session": session_id, "leaf": message.message_id, "count": -1},
        )


def _make_newest(connection: Connection, session_id: str, moment: datetime) -> None:
    """Put a session first in the list, also where the clock was set back by up to a day."""
    latest = stored_time(moment + _CLOCKS_DIFFER)
    query = "select max(updated_at) from sessions where updated_at < ?"
    newest = connection.execute(query, (latest,)).fetchone()[0]
    connection.execute(
        "update sessions set updated_at = max(updated_at, ?) where session_id = ?",
        (_stored_after(moment, newest), session_id),
    )


def _stored_after(moment: datetime, last: str | None) -> str:
    """Return a moment as it is stored; just after the last one if the clock was set back."""
    with suppress(ValueError, TypeError, OverflowError):  # there is none, or it is damaged
        moment = max(moment, datetime.fromisoformat(last or "") + timedelta(microseconds=1))
    return stored_time(moment)


def append(
    connection: Connection, session: SessionHeader, message: ChatMessage, moment: datetime
) -> None:
    """Write a message as the leaf of its session, which is created where it is missing."""
    put_session(connection, session)
    put_whole(connection, session.session_id, message)
    make_leaf(connection, session.session_id, message, moment)


def append_branch(
    connection: Connection,
    session: SessionHeader,
    messages: Sequence[ChatMessage],
    moment: datetime,
) -> Session:
    """Write messages that follow each other, the last one as the leaf, and return the path."""
    put_session(connection, session)
    for message in messages:
        put_whole(connection, session.session_id, message)
    make_leaf(connection, session.session_id, messages[-1], moment)
    return read.chosen_path(connection, session.session_id)


def begin(connection: Connection, session_id: str, message: ChatMessage, moment: datetime) -> None:
    """Write the row of an answer that is about to stream, or of a tool call that is about to run."""
    _ensure_session(connection, session_id, moment)
    (put_whole if message.role is Role.TOOL else _put_message)(connection, session_id, message)
    make_leaf(connection, session_id, message, moment)


def finish(connection: Connection, session_id: str, message: ChatMessage, moment: datetime) -> None:
    """Write the end of an answer or a tool call, also if its beginning, or prompt, could not be written."""
    is_new = number_of(connection, message.message_id) is None
    has_prompt = message.parent_id is None or number_of(connection, message.parent_id) is not None
    _ensure_session(connection, session_id, moment)
    put_whole(connection, session_id, message)
    if is_new and has_prompt:  # else the path would be this answer alone
        make_leaf(connection, session_id, message, moment)
    if message.role is Role.ASSISTANT:
        _set(connection, session_id, model=stored(message.model), endpoint=stored(message.endpoint))
    _make_newest(connection, session_id, moment)


def set_leaf(connection: Connection, session_id: str, message_id: str) -> Session:
    """Choose the path through a message."""
    _ensure_there(connection, session_id, message_id)
    return _show(connection, session_id, read.newest_leaf(connection, session_id, message_id))


def hide(connection: Connection, session_id: str, message_id: str, moment: datetime) -> Session:
    """Hide a message and all below it, and show the nearest path."""
    _ensure_there(connection, session_id, message_id)
    shown = read.chosen_path(connection, session_id).messages
    connection.execute(
        f"""{read.BELOW} update messages set hidden_by = :message
            where number in (select number from below where hidden_by is null)""",
        {"session": session_id, "message": message_id},
    )
    query = "select max(hidden_at) from messages where session_id = ?"
    last = connection.execute(query, (session_id,)).fetchone()[0]
    connection.execute(
        "update messages set hidden_at = ? where message_id = ?",
        (_stored_after(moment, last), message_id),
    )
    if shown.index_of(message_id) is None:
        return read.chosen_path(connection, session_id)
    return _show(connection, session_id, read.leaf_without(connection, session_id, message_id))


def unhide(connection: Connection, session_id: str, message_id: str) -> Session:
    """Undo the deletion of a message, and show it."""
    _ensure_there(connection, session_id, message_id)
    connection.execute(
        "update messages set hidden_by = null where session_id = ? and hidden_by = ?",
        (session_id, message_id),
    )
    connection.execute("update messages set hidden_at = null where message_id = ?", (message_id,))
    return _show(connection, session_id, read.newest_leaf(connection, session_id, message_id))


def update_session(
    connection: Connection, session_id: str, changes: Mapping[str, object]
) -> SessionHeader:
    """Change what the list shows of a session; an empty title becomes that of the first prompt."""
    read.header(connection, session_id)
    for name, value in changes.items():
        if name not in _CHANGEABLE:
            raise WrongUse(f"“{name}” of a session cannot be changed.")
        new = read.first_prompt_title(connection, session_id) if value == "" else value
        _set(connection, session_id, **{name: column(new)})
    return read.header(connection, session_id)


def fork(connection: Connection, session_id: str, message_id: str, moment: datetime) -> Session:
    """Copy the path up to a message into a new session."""
    _ensure_there(connection, session_id, message_id)
    path = read.whole(connection, session_id, message_id)
    fresh = replace(
        read.header(connection, session_id),
        session_id=new_id(),
        created_at=moment,
        updated_at=moment,
        is_pinned=False,
        is_archived=False,
        deleted_at=None,
        parent_id=session_id,
    )
    put_session(connection, fresh)
    parent_id: str | None = None
    for message in path:
        copy = interrupted(message, _FORKED) if message.state is AnswerState.STREAMING else message
        copy = replace(copy, message_id=new_id(), parent_id=parent_id)
        put_whole(connection, fresh.session_id, copy)
        parent_id = copy.message_id
    _set(connection, fresh.session_id, leaf_id=parent_id)
    return read.chosen_path(connection, fresh.session_id)


def save_draft(connection: Connection, session_id: str, text: str) -> None:
    """Save a draft; an empty one is removed."""
    connection.execute("delete from drafts where session_id = ?", (session_id,))
    if text:
        insert(connection, "drafts", {"session_id": session_id, "text": stored(text)})


def save_bookmark(connection: Connection, session_id: str, bookmark: str) -> None:
    """Save a reading position; the session becomes no newer."""
    _set(connection, session_id, place=bookmark)


def _show(connection: Connection, session_id: str, leaf_id: str | None) -> Session:
    _set(connection, session_id, leaf_id=leaf_id)
    return read.chosen_path(connection, session_id)


def _ensure_there(connection: Connection, session_id: str, message_id: str) -> None:
    query = "select 1 from messages where message_id = ? and session_id = ?"
    if connection.execute(query, (message_id, session_id)).fetchone() is None:
        message = "This message is no longer in its session."
        raise SessionNotFound(message, hint="Open the session again.")


def name_branch(connection: Connection, session_id: str, message_id: str, name: str) -> None:
    """Name the branch that begins with a message; an empty name removes it."""
    connection.execute(
        "update messages set branch = ? where session_id = ? and message_id = ?",
        (stored(name), session_id, message_id),
    )


def bring_in(
    connection: Connection, session: Session, is_unwanted: Callable[[], bool]
) -> SessionHeader | None:
    """Write a session with all branches; return the header of an existing one with its id instead.

    Raises `StoreUnavailable`, which undoes it all, once it is unwanted.
    """
    session_id = session.header.session_id
    if connection.execute("select 1 from sessions where session_id = ?", (session_id,)).fetchone():
        return read.header(connection, session_id)
    put_session(connection, session.header)
    messages = session.tree or session.messages
    ids: dict[str | None, str] = {}
    for message in messages:  # an id that another session has is replaced
        is_taken = number_of(connection, message.message_id) is not None
        ids[message.message_id] = new_id() if is_taken else message.message_id
    for message in messages:
        if is_unwanted():
            raise StoreUnavailable("The import was stopped.", hint="Start it again.")
        fresh = replace(
            message, message_id=ids[message.message_id], parent_id=ids.get(message.parent_id)
        )
        put_whole(connection, session_id, fresh)
    for message_id, name in session.branch_names.items():
        name_branch(connection, session_id, ids[message_id], name)
    leaf_id = ids[session.messages[-1].message_id] if session.messages else None
    _set(connection, session_id, leaf_id=leaf_id)
    return None
