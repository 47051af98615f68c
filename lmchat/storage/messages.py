"""Writing sessions and messages: every function is a part of one transaction."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from datetime import datetime, timedelta

from lmchat.domain.message import ChatMessage, Role
from lmchat.domain.session import SessionHeader, title_from
from lmchat.storage.connection import Connection
from lmchat.storage.faults import LOST_ROW
from lmchat.storage.rows import json_of, loaded, stored, stored_time, write_parts
from lmchat.storage.tree import read_tree
from lmchat.storage.words import index_message, unindex_message

_CLOCKS_DIFFER = timedelta(days=1)
"""By how much a clock is set back now and then: an hour in autumn, more where two systems share a machine."""


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


def put_message(
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
        raise sqlite3.DatabaseError(LOST_ROW)
    return number


def put_whole(connection: Connection, session_id: str, message: ChatMessage) -> None:
    """Write a message with all its parts; what was there of them, also pieces, is replaced."""
    number = put_message(connection, session_id, message)
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
    """Let a session end in a message that was just written.

    Where another window has hidden what it hangs below, that comes back: the talk goes on there.
    """
    connection.execute(
        "update sessions set leaf_id = ?, deleted_at = null where session_id = ?",
        (message.message_id, session_id),
    )
    make_newest(connection, session_id, moment)
    parent = connection.execute(
        "select hidden_by from messages where message_id = ?", (message.parent_id,)
    ).fetchone()
    if parent is not None and parent[0] is not None:
        for node in read_tree(connection, session_id).path(message.message_id):
            connection.execute("update messages set hidden_by = null where number = ?", (node.number,))


def make_newest(connection: Connection, session_id: str, moment: datetime) -> None:
    """Let a session stand first among those of its kind in the list, also where the clock was set back.

    Where the clock was wrong by more than a day, the session at least never sinks.
    """
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


def name_after_prompt(connection: Connection, session_id: str, message: ChatMessage) -> None:
    """Give a session without a title one from its first prompt."""
    if message.role is Role.USER:
        connection.execute(
            "update sessions set title = ? where session_id = ? and title = ''",
            (stored(title_from(message.text)), session_id),
        )


def first_prompt_title(connection: Connection, session_id: str) -> str:
    """Return the title that a session has by itself."""
    row = connection.execute(
        """select p.text from messages m join parts p using (number)
            where m.session_id = ? and m.role = ? and p.kind = 'text' order by p.part_id limit 1""",
        (session_id, Role.USER),
    ).fetchone()
    return title_from("" if row is None else loaded(row[0]))
