"""The table of trigrams: an index beside the words, made where this SQLite can, made anew if damaged.

It is no migration, for the reason that the index of words is none. It keeps neither texts nor places
(`content = ''`, `detail = none`): so it is two thirds of the size of the text, where places would make it two
and a half times as large, and a search looks at the few texts that it names.
"""

from __future__ import annotations

import sqlite3

from lmchat.storage.schema import all_or_nothing

_OPTIONS = "text, content = '', detail = none, tokenize = 'trigram case_sensitive 1'"
"""Capitals and accents are folded before: this tokenizer would keep accents."""
_BEHIND = ("grams_data", "grams_idx", "grams_docsize", "grams_config")


def ensure_grams(connection: sqlite3.Connection) -> bool:
    """Make the table if it is missing; false where this SQLite knows no trigrams."""
    try:
        connection.execute(f"create virtual table temp.gram_probe using fts5 ({_OPTIONS})")
    except sqlite3.OperationalError:
        return False
    connection.execute("drop table temp.gram_probe")
    if not has_grams(connection):
        with all_or_nothing(connection):
            if not has_grams(connection):  # another process may have been faster
                connection.execute(f"create virtual table grams using fts5 ({_OPTIONS})")
    return True


def renew_grams(connection: sqlite3.Connection) -> None:
    """Begin it anew, empty; a damaged FTS5 table cannot be dropped as a whole."""
    with all_or_nothing(connection):
        connection.execute("pragma writable_schema = on")
        connection.execute("delete from sqlite_master where name = 'grams'")
        connection.execute("pragma writable_schema = reset")
        for table in _BEHIND:
            connection.execute(f"drop table if exists {table}")
    ensure_grams(connection)


def has_grams(connection: sqlite3.Connection) -> bool:
    """Whether the file has the table."""
    return connection.execute("select 1 from sqlite_master where name = 'grams'").fetchone() is not None
