"""Permanent deletion: of sessions, and of what has been in the trash for `TRASH_DAYS`.

First `purge_sessions` or `purge_expired` deletes rows and returns a record of them. With this
record, `clean_up` removes their text from everywhere else: from answer files, attached files, old
pages of the search index, and the write-ahead log. The caller removes the daily copies.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from msgspec import Struct

from lmchat.sessions.message import Role
from lmchat.sessions.session import TRASH_DAYS, title_from
from lmchat.storage import attached_files
from lmchat.storage.connection import Connection
from lmchat.storage.message_rows import set_columns
from lmchat.storage.row_values import column, loaded, stored_time
from lmchat.storage.running_answer import answer_files, read_answer
from lmchat.storage.schema import transaction
from lmchat.storage.search_index import forget_old_words, unindex_message
from lmchat.storage.session_queries import (
    BELOW,
    DRAFT,
    TITLE_WORDS,
    first_prompt_title,
    first_text,
)

# If the clock is more days ahead of the newest session, it may be wrong. Nothing expires then.
_MOST_DAYS_SINCE_NEWEST = 60


class Purged(Struct, kw_only=True):
    """Record of deleted rows; a purge fills it for `clean_up`."""

    session_ids: set[str] = set()  # of deleted sessions
    digests: set[str] = set()  # of files that were attached to deleted messages and drafts
    message_count: int = 0  # of messages in sessions that remain

    @property
    def is_empty(self) -> bool:
        """Whether neither a session nor a message was deleted."""
        return not self.session_ids and not self.message_count


def purge_sessions(connection: Connection, session_ids: Iterable[str]) -> Purged:
    """Delete sessions with their messages and drafts; the caller begins the transaction."""
    purged = Purged()
    for session_id in session_ids:
        _purge_session(connection, session_id, purged)
    return purged


def purge_expired(connection: Connection, moment: datetime) -> Purged:
    """Delete sessions and messages that have been in the trash for `TRASH_DAYS`.

    Each of them is deleted in a transaction of its own. Nothing is deleted if the newest session
    was changed more than `_MOST_DAYS_SINCE_NEWEST` before `moment`: the clock may be wrong.
    """
    purged = Purged()
    newest = connection.execute("select max(updated_at) from sessions").fetchone()[0]
    expected_newest = stored_time(moment - timedelta(days=_MOST_DAYS_SINCE_NEWEST))
    if newest is None or str(newest) < expected_newest:
        return purged

    expired_before = stored_time(moment - timedelta(days=TRASH_DAYS))
    query = "select session_id from sessions where deleted_at < ?"
    for (session_id,) in connection.execute(query, (expired_before,)).fetchall():
        with transaction(connection):
            _purge_session(connection, session_id, purged)

    # `root` is a message that was deleted by the user, `m` a message that it hides: itself, or one
    # below it. If the root is hidden, it is deleted with all hidden messages below it. If it is
    # visible again, because another window has added a message below it, the messages that it
    # still hides are deleted in its place. The newest are deleted first.
    query = """select m.session_id, m.message_id from messages m join messages root
        on root.message_id = m.hidden_by where root.hidden_at < ?
        and (m.message_id = root.message_id or root.hidden_by is null) order by m.number desc"""
    for session_id, message_id in connection.execute(query, (expired_before,)).fetchall():
        with transaction(connection):
            _purge_branch(connection, session_id, message_id, purged)
    return purged


def clean_up(connection: Connection, purged: Purged, folder: Path) -> None:
    """Remove what is left of the text of deleted rows, except in the daily copies.

    This removes answer files of deleted sessions and attached files that are no longer named, and
    empties the write-ahead log. `folder` has the attached files.
    """
    _remove_answer_files(connection.path, purged.session_ids)
    attached_files.remove(connection, folder, purged.digests)
    forget_old_words(connection)
    # write the write-ahead log into the file and empty it, unless another connection is reading
    connection.execute("pragma wal_checkpoint(truncate)").fetchall()


def _purge_session(connection: Connection, session_id: str, purged: Purged) -> None:
    """Delete a session with its messages and its draft; add it and its digests to `purged`."""
    query = "select number from messages where session_id = ?"
    numbers = [number for (number,) in connection.execute(query, (session_id,)).fetchall()]
    for number in numbers:
        unindex_message(connection, number)
    purged.session_ids.add(session_id)
    purged.digests |= _digests_of_messages(connection, numbers)
    purged.digests |= set(attached_files.DIGEST.findall(first_text(connection, DRAFT, session_id)))

    connection.execute("delete from drafts where session_id = ?", (session_id,))
    # foreign keys delete its messages and their parts
    connection.execute("delete from sessions where session_id = ?", (session_id,))


def _purge_branch(connection: Connection, session_id: str, message_id: str, purged: Purged) -> None:
    """Delete a message and those below it, as far as they are hidden; add them to `purged`.

    If the title of the session was made of one of the deleted prompts, the title is made of the
    first visible prompt instead.
    """
    query = f"{BELOW} select number from below where hidden_by is not null"
    rows = connection.execute(query, {"session": session_id, "message": message_id}).fetchall()
    numbers = [number for (number,) in rows]
    purged.digests |= _digests_of_messages(connection, numbers)
    purged.message_count += len(numbers)
    gave_title = any(_gave_title(connection, number) for number in numbers)

    for number in numbers:
        unindex_message(connection, number)  # first: it needs the parts, which are deleted, too
        connection.execute("delete from messages where number = ?", (number,))
    if gave_title:
        title = first_prompt_title(connection, session_id)
        set_columns(connection, session_id, title=column(title))


def _gave_title(connection: Connection, number: int) -> bool:
    """Return whether the title of a session was made of this message, and was not changed since."""
    query = f"""select {TITLE_WORDS}, s.title from messages m
        join sessions s on s.session_id = m.session_id
        where m.number = ? and m.role = ?"""
    rows = connection.execute(query, (number, Role.USER)).fetchall()
    return any(title_from(loaded(words)) == loaded(title) for words, title in rows)


def _digests_of_messages(connection: Connection, numbers: Iterable[int]) -> set[str]:
    """Return the digests of the files that are attached to the messages with these numbers."""
    query = "select call_id from parts where number = ? and kind = 'file'"
    digests: set[str] = set()
    for number in numbers:
        digests |= {loaded(digest) for (digest,) in connection.execute(query, (number,))}
    return digests


def _remove_answer_files(store: Path, session_ids: set[str]) -> None:
    """Remove the files of running answers of sessions, also of answers without a row."""
    for path in answer_files(store):
        with suppress(OSError):  # the answer has just ended, or the folder is read-only
            head, _ = read_answer(path)
            if head is not None and head.session_id in session_ids:
                path.unlink()
