"""What is put in order when the file is opened: answers without an owner, old trash, missing words."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage, Failure
from lmchat.storage.connection import Connection, transaction
from lmchat.storage.messages import put_whole
from lmchat.storage.owner import is_alive
from lmchat.storage.rows import MESSAGE_COLUMNS, message_from, read_parts, stored_time
from lmchat.storage.words import index_what_is_missing, unindex_message

log = logging.getLogger(__name__)

TRASH_DAYS = 30
"""How long a deleted session can be brought back."""
_ENDED = Failure(
    kind="interrupted",
    message="lmchat ended while this answer was arriving.",
    hint="Continue it, or ask again.",
)


def tidy(connection: Connection, moment: datetime) -> None:
    """Put the file in order; each step is a transaction of its own."""
    if connection.is_read_only:
        return
    end_orphans(connection)
    expired = connection.execute(
        "select session_id from sessions where deleted_at < ?",
        (stored_time(moment - timedelta(days=TRASH_DAYS)),),
    ).fetchall()
    for (session_id,) in expired:
        with transaction(connection, is_durable=False):
            purge(connection, session_id)
    is_more = True
    while is_more:
        with transaction(connection, is_durable=False):
            is_more = index_what_is_missing(connection)


def end_orphans(connection: Connection, session_id: str | None = None) -> None:
    """End the streaming answers whose process is gone, with the text that had arrived."""
    for number, owner in _streaming(connection, session_id):
        if owner is None or not is_alive(owner):
            with transaction(connection, is_durable=False):
                _end(connection, number, owner)


def purge(connection: Connection, session_id: str) -> None:
    """Remove a session with all that belongs to it."""
    for (number,) in connection.execute(
        "select number from messages where session_id = ?", (session_id,)
    ).fetchall():
        unindex_message(connection, number)
    connection.execute("delete from drafts where session_id = ?", (session_id,))
    connection.execute("delete from sessions where session_id = ?", (session_id,))


def _streaming(connection: Connection, session_id: str | None) -> list[tuple[int, str | None]]:
    query = "select number, owner from messages where state = 'streaming'"
    if session_id is None:
        return connection.execute(query).fetchall()
    return connection.execute(f"{query} and session_id = ?", (session_id,)).fetchall()


def _end(connection: Connection, number: int, owner: str | None) -> None:
    row = connection.execute(
        f"select {MESSAGE_COLUMNS}, session_id from messages "
        "where number = ? and state = 'streaming' and owner is ?",  # another process may have been faster
        (number, owner),
    ).fetchone()
    if row is None:
        return
    parts = read_parts(connection, "number = ?", (number,)).get(number, [])
    message = message_from(row[:-1], parts)
    if message is None:
        return
    put_whole(connection, row[-1], _ended(message))
    log.info("an answer was left unfinished by a process that is gone; its text is kept")


def _ended(message: ChatMessage) -> ChatMessage:
    has_text = bool(message.text or message.reasoning)
    state = AnswerState.INTERRUPTED if has_text else AnswerState.FAILED
    return replace(message, state=state, failure=_ENDED)
