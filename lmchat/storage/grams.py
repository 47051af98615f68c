"""Filling and asking the index of trigrams: any part of a word, code, and scripts without blanks.

It holds all that was ever written, thoughts and calls of tools too. It is filled behind what is written, a
batch at a time: what it does not hold yet is the end of the table of parts, which a search looks through.
"""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.storage.connection import Connection
from lmchat.storage.query import fold, quoted
from lmchat.storage.rows import loaded

_SIZE = 3
"""Characters of a trigram."""
_PAD = "\n\n"
"""Behind each text, so that its last characters, too, begin a trigram."""
_WAITING = 64
"""Parts that may wait; looking through them costs a search a few ms, and each batch writes some pages."""
_BATCH_BYTES = 1 << 16
"""Text indexed in one transaction: about 10 ms, for which the next write has to wait."""
_MOST_GRAMS = 50
"""Asked for of one term; the texts that remain are looked at anyway."""
_MOST_BEGINNINGS = 1000
"""Trigrams that may begin with a short term; where there are more, looking through the newest is faster."""
_LAST = "\U0010ffff"


def folded(*values: object) -> str:
    """Return stored values as one text to compare, without capitals, accents and what SQLite cannot keep."""
    text = fold(" ".join(loaded(value) for value in values)).replace("\0", " ")
    return text if text.isascii() else text.encode(errors="replace").decode()


def reach(connection: Connection) -> int:
    """Return the part up to which the index holds what there is; 0 where it is empty or missing."""
    if not connection.has_grams:
        return 0
    return int(connection.execute("select max(id) from grams_docsize").fetchone()[0] or 0)


def has_waiting(connection: Connection) -> bool:
    """Whether so much is not indexed that it is time to."""
    newest = connection.execute("select max(part_id) from parts").fetchone()[0] or 0
    return connection.has_grams and int(newest) - reach(connection) >= _WAITING


def index_batch(connection: Connection) -> None:
    """Index the next texts that are not yet."""
    size = 0
    rows: list[tuple[int, str]] = []
    for part_id, *values in connection.execute(
        "select part_id, text, case kind when 'tool_call' then name else '' end from parts "
        "where part_id > ? order by part_id limit ?",
        (reach(connection), _WAITING * 4),
    ):
        rows.append((part_id, text := _indexed(values)))
        size += len(text)
        if size > _BATCH_BYTES:
            break
    connection.executemany("insert into grams (rowid, text) values (?, ?)", rows)


def unindex_parts(connection: Connection, number: int) -> None:
    """Take a message out; its parts must still be there, FTS5 wants the words again."""
    if not connection.has_grams:
        return
    rows = connection.execute(
        "select part_id, text, case kind when 'tool_call' then name else '' end from parts "
        "where number = ? and part_id in (select id from grams_docsize)",
        (number,),
    ).fetchall()
    connection.executemany(
        "insert into grams (grams, rowid, text) values ('delete', ?, ?)",
        [(part_id, _indexed(values)) for part_id, *values in rows],
    )


def wanted_grams(connection: Connection, terms: Sequence[str]) -> str | None:
    """Return what to ask the index for terms, folded; None where it cannot narrow them down.

    Empty where no text holds one of them.
    """
    asked: list[str] = []
    for term in sorted(terms, key=len, reverse=True):
        if len(term) >= _SIZE:
            grams = dict.fromkeys(term[at : at + _SIZE] for at in range(len(term) - _SIZE + 1))
            asked += [quoted(gram) for gram in list(grams)[:_MOST_GRAMS]]
        elif not asked:  # else what the longer ones find is few enough to look at
            beginnings = _beginnings(connection, term)
            if not beginnings:
                return ""
            if len(beginnings) <= _MOST_BEGINNINGS:
                asked.append(f"({' OR '.join(map(quoted, beginnings))})")
    return " AND ".join(asked) or None


def make_gram_list(connection: Connection) -> None:
    """Let this connection ask which trigrams there are."""
    connection.execute("create virtual table if not exists temp.gram_list using fts5vocab (main, grams, row)")


def _beginnings(connection: Connection, term: str) -> list[str]:
    """Return the trigrams that begin with a term of one or two characters."""
    make_gram_list(connection)
    rows = connection.execute(
        "select term from gram_list where term >= ? and term < ? limit ?",
        (term, term + _LAST, _MOST_BEGINNINGS + 1),
    )
    return [row[0] for row in rows]


def _indexed(values: Sequence[object]) -> str:
    return folded(*values) + _PAD
