"""Tidying when the file is opened: answers whose process is gone, old trash, old copies."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from lmchat.domain.message import AnswerState, ChatMessage, Failure, Part
from lmchat.domain.session import TRASH_DAYS
from lmchat.domain.turn import Piece, parts_of
from lmchat.storage.database import Connection, transaction, without_waiting
from lmchat.storage.read import arrived_parts
from lmchat.storage.repair import remove_backups, remove_old_copies
from lmchat.storage.rows import MESSAGE_COLUMNS, json_of, message_from, stored_time
from lmchat.storage.running_answer import Begun, answer_path, answer_paths, is_alive, load_answer
from lmchat.storage.search import unindex_message
from lmchat.storage.write import ensure_session, make_leaf, number_of, put_whole

log = logging.getLogger(__name__)

_LONGEST_REST_DAYS = 60
"""A clock that is further ahead of the last thing said may be wrong."""
_ENDED = Failure(
    kind="interrupted",
    message="lmchat ended while this answer was arriving.",
    hint="Continue it, or ask again.",
)
_ENDED_EMPTY = replace(_ENDED, hint="Ask again.")
"""There is nothing to go on with."""


def tidy(connection: Connection, moment: datetime) -> None:
    """Put the file in order; each step is a transaction of its own."""
    if connection.is_read_only:
        return
    end_orphans(connection)
    adopt_answers(connection, moment)
    empty_trash(connection, moment)
    remove_old_copies(connection.path, days=TRASH_DAYS)


def empty_trash(connection: Connection, moment: datetime) -> None:
    """Remove what was deleted long ago, unless the clock seems to have jumped: then at a later start."""
    newest = connection.execute("select max(updated_at) from sessions").fetchone()[0]
    if newest is None or str(newest) < stored_time(moment - timedelta(days=_LONGEST_REST_DAYS)):
        return
    expired = connection.execute(
        "select session_id from sessions where deleted_at < ?",
        (stored_time(moment - timedelta(days=TRASH_DAYS)),),
    ).fetchall()
    for (session_id,) in expired:
        with transaction(connection, is_durable=False):
            purge(connection, session_id)


def settle(connection: Connection, session_id: str) -> None:
    """End the answers of a session whose process has gone since the file was opened."""
    if not connection.is_read_only:
        end_orphans(connection, session_id)


def end_orphans(connection: Connection, session_id: str | None = None) -> None:
    """End the streaming answers whose process is gone, with the text that had arrived."""
    for number, owner in _streaming(connection, session_id):
        if not isinstance(owner, str) or not is_alive(owner):  # of a damaged row it may be bytes
            with transaction(connection, is_durable=True):  # its text is nowhere else once its file is gone
                message_id = _end(connection, number, owner)
            if message_id is not None and _loaded(answer_path(connection.path, message_id)) is not None:
                _remove(answer_path(connection.path, message_id))


def adopt_answers(connection: Connection, moment: datetime) -> None:
    """Take in answers of killed processes that the sessions' file does not know.

    Its row could not be written, or the file was replaced. An unreadable answer stays for the next start.
    """
    for path in answer_paths(connection.path):
        found = _loaded(path)
        if found is None:
            continue
        begun, pieces = found
        if begun is not None and is_alive(begun.owner):
            continue
        if begun is not None and pieces:
            with transaction(connection, is_durable=True):
                _adopt(connection, begun, parts_of(pieces), moment)
        _remove(path)


def purge(connection: Connection, session_id: str) -> tuple[str, ...]:
    """Remove a session with all that belongs to it; return the answers that still stream in it."""
    connection.execute("pragma secure_delete = on")  # or its words stay in pages that are free now
    streaming = connection.execute(
        "select message_id from messages where session_id = ? and state = 'streaming'", (session_id,)
    ).fetchall()
    for (number,) in connection.execute(
        "select number from messages where session_id = ?", (session_id,)
    ).fetchall():
        unindex_message(connection, number)
    connection.execute("delete from drafts where session_id = ?", (session_id,))
    connection.execute("delete from sessions where session_id = ?", (session_id,))
    return tuple(str(row[0]) for row in streaming)


def forget_purged(connection: Connection) -> None:
    """Remove purged text from the daily copies and, unless it is being read, the write-ahead log."""
    remove_backups(connection.path)
    with without_waiting(connection):
        connection.execute("pragma wal_checkpoint(truncate)").fetchall()


def _streaming(connection: Connection, session_id: str | None) -> list[tuple[int, str | bytes | None]]:
    query = "select number, owner from messages where state = 'streaming'"
    if session_id is None:
        return connection.execute(query).fetchall()
    return connection.execute(f"{query} and session_id = ?", (session_id,)).fetchall()


def _end(connection: Connection, number: int, owner: str | bytes | None) -> str | None:
    """End an answer, and return its id; None where another process was faster, or its row is damaged."""
    row = connection.execute(
        f"select {MESSAGE_COLUMNS}, session_id from messages "
        "where number = ? and state = 'streaming' and owner is ?",  # another process may have been faster
        (number, owner),
    ).fetchone()
    message = None if row is None else message_from(row[:-1], arrived_parts(connection, *row[:2]))
    if message is None:
        return None
    put_whole(connection, row[-1], _ended(message))
    log.info("an answer was left unfinished by a process that is gone; its text is kept")
    return message.message_id


def _adopt(connection: Connection, begun: Begun, parts: Sequence[Part], moment: datetime) -> None:
    """Write an answer that has no row, at the end of its session."""
    message = begun.message
    number = number_of(connection, message.message_id)
    if number is None:
        ensure_session(connection, begun.session_id, moment)
        put_whole(connection, begun.session_id, _ended(replace(message, parts=tuple(parts))))
        make_leaf(connection, begun.session_id, message, moment)
        log.info("an answer that the session file did not know was taken in")
    elif _was_ended_without_its_text(connection, number):
        put_whole(connection, begun.session_id, _ended(replace(message, parts=tuple(parts))))
        log.info("the text of an answer could be read at last")


def _was_ended_without_its_text(connection: Connection, number: int) -> bool:
    row = connection.execute(
        """select 1 from messages m where number = ? and state = ? and failure = ?
            and not exists (select 1 from parts p where p.number = m.number)""",
        (number, AnswerState.FAILED, json_of(_ENDED_EMPTY)),
    ).fetchone()
    return row is not None


def _loaded(path: Path) -> tuple[Begun | None, Sequence[Piece]] | None:
    """Return what the file of an answer says; None where that cannot be known now."""
    try:
        return load_answer(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("the file of an answer cannot be read and stays: %s", error.strerror)
        return None


def _remove(path: Path) -> None:
    with suppress(
        OSError
    ):  # another process was faster, or the folder may not be written: the next start looks again
        path.unlink()


def _ended(message: ChatMessage) -> ChatMessage:
    has_come = bool(message.text or message.reasoning or message.tool_calls)
    state = AnswerState.INTERRUPTED if has_come else AnswerState.FAILED
    return replace(message, state=state, failure=_ENDED if has_come else _ENDED_EMPTY)
