"""What has come of an answer that streams, or was streaming when its process was killed."""

from __future__ import annotations

from lmchat.domain.message import AnswerState, Part
from lmchat.storage.answer_file import answer_path, read_answer
from lmchat.storage.connection import Connection
from lmchat.storage.rows import parts_of, read_parts


def arrived_parts(connection: Connection, number: int, message_id: str) -> list[Part]:
    """Return the parts of a running answer so far.

    The table `pieces` is of files that were written before each answer had a file of its own.
    """
    rows = connection.execute("select kind, text from pieces where number = ? order by piece_id", (number,))
    begun, pieces = read_answer(answer_path(connection.path, message_id))
    parts = parts_of([*rows, *pieces])
    if (
        begun is None and not parts and not _streams(connection, number)
    ):  # it has ended since it was looked up
        return read_parts(connection, "number = ?", (number,)).get(number, [])
    return parts


def _streams(connection: Connection, number: int) -> bool:
    row = connection.execute("select state from messages where number = ?", (number,)).fetchone()
    return row is not None and row[0] == AnswerState.STREAMING
