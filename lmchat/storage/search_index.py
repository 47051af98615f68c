"""Search index: trigrams of all texts, with thoughts, tool calls and results, and of file names."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.storage.connection import Connection
from lmchat.storage.row_values import folded, loaded
from lmchat.storage.schema import transaction

_TRIGRAM = 3  # characters
_PAD = "\n\n"  # behind each indexed text, so that its last characters, too, begin a trigram
_BATCH = 100  # messages indexed in one transaction, in about 10 ms
_BATCH_CHARS = 1 << 16  # text indexed in one transaction
_MOST_TRIGRAMS = 50  # of one term: the remaining texts are compared anyway
_MOST_BEGINNINGS = 1000
"""Trigrams that may begin with a short term; beyond that, comparing all texts is faster."""

_PARTS = "select part_id, kind, text, name from parts where number = ?"


def index_message(connection: Connection, number: int) -> None:
    """Put a message into the index."""
    rows = connection.execute(_PARTS, (number,)).fetchall()
    insertion = "insert into trigrams (rowid, text) values (?, ?)"
    connection.executemany(insertion, map(_index_row, rows))
    connection.execute("update messages set is_indexed = 1 where number = ?", (number,))


def unindex_message(connection: Connection, number: int) -> None:
    """Take a message out of the index; its parts must still exist: FTS5 wants the text again."""
    query = f"{_PARTS} and (select is_indexed from messages m where m.number = parts.number)"
    rows = connection.execute(query, (number,)).fetchall()
    deletion = "insert into trigrams (trigrams, rowid, text) values ('delete', ?, ?)"
    connection.executemany(deletion, map(_index_row, rows))
    connection.execute("update messages set is_indexed = 0 where number = ?", (number,))


def forget_old_words(connection: Connection) -> None:
    """Write the index again without what was taken out: until then, FTS5 keeps its words.

    That takes about 1 s for 40 MB of text.
    """
    with transaction(connection):
        connection.execute("insert into trigrams (trigrams) values ('optimize')")


def index_batch(connection: Connection) -> bool:
    """Index some messages of a repaired file; return whether there were any."""
    waiting = connection.execute(
        """select number, (select sum(length(text)) from parts p where p.number = m.number)
            from messages m
            where is_indexed = 0 and state <> 'streaming' order by number limit ?""",
        (_BATCH,),
    ).fetchall()
    room = _BATCH_CHARS
    for number, size in waiting:
        if room > 0:
            index_message(connection, number)
            room -= size or 0
    return bool(waiting)


def searched_text(kind: str, text: object, name: object) -> str:
    """Return the text of a part that a search compares."""
    match kind:
        case "file":
            return loaded(name)
        case "tool_call":
            return f"{loaded(name)} {loaded(text)}"
        case _:
            return loaded(text)


def index_query(connection: Connection, terms: Sequence[str]) -> str | None:
    """Return the query for texts that may hold all folded terms.

    It is empty if no text can hold them, and None if the index does not help.
    """
    # trigrams that exist, in a table of this connection
    connection.execute(
        "create virtual table if not exists temp.trigram_list using fts5vocab (main, trigrams, row)"
    )
    conditions: list[str] = []
    for term in sorted(terms, key=len, reverse=True):
        if len(term) >= _TRIGRAM:
            starts = range(len(term) - _TRIGRAM + 1)
            trigrams = dict.fromkeys(term[start : start + _TRIGRAM] for start in starts)
            conditions += [_quoted(trigram) for trigram in list(trigrams)[:_MOST_TRIGRAMS]]
        elif not conditions:  # else few texts hold the longer terms; they are compared
            beginnings = _trigrams_with(connection, term)
            if not beginnings:
                return ""
            if len(beginnings) <= _MOST_BEGINNINGS:
                conditions.append(f"({' OR '.join(map(_quoted, beginnings))})")
    return " AND ".join(conditions) or None


def _trigrams_with(connection: Connection, beginning: str) -> list[str]:
    """Return the trigrams that begin with a term; one more than are useful means too many."""
    query = "select term from trigram_list where term >= ? and term < ? limit ?"
    last = f"{beginning}\U0010ffff"
    rows = connection.execute(query, (beginning, last, _MOST_BEGINNINGS + 1))
    return [trigram for (trigram,) in rows]


def _index_row(row: tuple[int, str, object, object]) -> tuple[int, str]:
    """Return the row of the index for a row of `parts`."""
    part_id, kind, text, name = row
    return part_id, folded(searched_text(kind, text, name)) + _PAD


def _quoted(term: str) -> str:
    escaped = term.replace('"', '""')
    return f'"{escaped}"'
