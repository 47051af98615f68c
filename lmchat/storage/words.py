"""Keeping the indexes, of words and of trigrams, in step with the parts of messages."""

from __future__ import annotations

from lmchat.storage import grams
from lmchat.storage.connection import Connection, transaction

_BATCH = 40
"""Messages indexed in one transaction, so that the next write, here or in another process, gets its turn."""
_MISSING = "select number from messages where is_indexed = 0 and state <> 'streaming'"


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
    grams.unindex_parts(connection, number)


def catch_up(connection: Connection) -> bool:
    """Index a batch of what was written without; whether there is more. Waits for nobody.

    Raises:
        sqlite3.Error: another process writes right now, or the disk refuses to.
    """
    if connection.is_read_only or not (_is_behind(connection) or grams.has_waiting(connection)):
        return False
    patience = connection.execute("pragma busy_timeout").fetchone()[0]
    connection.execute("pragma busy_timeout = 0")
    try:
        with transaction(connection, is_durable=False):
            if _is_behind(connection):
                _index_batch(connection)
            else:
                grams.index_batch(connection)
    finally:
        connection.execute(f"pragma busy_timeout = {patience}")
    return True


def _is_behind(connection: Connection) -> bool:
    return connection.has_words and connection.execute(f"{_MISSING} limit 1").fetchone() is not None


def _index_batch(connection: Connection) -> None:
    for (number,) in connection.execute(f"{_MISSING} limit ?", (_BATCH,)).fetchall():
        index_message(connection, number)
