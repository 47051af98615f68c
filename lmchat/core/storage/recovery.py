"""Recovery of answers and tool calls whose process was killed.

Such an answer has a row in the state `streaming`, or a file without a lock, or both. Another
process may recover it at the same time.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from pathlib import Path

from lmchat.core.sessions.journal_entries import parts_of
from lmchat.core.sessions.message import interrupted
from lmchat.core.storage.branch_queries import arrived_parts
from lmchat.core.storage.journal import answer_files, answer_path, is_running, read_answer
from lmchat.core.storage.message_records import end_answer, number_of
from lmchat.core.storage.opening import Connection, transaction
from lmchat.core.storage.record_values import (
    MESSAGE_COLUMNS,
    message_from,
    text_from,
)

_KILLED = "lmchat ended"
_RUNNING_RECORDS = "select number, message_id from messages where state = 'streaming'"


def recover_killed_answers(connection: Connection, moment: datetime) -> None:
    # Listed before the rows are read: else an answer that starts and is killed in between would be
    # missed, and its file removed unsaved, as it has a row.
    abandoned_files = [path for path in answer_files(connection.path) if not is_running(path)]
    for number, stored_id in connection.execute(_RUNNING_RECORDS).fetchall():
        message_id = text_from(stored_id)
        if not is_running(answer_path(connection.path, message_id)):
            _end_record(connection, number, message_id, moment)
    # by time: an answer comes before its tool calls, which refer to it
    for path in sorted(abandoned_files, key=_modified_ns):
        _save_and_remove_file(connection, path, moment)


def _modified_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except FileNotFoundError:
        return 0


def _end_record(connection: Connection, number: int, message_id: str, moment: datetime) -> None:
    """Save the answer as interrupted, unless another process has ended it."""
    query = f"""select session_id, {", ".join(MESSAGE_COLUMNS)} from messages
        where number = ? and state = 'streaming'"""
    with transaction(connection):
        record = connection.execute(query, (number,)).fetchone()
        if record is None:
            return
        session_id, *columns = record
        message = message_from(columns, arrived_parts(connection, number, message_id))
        if message is not None:
            end_answer(connection, session_id, interrupted(message, _KILLED), moment)


def _save_and_remove_file(connection: Connection, path: Path, moment: datetime) -> None:
    """A file whose answer cannot be saved stays; one with a damaged head has no known session."""
    # removed by another process, or a damaged id or time in its head
    with suppress(OSError, ValueError, OverflowError):
        head, entries = read_answer(path)
        if head is not None and entries:
            with transaction(connection):
                if number_of(connection, head.message_id) is None:
                    message = interrupted(head.message(parts_of(entries)), _KILLED)
                    end_answer(connection, head.session_id, message, moment)
        path.unlink()
