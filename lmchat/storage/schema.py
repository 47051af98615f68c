"""The tables of `sessions.db` as data: a list of migrations, and the index of words beside them."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from lmchat.errors import StoreUnavailable
from lmchat.storage.backup import back_up

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """create table sessions (
            session_id text primary key not null,
            title text not null default '',
            created_at text not null,
            updated_at text not null,
            model text not null default '',
            endpoint text not null default '',
            is_pinned integer not null default 0,
            is_archived integer not null default 0,
            deleted_at text,
            parent_id text,
            leaf_id text
        )""",
        "create index sessions_by_time on sessions (updated_at)",
        "create index sessions_in_list on sessions (is_pinned, updated_at) where deleted_at is null",
        # No foreign key on parent_id: a parent that was lost must not cost its children.
        """create table messages (
            number integer primary key autoincrement,
            message_id text not null unique,
            session_id text not null references sessions (session_id) on delete cascade,
            parent_id text,
            role text not null,
            state text not null,
            created_at text not null,
            model text not null default '',
            endpoint text not null default '',
            receipt text,
            failure text,
            owner text,
            hidden_by text,
            hidden_at text,
            is_indexed integer not null default 0
        )""",
        "create index messages_by_session on messages (session_id, hidden_by)",
        "create index messages_streaming on messages (state) where state = 'streaming'",
        "create index messages_not_indexed on messages (number) where is_indexed = 0",
        # `autoincrement`, because a number that was used again would meet its old words in the index.
        """create table parts (
            part_id integer primary key autoincrement,
            number integer not null references messages (number) on delete cascade,
            kind text not null,
            text text not null,
            call_id text not null default '',
            name text not null default ''
        )""",
        "create index parts_by_message on parts (number)",
        # Without an index: it only ever holds the answers that stream now, and an index would double what
        # is written for every piece.
        """create table pieces (
            piece_id integer primary key,
            number integer not null references messages (number) on delete cascade,
            kind text not null,
            text text not null
        )""",
        "create view spoken as select part_id, text from parts where kind = 'text'",
        "create table drafts (session_id text primary key not null, text text not null)",
        """create table ledger (
            ledger_id integer primary key,
            created_at text not null,
            message_id text not null,
            endpoint text not null,
            product text not null,
            model text not null,
            quantization text not null,
            state text not null,
            ttft_ms real,
            prompt_tokens_per_second real,
            tokens_per_second real,
            prompt_tokens integer,
            completion_tokens integer,
            is_estimated integer not null,
            stalls integer not null,
            retries integer not null,
            elapsed_ms real not null,
            finish_reason text not null
        )""",
        "create table metrics (name text primary key not null, value real not null)",
    ),
    # So that the end of a long path is read without the rest: its versions are found by what they answer.
    ("create index messages_by_parent on messages (parent_id)",),
    # What people add to a session: tags, where they read, names of branches. Its list begins without archived
    # ones, so that its first part is found without a look at the others.
    (
        "alter table sessions add column tags text not null default ''",
        "alter table sessions add column place text not null default ''",
        "alter table messages add column branch text not null default ''",
        "drop index sessions_in_list",
        """create index sessions_in_list on sessions (is_archived, is_pinned, updated_at)
            where deleted_at is null""",
    ),
)
"""What brings the file from version n to n + 1; a released entry is never changed."""

VERSION = len(MIGRATIONS)
"""The `user_version` that this program writes."""

_WORDS = """create virtual table words using fts5 (
    text, content = 'spoken', content_rowid = 'part_id',
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
)"""

_BEHIND_WORDS = ("words_data", "words_idx", "words_content", "words_docsize", "words_config")


@contextmanager
def all_or_nothing(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end, or leave nothing behind; other processes wait from the beginning."""
    connection.execute("begin immediate")
    try:
        yield
        connection.execute("commit")
    except BaseException:
        with suppress(sqlite3.Error):  # the first error tells more
            if connection.in_transaction:
                connection.execute("rollback")
        raise


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the tables to this program's version, in one transaction, after a copy was made of the file.

    Raises:
        StoreUnavailable: a newer lmchat wrote the file.
        sqlite3.Error, OSError: there is no room for the copy, or for the change; all is as it was.
    """
    _refuse_newer(_version(connection))
    if _version(connection) == VERSION:
        return
    with all_or_nothing(connection):
        version = _version(connection)  # again, now that no other process can change it
        _refuse_newer(version)
        if 0 < version < VERSION:
            back_up(connection, version)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"pragma user_version = {VERSION}")


def ensure_words(connection: sqlite3.Connection) -> bool:
    """Make the index of words if it is missing; false where this SQLite was built without FTS5.

    It is no migration, so that a file wanders freely between builds with and without FTS5.
    """
    try:
        connection.execute("create virtual table temp.probe using fts5 (x)")
    except sqlite3.OperationalError:
        return False
    connection.execute("drop table temp.probe")
    if not has_words(connection):
        with all_or_nothing(connection):
            if not has_words(connection):  # another process may have been faster
                connection.execute(_WORDS)
                connection.execute("update messages set is_indexed = 0 where is_indexed = 1")
    return True


def refuse_other_versions(connection: sqlite3.Connection) -> None:
    """Refuse what cannot be brought up to date, because it may only be read.

    Raises:
        StoreUnavailable: another version of lmchat wrote the file.
    """
    version = _version(connection)
    _refuse_newer(version)
    if version < VERSION:
        raise StoreUnavailable(
            "The sessions were made by an older lmchat and may not be written.",
            hint="Make the file writable once, or set LMCHAT_HOME to another folder.",
        )


def renew_words(connection: sqlite3.Connection) -> None:
    """Begin the index of words anew, empty; every message then counts as not indexed.

    A damaged FTS5 table cannot be dropped as a whole: its entry goes first, then the tables behind it.
    """
    with all_or_nothing(connection):
        connection.execute("pragma writable_schema = on")
        connection.execute("delete from sqlite_master where name = 'words'")
        connection.execute("pragma writable_schema = reset")
        for table in _BEHIND_WORDS:
            connection.execute(f"drop table if exists {table}")
    ensure_words(connection)


def has_words(connection: sqlite3.Connection) -> bool:
    """Whether the file has an index of words."""
    return connection.execute("select 1 from sqlite_master where name = 'words'").fetchone() is not None


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("pragma user_version").fetchone()[0])


def _refuse_newer(version: int) -> None:
    if version > VERSION:
        raise StoreUnavailable(
            f"The sessions were made by a newer lmchat (format {version}; this one knows {VERSION}).",
            hint="Update lmchat, or set LMCHAT_HOME to another folder.",
        )
