"""Permanent deletion: of sessions and messages, and of all files that have their text.

Daily copies and files of answers go before the rows: a kill in the middle would leave them for
days. The next daily check removes attached files that are left. A session that an lmchat has in
memory stays whole, with its deleted messages: what is shown there may be continued.

The trash expires by the clock of this computer. If that is far from the last use, it may be wrong,
as after a flat battery: for some days, nothing is deleted by time, and no copy is replaced. The use
is not noted when the file is opened: it may be found damaged only then.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from msgspec import Struct

from lmchat.base.files.kept_prompts import kept_prompts
from lmchat.base.files.locks import has_file_locks
from lmchat.base.units import counted
from lmchat.core.sessions.message import Role
from lmchat.core.sessions.session import TRASH_DAYS, title_from
from lmchat.core.storage import backup
from lmchat.core.storage.attachment_files import AttachedFiles, named_digests
from lmchat.core.storage.branch_queries import TITLE_WORDS, first_prompt_title
from lmchat.core.storage.journal import answer_files, read_answer
from lmchat.core.storage.message_records import set_columns
from lmchat.core.storage.opening import Connection, require_whole, transaction
from lmchat.core.storage.record_values import (
    column_value,
    insert,
    stored_time,
    text_from,
    time_from,
)
from lmchat.core.storage.schema import index_anew
from lmchat.core.storage.session_locks import SessionLocks

_logger = logging.getLogger(__name__)

# `m` is hidden, `root` the deleted one that hides it, itself or one above it. A root is visible
# again if another window has added a message below it.
DELETED_MESSAGES = """messages m join messages root
    on root.message_id = m.hidden_by and root.session_id = m.session_id"""
_DELETED_BEFORE = f"""select m.number, m.message_id, m.session_id from {DELETED_MESSAGES}
    where root.hidden_at < ?"""
VISIBLE = """select m.session_id from messages m
    join sessions s on s.session_id = m.session_id
    where m.message_id = ? and m.hidden_by is null and s.deleted_at is null"""
_FARTHEST = timedelta(days=60)  # of the clock from the last use
_DOUBTED = timedelta(days=3)  # after a use that was farther
_USES = "create table if not exists uses (used_at text not null, doubted_at text not null)"


class Purged(NamedTuple):
    """What a purge has left, at least for now."""

    left_files: tuple[Path, ...] = ()
    """Files that could not be removed."""
    open_ids: frozenset[str] = frozenset()
    """Ids of the given sessions that an lmchat has in memory."""
    open_messages: int = 0
    """Number of deleted messages in sessions that an lmchat has in memory."""

    @property
    def open_note(self) -> str:
        """Such as `2 sessions and 1 deleted message`; "" if nothing was left for that reason."""
        counts = {"session": len(self.open_ids), "deleted message": self.open_messages}
        return " and ".join(counted(count, name) for name, count in counts.items() if count)


class Trash(Struct, eq=False):
    """Deletion for ever, with the parts of a database that it concerns."""

    _locks: SessionLocks
    _files: AttachedFiles
    _prompts_folder: Path | None

    def empty(self, connection: Connection, moment: datetime) -> str:
        """Delete what was in the trash for `TRASH_DAYS`, and make a daily copy without it.

        Return a sentence about what could not be deleted, or "". A deletion also removes the older
        copies, which a damaged file would need: raise an error for one.
        """
        if is_clock_doubtful(connection, moment):
            return ""
        before = stored_time(moment - timedelta(days=TRASH_DAYS))
        query = "select session_id from sessions where deleted_at < ?"
        session_ids = [
            text_from(session_id) for (session_id,) in connection.execute(query, (before,))
        ]
        has_expired = session_ids or connection.execute(_DELETED_BEFORE, (before,)).fetchone()
        if not has_expired:
            return ""
        require_whole(connection)
        if not has_file_locks(connection.path.parent):
            return (
                "The disk has no file locks, so nothing is removed from the trash by time. Close "
                "all lmchat windows, then run `lmchat sessions purge`."
            )
        purged = self.purge(connection, session_ids, messages_before=before)
        if not backup.daily_copies(connection.path, moment):
            backup.back_up(connection.path, moment)
        text = purged.open_note
        return f"Open in another lmchat, and therefore still in the trash: {text}." if text else ""

    def purge(
        self, connection: Connection, session_ids: Collection[str], *, messages_before: str = ""
    ) -> Purged:
        """`messages_before` is a stored time, or "": deleted messages that are older go, too."""
        # until the commit, no process reads a session that it does not hold yet
        with transaction(connection, "exclusive"):
            held_ids = self._locks.held_ids()
            open_ids = held_ids.intersection(session_ids)
            going_ids = set(session_ids) - open_ids
            messages = connection.execute(_DELETED_BEFORE, (messages_before,)).fetchall()
            going = [record for record in messages if text_from(record[2]) not in held_ids]
            open_messages = len(messages) - len(going)
            if not going_ids and not going:
                return Purged(open_ids=frozenset(open_ids), open_messages=open_messages)

            left_files = backup.remove_copies(connection.path)
            message_ids = {text_from(message_id) for _, message_id, _ in going}
            left_files += _remove_answers(connection.path, {*going_ids, *message_ids})
            changed_ids = {*going_ids, *(text_from(session_id) for *_, session_id in going)}
            self.remove_prompts(connection, changed_ids)
            named_files = named_digests(connection)
            _delete_messages(connection, [number for number, *_ in going])
            for session_id in going_ids:
                connection.execute("delete from drafts where session_id = ?", (session_id,))
                # with its messages and their parts, by foreign keys
                connection.execute("delete from sessions where session_id = ?", (session_id,))
            # FTS5 keeps trigrams of removed texts; others may be folded by another Unicode
            index_anew(connection)  # 4 s for 100,000 messages
        # another lmchat may have just kept what its engine has read
        left_files += self.remove_prompts(connection, changed_ids)
        # one that was not named before may be of a message that another window is about to write
        named_files -= named_digests(connection)
        left_files += self._files.remove(named_files)
        return Purged(tuple(left_files), frozenset(open_ids), open_messages)

    def remove_prompts(
        self, connection: Connection, session_ids: Collection[str] = ()
    ) -> list[Path]:
        """Remove the kept prompts of deleted sessions and of these.

        Return the files that stay, or the folder if it cannot be looked into.
        """
        left: list[Path] = []
        folder = self._prompts_folder
        try:
            kept_here = () if folder is None else kept_prompts(folder)
        except OSError as error:
            return [Path(error.filename)]
        for kept in kept_here:
            record = connection.execute(VISIBLE, (kept.message_id,)).fetchone()
            if record is not None and text_from(record[0]) not in session_ids:
                continue
            try:
                kept.path.unlink(missing_ok=True)
            except OSError:
                left.append(kept.path)
        return left


def _remove_answers(path: Path, ids: Collection[str]) -> Iterator[Path]:
    """Yield the files that stay."""
    for file in answer_files(path):
        try:
            head, _ = read_answer(file)
            if head is not None and (head.session_id in ids or head.message_id in ids):
                file.unlink()
        except FileNotFoundError:  # the answer has just ended
            continue
        except OSError as error:
            _logger.warning("the file of an answer could not be removed: %s", error.strerror)
            yield file


def _delete_messages(connection: Connection, numbers: Sequence[int]) -> None:
    """A title from a deleted prompt is replaced by that of the first visible one."""
    query = f"""select s.session_id, s.title, {TITLE_WORDS} from messages m
        join sessions s on s.session_id = m.session_id where m.role = ? and m.number = ?"""
    titles: list[tuple[str, str, str]] = []
    for number in numbers:
        titles += connection.execute(query, (Role.USER, number)).fetchall()
        connection.execute("delete from messages where number = ?", (number,))
    for session_id, title, words in titles:
        if title_from(text_from(words)) == text_from(title):
            new_title = first_prompt_title(connection, session_id)
            set_columns(connection, session_id, title=column_value(new_title))


def is_clock_doubtful(connection: Connection, moment: datetime) -> bool:
    """True also if the last use is not known."""
    used, doubted = _times(connection)
    if used is None or doubted is None or _is_far(moment, used):
        return True
    return moment < doubted + _DOUBTED


def notice_of_clock(connection: Connection, moment: datetime) -> str:
    used, _ = _times(connection)
    if used is None or not _is_far(moment, used):
        return ""
    return (
        f"By this computer's clock, today is {moment:%Y-%m-%d}, and lmchat was last used on "
        f"{used:%Y-%m-%d}: nothing is removed from the trash for {_DOUBTED.days} days. Correct the "
        "clock if it is wrong."
    )


def note_use(connection: Connection, moment: datetime) -> None:
    """Note the use once a day, unless another process prevents it."""
    used, doubted = _times(connection)
    if used is None or doubted is None or _is_far(moment, used):
        doubted = moment
    elif used.date() == moment.date():
        return
    with suppress(sqlite3.OperationalError), transaction(connection):
        connection.execute(_USES)
        connection.execute("delete from uses")
        times = {"used_at": stored_time(moment), "doubted_at": stored_time(doubted)}
        insert(connection, "uses", times)


def _is_far(moment: datetime, used: datetime) -> bool:
    return abs(moment - used) > _FARTHEST


def _times(connection: Connection) -> tuple[datetime | None, datetime | None]:
    """Return the times of the last use and of the last doubt."""
    try:
        record = connection.execute("select used_at, doubted_at from uses").fetchone()
        return (None, None) if record is None else (time_from(record[0]), time_from(record[1]))
    except (sqlite3.OperationalError, ValueError):  # no table yet, or damaged times
        return None, None
