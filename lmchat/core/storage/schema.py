"""Tables and search index of `sessions.db`.

`trigrams` is the search index, whose row ids are those of `parts`; triggers write it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from lmchat.base.errors import StoreUnavailable

FIRST_VERSION = 8  # oldest format that is read; `user_version` of the tables below
MIGRATIONS: list[tuple[str, ...]] = [
    # Numbers that only grow, whatever the clock says; 0 in rows of before. `change` is that of the
    # last message of a session, `deletion` that of the last deletion.
    (
        "alter table sessions add column change integer not null default 0",
        "alter table sessions add column deletion integer not null default 0",
        "alter table messages add column deletion integer not null default 0",
        "create index sessions_by_change on sessions (change)",
    ),
    # Triggers set them, as an older lmchat that has the file open sets times alone: that of a
    # session with its leaf. A fork and an import are listed where their times are.
    (
        """create trigger session_added after insert on sessions when new.change = 0 begin
            update sessions set change = coalesce((select change from sessions
                where updated_at <= new.updated_at and session_id <> new.session_id
                order by updated_at desc limit 1), 0) where session_id = new.session_id;
        end""",
        """create trigger session_changed after update of updated_at on sessions
            when new.change = 0 or (new.change = old.change and new.leaf_id is not old.leaf_id)
            begin update sessions set change = (select max(change) + 1 from sessions)
                where session_id = new.session_id;
        end""",
        """create trigger session_deleted after update of deleted_at on sessions
            when old.deleted_at is null and new.deleted_at is not null begin
            update sessions set deletion = (select max(deletion) + 1 from sessions)
                where session_id = new.session_id;
        end""",
        """create trigger message_deleted after update of hidden_at on messages
            when new.hidden_at is not null begin
            update messages set deletion =
                (select max(deletion) + 1 from messages where session_id = new.session_id)
                where number = new.number;
        end""",
    ),
    # the last message of the path that an import brought
    ("alter table sessions add column imported_leaf text",),
]
"""For each later format, the statements that bring a file of the format before it there.

None is ever removed or changed. They only add: an older lmchat may have the file open.
"""

TABLES = ("sessions", "messages", "parts", "token_choices", "drafts", "ledger", "metrics")

_TABLES = (
    # `leaf_id` ends the active path; `place` is the reading position; `sampling` is a JSON object
    # of the session's own options, or empty.
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
        leaf_id text,
        tags text not null default '',
        place text not null default '',
        sampling text not null default ''
    )""",
    "create index sessions_by_time on sessions (updated_at)",
    # in the order of the list, whose first part has no archived sessions
    """create index sessions_in_list on sessions (is_archived, is_pinned, updated_at)
        where deleted_at is null""",
    # No foreign key on parent_id: after damage, messages may remain whose parent was lost.
    # `autoincrement` never uses a number again: the search index may still have the words of a
    # deleted message. `hidden_by` is the deleted message that hides this one: itself or one above
    # it. `hidden_at` says when a message itself was deleted.
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
        hidden_by text,
        hidden_at text,
        is_excluded integer not null default 0
    )""",
    "create index messages_by_session on messages (session_id, hidden_by)",
    # for versions, which have the same parent
    "create index messages_by_parent on messages (parent_id)",
    "create index messages_streaming on messages (state) where state = 'streaming'",
    """create table parts (
        part_id integer primary key autoincrement,
        number integer not null references messages (number) on delete cascade,
        kind text not null,
        text text not null,
        call_id text not null default '',
        name text not null default ''
    )""",
    "create index parts_by_message on parts (number)",
    # what the model could have chosen at each token, compressed, if it was asked for
    """create table token_choices (
        number integer primary key references messages (number) on delete cascade,
        data blob not null
    )""",
    "create table drafts (session_id text primary key not null, text text not null)",
    # A row for each answer (`StatsStore.add`), without its text.
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
        finish_reason text not null,
        wait_ms real
    )""",
    "create table metrics (name text primary key not null, value real not null)",
)
# Without the texts (`content = ''`) and the positions of trigrams (`detail = none`), the index
# takes two thirds of the size of the texts, not 2.5 times. `searchable` removes capitals and
# accents: this tokenizer would keep accents.
_INDEX = """create virtual table trigrams using fts5
    (text, content = '', detail = none, tokenize = 'trigram case_sensitive 1')"""
