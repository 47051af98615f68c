"""Tables of `sessions.db`: migrations, the copy before them, and the search index."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from lmchat.errors import StoreUnavailable
from lmchat.files import OPEN_FLAGS

log = logging.getLogger(__name__)

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
    # One index of trigrams in place of two: see `ensure_index`. Its messages are indexed again.
    ("drop view spoken", "update messages set is_indexed = 0"),
)
"""Statements from version n to n + 1; a released entry is never changed."""

VERSION = len(MIGRATIONS)  # the `user_version` that this program writes

_INDEX = "text, content = '', detail = none, tokenize = 'trigram case_sensitive 1'"
"""Without texts and places, it has two thirds of the size of the text; with places 2.5 times that. Capitals
and accents are folded before: this tokenizer would keep accents."""
_INDEXES = ("trigrams", "words", "grams")  # the search index, and those up to format 3
_MODE = 0o600
COMPANIONS = ("-wal", "-shm", "-journal")  # endings of SQLite's other files


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Commit at the end, or roll back on an error; other processes wait from the beginning."""
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
    """Copy the file, then bring its tables to this version in one transaction.

    Raises `StoreUnavailable` if a newer lmchat wrote it, `sqlite3.Error` or `OSError` without room.
    """
    if _version(connection) == VERSION:
        return
    with transaction(connection):
        version = _version(connection)  # again, now that no other process can change it
        if 0 < version < VERSION:
            _back_up(connection, version)
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.execute(statement)
        connection.execute(f"pragma user_version = {VERSION}")


def ensure_index(connection: sqlite3.Connection) -> None:
    """Make the search index where it is missing."""
    query = "select 1 from sqlite_master where name = 'trigrams'"
    if connection.execute(query).fetchone() is None:
        renew_index(connection)


def copy_database(path: Path, copy: Path) -> None:
    """Copy a database that may be in use, all or nothing; raises `sqlite3.Error`, `OSError`."""
    fresh = copy.with_name(f".{copy.name}.{os.urandom(4).hex()}")
    os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | OPEN_FLAGS, _MODE))
    try:
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(fresh)) as target:
            source.backup(target)
            target.execute("pragma journal_mode = delete")  # one file, which anybody can put back
        fresh.replace(copy)
    except BaseException:
        for ending in ("", *COMPANIONS):  # a full disk keeps SQLite from removing them
            with suppress(OSError):
                fresh.with_name(fresh.name + ending).unlink()
        raise


def refuse_other_versions(connection: sqlite3.Connection) -> None:
    """Raise `StoreUnavailable` for a read-only file of another version."""
    if _version(connection) < VERSION:
        hint = "Make the file writable, or set LMCHAT_HOME to another folder."
        raise StoreUnavailable(
            "The sessions are from an older lmchat and the file is read-only.", hint=hint
        )


def _back_up(connection: sqlite3.Connection, version: int) -> None:
    """Copy the file to `sessions.db.format-N`, unless that exists."""
    path = Path(connection.execute("pragma database_list").fetchone()[2])
    copy = path.with_name(f"{path.name}.format-{version}")
    if not copy.exists():
        copy_database(path, copy)
        log.info("the session file was copied to %s before its tables are changed", copy.name)


def renew_index(connection: sqlite3.Connection) -> None:
    """Make or replace the search index, and mark all messages as not indexed."""
    with transaction(connection):
        # A damaged FTS5 table cannot be dropped as a whole: its entry goes first, then the tables behind it.
        connection.execute("pragma writable_schema = on")
        connection.execute(f"delete from sqlite_master where name in {_INDEXES}")
        connection.execute("pragma writable_schema = reset")
        for name in _INDEXES:
            for shadow in ("data", "idx", "content", "docsize", "config"):
                connection.execute(f"drop table if exists {name}_{shadow}")
        connection.execute(f"create virtual table trigrams using fts5 ({_INDEX})")
        connection.execute("update messages set is_indexed = 0 where is_indexed = 1")


def _version(connection: sqlite3.Connection) -> int:
    version = int(connection.execute("pragma user_version").fetchone()[0])
    if version > VERSION:
        message = (
            f"The sessions are from a newer lmchat (format {version}; this one knows {VERSION})."
        )
        raise StoreUnavailable(message, hint="Update lmchat, or set LMCHAT_HOME to another folder.")
    return version
