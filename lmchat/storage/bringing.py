"""Writing a whole session that comes from elsewhere; a job inside one transaction."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from lmchat.domain.message import ChatMessage, new_id
from lmchat.domain.session import Session, SessionHeader
from lmchat.storage import messages, naming, reading
from lmchat.storage.connection import Connection


def bring_in(connection: Connection, session: Session) -> SessionHeader | None:
    """Write a session with all its branches; one whose id is there already stays, and its header is returned.

    Its parents come first, since numbers only rise along a path.
    """
    session_id = session.header.session_id
    if _is_there(connection, session_id):
        return reading.header(connection, session_id)
    messages.put_session(connection, session.header)
    ids = _free_ids(connection, session.tree or session.messages)
    for message in session.tree or session.messages:
        fresh = replace(
            message, message_id=ids[message.message_id], parent_id=ids.get(message.parent_id or "")
        )
        messages.put_whole(connection, session_id, fresh)
    for message_id, name in session.branch_names.items():
        naming.name_branch(connection, session_id, ids[message_id], name)
    leaf_id = ids[session.messages[-1].message_id] if session.messages else None
    connection.execute("update sessions set leaf_id = ? where session_id = ?", (leaf_id, session_id))
    return None


def _is_there(connection: Connection, session_id: str) -> bool:
    found = connection.execute("select 1 from sessions where session_id = ?", (session_id,)).fetchone()
    return found is not None


def _free_ids(connection: Connection, found: Sequence[ChatMessage]) -> dict[str, str]:
    """Return an id for each message: its own, or a fresh one where another session has that."""
    return {
        message.message_id: new_id()
        if messages.number_of(connection, message.message_id) is not None
        else message.message_id
        for message in found
    }