TRIGRAM_LIST = """create virtual table if not exists temp.trigram_list
    using fts5vocab (main, trigrams, row)"""  # for searches, of one connection
# SQLite cannot pass a text with damaged bytes to a function, so texts become bytes
_TRIGGERS = (
    """create trigger parts_added after insert on parts begin
        insert into trigrams (rowid, text) values (new.part_id,
            searchable(new.kind, cast(new.text as blob), cast(new.name as blob)));
    end""",
    # FTS5 needs a text to remove it
    """create trigger parts_removed after delete on parts begin
        insert into trigrams (trigrams, rowid, text) values ('delete', old.part_id,
            searchable(old.kind, cast(old.text as blob), cast(old.name as blob)));
    end""",
)


def index_anew(connection: sqlite3.Connection) -> None:
    """Run in a transaction; nothing is left of removed texts."""
    for name in ("parts_added", "parts_removed"):
        connection.execute(f"drop trigger if exists {name}")
    for name in ("", "_data", "_idx", "_docsize", "_config"):  # the others after `forget_index`
        connection.execute(f"drop table if exists trigrams{name}")
    for statement in (_INDEX, *_TRIGGERS):
        connection.execute(statement)
    connection.execute(
        """insert into trigrams (rowid, text) select part_id,
            searchable(kind, cast(text as blob), cast(name as blob)) from parts"""
    )
    # older lmchats noted in it who had folded the texts
    connection.execute("drop table if exists index_unicode")


def forget_index(connection: sqlite3.Connection) -> None:
    """Take the index out of the schema: FTS5 cannot remove one whose pages it cannot read.

    `index_anew` removes what is left of it.
    """
    connection.execute("pragma writable_schema = on")
    connection.execute("delete from sqlite_master where name = 'trigrams'")
    connection.execute("pragma writable_schema = reset")  # reads the schema again


def newest_version() -> int:
    return FIRST_VERSION + len(MIGRATIONS)


def migrate(connection: sqlite3.Connection, version: int | None = None) -> None:
    """Run in a transaction of the caller; the file may have no tables yet."""
    last = newest_version() if version is None else version
    found = version_of(connection)
    if found == 0:
        for statement in (*_TABLES, _INDEX, *_TRIGGERS):
            connection.execute(statement)
        found = FIRST_VERSION
    for statements in MIGRATIONS[found - FIRST_VERSION : last - FIRST_VERSION]:
        for statement in statements:
            connection.execute(statement)
    connection.execute(f"pragma user_version = {last}")


def has_tables(path: Path) -> bool:
    """Whether a file is a database of lmchat, of any format."""
    names: set[str] = set()
    with suppress(sqlite3.Error), closing(sqlite3.connect(path)) as connection:
        query = "select name from sqlite_master where type = 'table'"
        names = {name for (name,) in connection.execute(query)}
    return names.issuperset(TABLES)


def version_of(connection: sqlite3.Connection) -> int:
    """Return 0 for a new file; raise `StoreUnavailable` for one that this lmchat cannot read."""
    query = "select name from sqlite_master where type = 'table'"
    names = {name for (name,) in connection.execute(query)}
    if names and 2 * len(names & {*TABLES}) < len(TABLES):  # damage may have cost some names
        raise StoreUnavailable(
            "sessions.db is a database of another program.",
            next_step="Move it to another place, or set LMCHAT_HOME to another folder.",
        )
    version = int(connection.execute("pragma user_version").fetchone()[0])
    if not 0 <= version <= newest_version():
        raise StoreUnavailable(
            f"The sessions are from a newer version of lmchat (format {version}; this one reads "
            f"up to {newest_version()}).",
            next_step="Update lmchat, or set LMCHAT_HOME to another folder. If lmchat is up to "
            "date, sessions.db is damaged: rename it, and start lmchat again.",
        )
    if version != 0 and version < FIRST_VERSION:
        raise StoreUnavailable(
            f"The sessions are from an old version of lmchat (format {version}; this one reads "
            f"{FIRST_VERSION} and later).",
            next_step="Run `lmchat export --all FOLDER --format json` with that version, then "
            "`lmchat import FOLDER` with this one and LMCHAT_HOME set to another folder.",
        )
    return version
