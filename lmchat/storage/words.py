"""Keeping the index of words in step with the parts of messages."""

from __future__ import annotations

from lmchat.storage.connection import Connection

_BATCH = 500
"""Messages indexed in one transaction, so that other processes get a turn."""


def index_message(connection: Connection, number: int) -> None:
    """Put what a message says into the index."""
    if connection.has_words:
        connection.execute(
            """insert into words (rowid, text)
                select part_id, cast(text as text) from parts where number = ? and kind = 'text'""",
            (number,),
        )
        connection.execute("update messages set is_indexed = 1 where number = ?", (number,))


def unindex_message(connection: Connection, number: int) -> None:
    """Take a message out of the index; its parts must still be there, FTS5 wants the words again."""
    if connection.has_words:
        connection.execute(
            """insert into words (words, rowid, text)
                select 'delete', part_id, cast(text as text) from parts join messages using (number)
                where number = ? and kind = 'text' and is_indexed = 1""",
            (number,),
        )
    connection.execute("update messages set is_indexed = 0 where number = ?", (number,))


def index_what_is_missing(connection: Connection) -> bool:
    """Index a batch of messages that were written without; false once there are none."""
    if not connection.has_words:
        return False
    rows = connection.execute(
        "select number from messages where is_indexed = 0 and state <> 'streaming' limit ?", (_BATCH,)
    ).fetchall()
    for (number,) in rows:
        index_message(connection, number)
    return len(rows) == _BATCH
