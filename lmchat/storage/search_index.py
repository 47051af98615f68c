"""Search index: trigrams of all parts of messages, also of thoughts, tool calls and file names.

A trigram is three characters in a row. For a trigram, the index names the texts that have it.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.storage.connection import Connection
from lmchat.storage.row_values import folded, loaded
from lmchat.storage.schema import transaction

_TRIGRAM_CHARS = 3
# Follows each indexed text, so that its last two characters begin a trigram, too.
_PADDING = "\n\n"
# Limits of one transaction of `index_batch`, which takes about 10 ms: its number of messages, and
# the characters after which it stops.
_BATCH_MESSAGES = 100
_BATCH_CHARS = 64 * 1024
# Only the first trigrams of a term are looked up: texts that have these are compared anyway.
_MOST_TRIGRAMS = 50
# If more trigrams begin with a short term, comparing all texts is faster.
_MOST_BEGINNINGS = 1000

_PARTS = "select part_id, kind, text, name from parts where number = ?"


def index_message(connection: Connection, number: int) -> None:
    """Put the parts of a message into the index, and mark the message as indexed."""
    rows = connection.execute(_PARTS, (number,)).fetchall()
    insertion = "insert into trigrams (rowid, text) values (?, ?)"
    connection.executemany(insertion, map(_index_row, rows))
    connection.execute("update messages set is_indexed = 1 where number = ?", (number,))


def unindex_message(connection: Connection, number: int) -> None:
    """Take the parts of a message out of the index, if they are in it, and mark it as not indexed.

    The rows of its parts must still exist: to delete a text, FTS5 needs that text.
    """
    query = f"{_PARTS} and (select is_indexed from messages m where m.number = parts.number)"
    rows = connection.execute(query, (number,)).fetchall()
    deletion = "insert into trigrams (trigrams, rowid, text) values ('delete', ?, ?)"
    connection.executemany(deletion, map(_index_row, rows))
    connection.execute("update messages set is_indexed = 0 where number = ?", (number,))


def forget_old_words(connection: Connection) -> None:
    """Write the index again, without the trigrams of texts that were taken out of it.

    FTS5 keeps such trigrams in the file until then. This takes about 1 s for 40 MB of text.
    """
    with transaction(connection):
        connection.execute("insert into trigrams (trigrams) values ('optimize')")


def index_batch(connection: Connection) -> bool:
    """Index the first messages that are not indexed, up to the limits of a batch.

    Running answers are left out: they are indexed at their end. Return False if all messages were
    indexed before.
    """
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
    """Return what a search compares of a stored part.

    That is the name of a file, the name and the arguments of a tool call, or the text of another
    part.
    """
    match kind:
        case "file":
            return loaded(name)
        case "tool_call":
            return f"{loaded(name)} {loaded(text)}"
        case _:
            return loaded(text)


def index_query(connection: Connection, terms: Sequence[str]) -> str | None:
    """Return the query of FTS5 for the texts that may hold all folded terms.

    For the terms “plan” and “b”, it is `"pla" AND "lan"`. Terms that are shorter than a trigram
    count only if there are no longer ones: the query then has all trigrams that begin with one.
    The query is empty if no text in the index can hold the terms. Return None if the index does not
    help: without terms, or if too many trigrams begin with each short term.
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
        elif not conditions:  # longer terms leave few texts, which are compared with all terms
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
    """Return the trigrams in the index that begin with `beginning`, one or two characters.

    There are at most `_MOST_BEGINNINGS` + 1; the last one shows that there are too many.
    """
    query = "select term from trigram_list where term >= ? and term < ? limit ?"
    last = f"{beginning}\U0010ffff"  # the last code point: after all trigrams with this beginning
    rows = connection.execute(query, (beginning, last, _MOST_BEGINNINGS + 1))
    return [trigram for (trigram,) in rows]


def _index_row(row: tuple[int, str, object, object]) -> tuple[int, str]:
    """Return number and text of the row of the index for a row of the query `_PARTS`."""
    part_id, kind, text, name = row
    return part_id, folded(searched_text(kind, text, name)) + _PADDING


def _quoted(term: str) -> str:
    """Return a term as a string in a query of FTS5, in which no character has a special meaning."""
    escaped = term.replace('"', '""')
    return f'"{escaped}"'
