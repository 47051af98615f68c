"""Writing sessions and messages: every function is a part of one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage, Failure, Role, new_id
from lmchat.domain.session import Session, SessionHeader, title_from
from lmchat.errors import SessionNotFound, WrongUse
from lmchat.storage import read
from lmchat.storage.database import Connection, LostRowError
from lmchat.storage.rows import json_of, loaded, stored, stored_time, write_parts
from lmchat.storage.search import index_message, unindex_message

_CLOCKS_DIFFER = timedelta(days=1)
"""By how much a clock is set back now and then: an hour in autumn, more where two systems share a machine."""
_CHANGEABLE = ("title", "is_pinned", "is_archived", "deleted_at", "tags")
_FORKED = Failure(kind="interrupted", message="The session was forked while this answer was arriving.")


def put_session(connection: Connection, header: SessionHeader) -> None:
    """Write a session that is not there yet; one that is keeps what it has, and leaves the trash."""
    connection.execute(
        """insert into sessions
            (session_id, title, created_at, updated_at, model, endpoint, is_pinned, is_archived, parent_id,
            tags)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            on conflict (session_id) do update set deleted_at = null,
            title = case sessions.title when '' then excluded.title else sessions.title end""",
        (
            header.session_id,
            stored(header.title),
            stored_time(header.created_at),
            stored_time(header.updated_at),
            stored(header.model),
            stored(header.endpoint),
            header.is_pinned,
            header.is_archived,
            header.parent_id,
            stored(" ".join(header.tags)),
        ),
    )


def ensure_session(connection: Connection, session_id: str, moment: datetime) -> None:
    """Make the row of a session that another process removed while this one went on with it."""
    time = stored_time(moment)
    connection.execute(
        "insert or ignore into sessions (session_id, created_at, updated_at) values (?, ?, ?)",
        (session_id, time, time),
    )


def _put_message(
    connection: Connection, session_id: str, message: ChatMessage, *, owner: str | None = None
) -> int:
    """Write a message without its parts, anew or once more, and return its number."""
    connection.execute(
        """insert into messages (message_id, session_id, parent_id, role, state, created_at, model,
            endpoint, receipt, failure, owner)
            values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
            on conflict (message_id) do update set state = excluded.state, model = excluded.model,
            endpoint = excluded.endpoint, receipt = excluded.receipt, failure = excluded.failure,
            owner = excluded.owner""",
        (
            message.message_id,
            session_id,
            message.parent_id,
            message.role,
            message.state,
            stored_time(message.created_at),
            stored(message.model),
            stored(message.endpoint),
            json_of(message.receipt),
            json_of(message.failure),
            owner,
        ),
    )
    number = number_of(connection, message.message_id)
    if number is None:
        raise LostRowError(message.message_id)
    return number


def put_whole(connection: Connection, session_id: str, message: ChatMessage) -> None:
    """Write a message with all its parts; what was there of them, also pieces, is replaced."""
    number = _put_message(connection, session_id, message)
    unindex_message(connection, number)
    connection.execute("delete from parts where number = ?", (number,))
    connection.execute("delete from pieces where number = ?", (number,))
    write_parts(connection, number, message.parts)
    index_message(connection, number)


def number_of(connection: Connection, message_id: str) -> int | None:
    """Return the number of a message, None where there is none."""
    row = connection.execute("select number from messages where message_id = ?", (message_id,)).fetchone()
    return None if row is None else int(row[0])


def make_leaf(connection: Connection, session_id: str, message: ChatMessage, moment: datetime) -> None:
    """Let a session end in a message; a parent that another window has hidden comes back."""
    connection.execute(
        "update sessions set leaf_id = ?, deleted_at = null where session_id = ?",
        (message.message_id, session_id),
    )
    make_newest(connection, session_id, moment)
    parent = connection.execute(
        "select hidden_by from messages where message_id = ?", (message.parent_id,)
    ).fetchone()
    if parent is not None and parent[0] is not None:
        connection.execute(
            f"{read.WALK} update messages set hidden_by = null where number in (select number from path)",
            {"session": session_id, "leaf": message.message_id, "count": -1},
        )


def make_newest(connection: Connection, session_id: str, moment: datetime) -> None:
    """Put a session first in the list, also where the clock was set back by up to a day."""
    newest = connection.execute(
        "select max(updated_at) from sessions where updated_at < ?", (stored_time(moment + _CLOCKS_DIFFER),)
    ).fetchone()[0]
    connection.execute(
        "update sessions set updated_at = max(updated_at, ?) where session_id = ?",
        (stored_after(moment, newest), session_id),
    )


def stored_after(moment: datetime, last: str | None) -> str:
    """Return a moment as it is stored; just after the last one of its kind, where the clock was set back."""
    with suppress(ValueError, TypeError, OverflowError):  # there is none, or it is damaged
        moment = max(moment, datetime.fromisoformat(last or "") + timedelta(microseconds=1))
    return stored_time(moment)


def first_prompt_title(connection: Connection, session_id: str) -> str:
    """Return the title that a session has by itself."""
    row = connection.execute(
        """select p.text from messages m join parts p using (number)
            where m.session_id = ? and m.role = ? and p.kind = 'text' order by p.part_id limit 1""",
        (session_id, Role.USER),
    ).fetchone()
    return title_from("" if row is None else loaded(row[0]))


def append(connection: Connection, session: SessionHeader, message: ChatMessage, moment: datetime) -> None:
    """Write a message at the end of its session, which is made and named with its first prompt."""
    put_session(connection, session)
    put_whole(connection, session.session_id, message)
    make_leaf(connection, session.session_id, message, moment)
    if message.role is Role.USER:
        connection.execute(
            "update sessions set title = ? where session_id = ? and title = ''",
            (stored(title_from(message.text)), session.session_id),
        )


def begin(
    connection: Connection, session_id: str, message: ChatMessage, owner: str, moment: datetime
) -> None:
    """Write the row of an answer that is about to stream."""
    ensure_session(connection, session_id, moment)
    _put_message(connection, session_id, message, owner=owner)
    make_leaf(connection, session_id, message, moment)


def finish(connection: Connection, session_id: str, message: ChatMessage, moment: datetime) -> None:
    """Write the end of an answer; also of one whose beginning could not be written."""
    is_new = number_of(connection, message.message_id) is None
    ensure_session(connection, session_id, moment)
    put_whole(connection, session_id, message)
    if is_new:
        make_leaf(connection, session_id, message, moment)
    connection.execute(
        "update sessions set model = ?, endpoint = ? where session_id = ?",
        (stored(message.model), stored(message.endpoint), session_id),
    )
    make_newest(connection, session_id, moment)


def set_leaf(connection: Connection, session_id: str, message_id: str) -> Session:
    """Choose the path through a message."""
    _ensure_there(connection, session_id, message_id)
    return _show(connection, session_id, read.newest_leaf(connection, session_id, message_id))


def hide(connection: Connection, session_id: str, message_id: str, moment: datetime) -> Session:
    """Hide a message and what hangs below it, and show the nearest path that is left."""
    _ensure_there(connection, session_id, message_id)
    shown = read.chosen_path(connection, session_id).messages
    connection.execute(
        f"""{read.BELOW} update messages set hidden_by = :message
            where number in (select number from below where hidden_by is null)""",
        {"session": session_id, "message": message_id},
    )
    last = connection.execute(
        "select max(hidden_at) from messages where session_id = ?", (session_id,)
    ).fetchone()[0]
    connection.execute(
        "update messages set hidden_at = ? where message_id = ?",
        (stored_after(moment, last), message_id),
    )
    if shown.place(message_id) is not None:
        return _show(connection, session_id, read.leaf_without(connection, session_id, message_id))
    return read.chosen_path(connection, session_id)


def unhide(connection: Connection, session_id: str, message_id: str) -> Session:
    """Bring back what the deletion of a message hid, and show it."""
    _ensure_there(connection, session_id, message_id)
    connection.execute(
        "update messages set hidden_by = null where session_id = ? and hidden_by = ?",
        (session_id, message_id),
    )
    connection.execute("update messages set hidden_at = null where message_id = ?", (message_id,))
    return _show(connection, session_id, read.newest_leaf(connection, session_id, message_id))


def update_session(connection: Connection, session_id: str, changes: Mapping[str, object]) -> SessionHeader:
    """Change what the list shows of a session; an empty title becomes the one it has by itself."""
    read.header(connection, session_id)
    for name, value in changes.items():
        if name not in _CHANGEABLE:
            raise WrongUse(f"“{name}” of a session cannot be changed.")
        connection.execute(
            f"update sessions set {name} = ? where session_id = ?",
            (_column(connection, session_id, value), session_id),
        )
    return read.header(connection, session_id)


def fork(connection: Connection, session_id: str, message_id: str, moment: datetime) -> Session:
    """Copy the path up to a message into a new session."""
    _ensure_there(connection, session_id, message_id)
    path = read.whole(connection, session_id, message_id)
    old = read.header(connection, session_id)
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
    put_session(connection, fresh)
    parent_id: str | None = None
    for message in path:
        copy = replace(_settled(message), message_id=new_id(), parent_id=parent_id)
        put_whole(connection, fresh.session_id, copy)
        parent_id = copy.message_id
    connection.execute("update sessions set leaf_id = ? where session_id = ?", (parent_id, fresh.session_id))
    return read.chosen_path(connection, fresh.session_id)


def save_draft(connection: Connection, session_id: str, text: str) -> None:
    """Keep a draft; an empty one is removed."""
    if text:
        connection.execute(
            "insert or replace into drafts (session_id, text) values (?, ?)", (session_id, stored(text))
        )
    else:
        connection.execute("delete from drafts where session_id = ?", (session_id,))


def save_place(connection: Connection, session_id: str, place: str) -> None:
    """Keep where one is reading; a session is no newer for having been read."""
    connection.execute("update sessions set place = ? where session_id = ?", (place, session_id))


def _show(connection: Connection, session_id: str, leaf_id: str | None) -> Session:
    connection.execute("update sessions set leaf_id = ? where session_id = ?", (leaf_id, session_id))
    return read.chosen_path(connection, session_id)


def _ensure_there(connection: Connection, session_id: str, message_id: str) -> None:
    found = connection.execute(
        "select 1 from messages where message_id = ? and session_id = ?", (message_id, session_id)
    ).fetchone()
    if found is None:
        raise SessionNotFound(
            "This message is no longer in its session.", hint="Open the session again to see what is."
        )


def _column(connection: Connection, session_id: str, value: object) -> object:
    match value:
        case "":
            return stored(first_prompt_title(connection, session_id))
        case str():
            return stored(value)
        case datetime():
            return stored_time(value)
        case tuple():
            return stored(" ".join(value))
        case _:
            return value


def _settled(message: ChatMessage) -> ChatMessage:
    if message.state is not AnswerState.STREAMING:
        return message
    state = AnswerState.INTERRUPTED if message.text or message.reasoning else AnswerState.FAILED
    return replace(message, state=state, failure=_FORKED)


def name_branch(connection: Connection, session_id: str, message_id: str, name: str) -> None:
    """Name the branch that begins with a message; an empty name takes it away."""
    connection.execute(
        "update messages set branch = ? where session_id = ? and message_id = ?",
        (stored(name), session_id, message_id),
    )


def bring_in(connection: Connection, session: Session) -> SessionHeader | None:
    """Write a session with all branches, parents first; return the header of one that has its id already."""
    session_id = session.header.session_id
    if connection.execute("select 1 from sessions where session_id = ?", (session_id,)).fetchone():
        return read.header(connection, session_id)
    put_session(connection, session.header)
    ids = _free_ids(connection, session.tree or session.messages)
    for message in session.tree or session.messages:
        fresh = replace(
            message, message_id=ids[message.message_id], parent_id=ids.get(message.parent_id or "")
        )
        put_whole(connection, session_id, fresh)
    for message_id, name in session.branch_names.items():
        name_branch(connection, session_id, ids[message_id], name)
    leaf_id = ids[session.messages[-1].message_id] if session.messages else None
    connection.execute("update sessions set leaf_id = ? where session_id = ?", (leaf_id, session_id))
    return None


def _free_ids(connection: Connection, found: Sequence[ChatMessage]) -> dict[str, str]:
    """Return an id for each message: its own, or a fresh one where another session has that."""
    return {
        message.message_id: new_id()
        if number_of(connection, message.message_id) is not None
        else message.message_id
        for message in found
    }
