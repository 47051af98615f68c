"""Databases that are made to harm: code in their schema, endless queries, journals and files beside them."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
from contextlib import closing, suppress
from itertools import islice

import pytest

from lmchat.domain.session import Session
from lmchat.errors import FileRefused
from lmchat.formats import foreign_database
from lmchat.formats.foreign_database import opened_database
from lmchat.formats.reading import Reader
from tests.support.foreign_chats import NOW, chats_of, foreign_file

_JOURNAL_MAGIC = bytes.fromhex("d9d505f920a163d7")
_MESSAGES = "create table message (id integer primary key, chat_id, author, text, images)"
_CHATS = "create table chat (id, name, system, model)"


def made(path, *statements):
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return path


def with_rows(path, *statements):
    """A database of oterm with one chat, made with these statements."""
    rows = (
        "insert into chat (id, name, system, model) values (1, 'Sky', '', 'tiny')",
        "insert into message (id, chat_id, author, text) values (1, 1, 'user', 'Why?')",
    )
    return made(path, *statements, *rows)


def refusal(path):
    with pytest.raises(FileRefused) as caught:
        chats_of(path)
    return caught.value.message


def test_a_function_in_a_column_cannot_take_all_memory(tmp_path):
    columns = "images, x as (hex(zeroblob(400000000))))"
    path = with_rows(tmp_path / "a.db", _MESSAGES.replace("images)", columns), _CHATS)
    with opened_database(path) as opened, pytest.raises(sqlite3.DataError, match="too big"):
        opened.rows("select * from message")
    assert refusal(path)


def test_a_view_in_the_place_of_a_table_is_not_read(tmp_path):
    endless = (
        "create view message as with recursive n(i) as (select 1 union all select i + 1 from n)"
        " select i as id, 1 as chat_id, 'user' as author, 'x' as text, null as images from n"
    )
    path = made(
        tmp_path / "a.db", _CHATS, "insert into chat values (1, 'Sky', '', 'tiny')", endless
    )
    assert "not one that lmchat knows" in refusal(path)
    with (
        opened_database(path) as opened,
        pytest.raises(sqlite3.DatabaseError, match=r"prohibited|not authorized"),
    ):
        opened.rows("select * from message")


def test_a_virtual_table_is_not_read(tmp_path):
    words = "create virtual table message using fts5(chat_id, author, text, images)"
    path = made(tmp_path / "a.db", _CHATS, words)
    with opened_database(path) as opened:
        assert "message" not in opened.tables
    assert "not one that lmchat knows" in refusal(path)


def test_triggers_and_other_tables_do_not_matter(tmp_path):
    path = with_rows(
        tmp_path / "a.db",
        _MESSAGES,
        _CHATS,
        "create virtual table words using fts5(text)",
        "create trigger t after insert on chat begin delete from message; end",
        "create index i on message (abs(chat_id))",
    )
    (session,) = chats_of(path)
    assert session.messages[0].text == "Why?"


@pytest.mark.parametrize(
    "statement",
    [
        "delete from chat",
        "attach '/tmp/other.db' as other",
        "pragma writable_schema = on",
        "create table x (y)",
        "select load_extension('/tmp/evil')",
        "vacuum into '/tmp/other.db'",
    ],
)
def test_nothing_but_reading_is_possible(tmp_path, statement):
    path = with_rows(tmp_path / "a.db", _MESSAGES, _CHATS)
    with opened_database(path) as opened, pytest.raises(sqlite3.DatabaseError):
        opened.rows(statement)


def test_the_schema_is_not_trusted_and_there_are_limits(tmp_path):
    with opened_database(with_rows(tmp_path / "a.db", _MESSAGES, _CHATS)) as opened:
        for name, value in (("trusted_schema", 0), ("cell_size_check", 1), ("query_only", 1)):
            (row,) = opened.rows(f"pragma {name}")
            assert row[name] == value
        connection = opened._connection
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH) <= 256 << 20
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_ATTACHED) == 0
        assert connection.getlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH) <= 100


def test_a_query_without_an_end_is_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign_database, "_LONGEST_QUERY_S", 0.2)
    endless = (
        "with recursive chain(i) as (select 1 union all select i + 1 from chain)"
        " select i from chain where i < 0"
    )
    path = with_rows(tmp_path / "a.db", _MESSAGES, _CHATS)
    with pytest.raises(FileRefused, match="interrupted"), opened_database(path) as opened:
        opened.rows(endless)


def hot_journal(folder):
    """A database whose program was killed while it wrote, with the journal of that."""
    path = with_rows(folder / "live.db", _MESSAGES, _CHATS)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma cache_size = 1")
        connection.execute("begin")
        for number in range(2, 400):
            connection.execute(
                "insert into message values (?, 1, 'user', ?, null)", (number, "x" * 1000)
            )
        connection.execute("update message set text = 'changed'")
        for ending in ("", "-journal"):
            shutil.copy(f"{path}{ending}", folder / f"left.db{ending}")
    return folder / "left.db"


def test_a_journal_is_played_back_in_a_copy(tmp_path):
    path = hot_journal(tmp_path)
    before = path.read_bytes()
    (session,) = chats_of(path)
    assert [message.text for message in session.messages] == ["Why?"]
    assert path.read_bytes() == before


def test_a_journal_that_names_another_file_does_not_delete_it(tmp_path):
    path = hot_journal(tmp_path)
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    name = str(victim).encode()
    page = struct.pack(">I", (1 << 30) // 4096 + 1)
    end = struct.pack(">II", len(name), sum(name)) + _JOURNAL_MAGIC
    with (tmp_path / "left.db-journal").open("ab") as journal:
        journal.write(page + name + end)
    with suppress(FileRefused):
        chats_of(path)
    assert victim.read_text() == "precious"
    assert "journal" in refusal(path)


@pytest.mark.parametrize("ending", ["-wal", "-journal", "-shm"])
@pytest.mark.parametrize("mode", ["wal", "delete"])
def test_a_pipe_beside_a_database_is_not_waited_for(tmp_path, ending, mode):
    path = with_rows(tmp_path / "a.db", f"pragma journal_mode = {mode}", _MESSAGES, _CHATS)
    os.mkfifo(f"{path}{ending}")
    assert "not a regular file" in refusal(path)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")])
@pytest.mark.parametrize("name", ["a.db", "a.json", "a.zip", "a.md"])
def test_what_is_no_file_is_refused_at_once(tmp_path, make, name):
    make(tmp_path / name)
    with pytest.raises((FileRefused, OSError)):
        list(Reader(NOW).file(tmp_path / name))


def test_each_page_may_be_damaged(tmp_path):
    made_path = foreign_file(tmp_path, "oterm.sql")
    data = made_path.read_bytes()
    for place in islice(range(100, len(data), 97), 300):
        path = tmp_path / "damaged.db"
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with suppress(FileRefused):
            assert all(isinstance(chat, Session) or chat.reason for chat in Reader(NOW).file(path))
