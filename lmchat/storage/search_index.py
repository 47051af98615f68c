"""Search index: trigrams of all texts, with thoughts, tool calls and results, and of file names.

A trigram is three characters in a row. The index tells which texts have a trigram.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.storage.connection import Connection
from lmchat.storage.row_values import folded, loaded
from lmchat.storage.schema import transaction

_TRIGRAM_CHARS = 3
# Follows each indexed text, so that its last two characters begin a trigram, too.
_PADDING = "\n\n"
# One transaction indexes at most so many messages, and stops after so many characters: it takes
# about 10 ms.
_BATCH_MESSAGES = 100
_BATCH_CHARS = 64 * 1024
# More trigrams of a term are not looked up: the texts that have these are compared anyway.
_MOST_TRIGRAMS = 50
# Where more trigrams begin with a short term, comparing all texts is faster.
_MOST_BEGINNINGS = 1000

_PARTS = "select part_id, kind, text, name from parts where number = ?"


def index_message(connection: Connection, number: int) -> None:
    """Put the parts of a message into the index."""
    rows = connection.execute(_PARTS, (number,)).fetchall()
    insertion = "insert into trigrams (rowid, text) values (?, ?)"
    connection.executemany(insertion, map(_index_row, rows))
    connection.execute("update messages set is_indexed = 1 where number = ?", (number,))


def unindex_message(connection: Connection, number: int) -> None:
    """Take the parts of a message out of the index, if they are in it.

    Their rows must still exist: to delete a text, FTS5 needs that text.
    """
    query = f"{_PARTS} and (select is_indexed from messages m where m.number = parts.number)"
    rows = connection.execute(query, (number,)).fetchall()
    deletion = "insert into trigrams (trigrams, rowid, text) values ('delete', ?, ?)"
    connection.executemany(deletion, map(_index_row, rows))
    connection.execute("update messages set is_indexed = 0 where number = ?", (number,))


def forget_old_words(connection: Connection) -> None:
    """Write the index again, without the words of texts that were taken out of it.

    Until then, FTS5 keeps those in the file. It takes about 1 s for 40 MB of text.
    """
    with transaction(connection):
        connection.execute("insert into trigrams (trigrams) values ('optimize')")


def index_batch(connection: Connection) -> bool:
    """Index some of the messages that are not indexed; return whether there were any."""
    not_indexed = connection.execute(
        """select number, (select sum(length(text)) from parts p where p.number = m.number)
            from messages m
            where is_indexed = 0 and state <> 'streaming' order by number limit ?""",
        (_BATCH_MESSAGES,),
    ).fetchall()
    indexed_chars = 0
    for number, chars in not_indexed:
        if indexed_chars >= _BATCH_CHARS:
            break
        index_message(connection, number)
        indexed_chars += chars or 0  # None without parts
    return bool(not_indexed)


def searched_text(kind: str, text: object, name: object) -> str:
    """Return the text of a stored part that a search compares: `text`, a name, or both."""
    match kind:
        case "file":
            return loaded(name)
        case "tool_call":
            return f"{loaded(name)} {loaded(text)}"
        case _:
            return loaded(text)


def index_query(connection: Connection, terms: Sequence[str]) -> str | None:
    """Return the query of FTS5 for the texts that may hold all folded terms.

    It is empty if no text in the index can hold them, and None if the index does not help. For the
    terms “plan” and “b”, it is `"pla" AND "lan"`.
    """
    # a table of this connection with all trigrams that are in the index
    connection.execute(
        "create virtual table if not exists temp.trigram_list using fts5vocab (main, trigrams, row)"
    )
    conditions: list[str] = []
    longest_first = sorted(terms, key=len, reverse=True)
    for term in longest_first:
        if len(term) >= _TRIGRAM_CHARS:
            conditions += [_quoted(trigram) for trigram in _trigrams_of(term)]
        elif not conditions:  # else only few texts have the longer terms, and are compared
            beginnings = _trigrams_with(connection, term)
            if not beginnings:
                return ""
            if len(beginnings) <= _MOST_BEGINNINGS:
                conditions.append(f"({' OR '.join(map(_quoted, beginnings))})")
    return " AND ".join(conditions) or None


def _trigrams_of(term: str) -> list[str]:
    """Return the first different trigrams of a term: “plan” has “pla” and “lan”."""
    starts = range(len(term) - _TRIGRAM_CHARS + 1)
    trigrams = dict.fromkeys(term[start : start + _TRIGRAM_CHARS] for start in starts)
    return list(trigrams)[:_MOST_TRIGRAMS]


def _trigrams_with(connection: Connection, beginning: str) -> list[str]:
    """Return the trigrams in the index that begin with one or two characters.

    At most `_MOST_BEGINNINGS` and one more, which shows that there are too many.
    """
    query = "select term from trigram_list where term >= ? and term < ? limit ?"
    last = f"{beginning}\U0010ffff"  # the last code point: after all trigrams with this beginning
    rows = connection.execute(query, (beginning, last, _MOST_BEGINNINGS + 1))
    return [trigram for (trigram,) in rows]


def _index_row(row: tuple[int, str, object, object]) -> tuple[int, str]:
    """Return the row of the index for a row of `parts`."""
    part_id, kind, text, name = row
    return part_id, folded(searched_text(kind, text, name)) + _PADDING


def _quoted(term: str) -> str:
    """Return a term as a string of FTS5, in which no character has a meaning."""
    escaped = term.replace('"', '""')
    return f'"{escaped}"'
