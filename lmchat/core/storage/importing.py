"""Import of a session into the database, in a transaction of the caller.

A session that is there gets what it lacks: the chat may have gone on where the file is from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import NamedTuple

from msgspec.structs import replace

from lmchat.core.sessions.message import ChatMessage, readable_text
from lmchat.core.sessions.session import Session, SessionHeader
from lmchat.core.storage.branch_queries import all_messages, header
from lmchat.core.storage.message_records import number_of, put_message, put_session, set_columns
from lmchat.core.storage.opening import Connection
from lmchat.core.storage.record_values import stored_time

# of `change`, whatever the triggers have made of it
_LIST_BY_TIME = """update sessions set change = coalesce((select other.change from sessions other
    where other.updated_at <= sessions.updated_at and other.session_id <> sessions.session_id
    order by other.updated_at desc limit 1), 0) where session_id = ?"""


class Imported(NamedTuple):
    """What an import has brought."""

    header: SessionHeader
    is_new: bool
    message_count: int
    is_shown: bool  # the path to the last message


def import_session(connection: Connection, session: Session) -> Imported:
    """Show the path that the file shows, unless somebody has gone on from another message here.

    A session in the trash stays as it is.
    """
    session_id = session.header.session_id
    moment = session.header.updated_at
    query = "select leaf_id, imported_leaf from sessions where session_id = ?"
    leaves = connection.execute(query, (session_id,)).fetchone()
    if leaves is None:
        put_session(connection, session.header)
    elif (known := header(connection, session_id)).deleted_at is not None:
        return Imported(known, is_new=False, message_count=0, is_shown=False)
    else:
        moment = max(moment, known.updated_at)

    query = "select message_id, hidden_by from messages where session_id = ?"
    hidden_by: dict[str | None, str | None] = dict(connection.execute(query, (session_id,)))
    messages = _messages_here(connection, session, hidden_by)
    new = [message for message in messages.values() if message.message_id not in hidden_by]
    for message in new:
        put_message(connection, session_id, message)
        hidden_by[message.message_id] = hidden_by.get(message.parent_id)  # with all below
        hide = "update messages set hidden_by = ? where message_id = ?"
        connection.execute(hide, (hidden_by[message.message_id], message.message_id))

    end = messages[session.messages[-1].message_id].message_id if session.messages else None
    ids = {message.message_id for message in messages.values()}
    is_shown = hidden_by.get(end) is None and (
        leaves is None or leaves[0] in {None, leaves[1], *ids}
    )
    if leaves is None or new:
        set_columns(connection, session_id, imported_leaf=end)
        if is_shown:
            # one after the other: no trigger makes the session the last changed one
            set_columns(connection, session_id, leaf_id=end)
            set_columns(connection, session_id, updated_at=stored_time(moment))
            connection.execute(_LIST_BY_TIME, (session_id,))
    return Imported(
        header(connection, session_id),
        is_new=leaves is None,
        message_count=len(new),
        is_shown=is_shown,
    )


def _messages_here(
    connection: Connection, session: Session, held: Collection[str | None]
) -> dict[str, ChatMessage]:
    """Return the messages as the database has them, or is to have them, by their ids in the file.

    One that is here with another text is another version, and so are those below it. A message
    whose parent is not in `session` becomes a root. The session has those with the ids `held`.
    """
    session_id = session.header.session_id
    texts = {one.message_id: readable_text(one) for one in all_messages(connection, session_id)}
    here: dict[str, ChatMessage] = {}
    for message in session.tree or session.messages:  # without a tree, only the path is known
        message_id = message.message_id
        parent = here.get(message.parent_id or "")
        parent_id = parent and parent.message_id
        # the same with each import
        text = readable_text(message)
        place = f"{session_id} {parent_id} {message_id} {text}"
        version_id = hashlib.sha256(place.encode(errors="surrogatepass")).hexdigest()[:16]
        is_other = (
            version_id in held
            or parent_id not in {None, message.parent_id}
            or texts.get(message_id, text) != text
            # another session has it
            or (message_id not in held and number_of(connection, message_id) is not None)
        )
        message_id = version_id if is_other else message_id
        here[message.message_id] = replace(message, message_id=message_id, parent_id=parent_id)
    return here
