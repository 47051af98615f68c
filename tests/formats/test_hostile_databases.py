"""Databases that are made to harm: code in their schema, endless queries, what is no file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress

import pytest

from lmchat.errors import FileRefused
from lmchat.formats.programs import llm
from lmchat.formats.programs.llm import ForeignDatabase
from tests.support.foreign_chats import chats_of, foreign_file, read_file


def changed(folder, *statements):
    """A database of llm, changed by these statements."""
    path = foreign_file(folder, "llm.sql")
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements:
            connection.execute(statement)
    return path


def refusal(path):
    with pytest.raises(FileRefused) as caught:
        chats_of(path)
    return caught.value.message


def test_a_function_in_a_column_cannot_take_all_memory(tmp_path):
    path = changed(
        tmp_path,
        "drop table turns",
        "create table turns (id, x as (hex(zeroblob(140000000))))",
        "insert into turns values (1)",
    )
    with closing(ForeignDatabase(path)) as opened, pytest.raises(FileRefused, match="too big"):
        opened.rows("select * from turns")
    assert refusal(path)


def test_a_view_in_the_place_of_a_table_is_not_read(tmp_path):
    endless = (
        "create view turns as with recursive n(i) as (select 1 union all select i + 1 from n)"
        " select i as id from n"
    )
    path = changed(tmp_path, "drop table turns", endless)
    assert "not one that lmchat knows" in refusal(path)


def test_a_virtual_table_is_not_read(tmp_path):
    words = "create virtual table turns using fts5(id)"
    path = changed(tmp_path, "drop table turns", words)
    assert "not one that lmchat knows" in refusal(path)


def test_triggers_and_other_tables_do_not_matter(tmp_path):
    path = changed(
        tmp_path,
        "create virtual table words using fts5(text)",
        "create trigger t after insert on threads begin delete from messages; end",
        "create index i on parts (abs(position))",
    )
    assert chats_of(path)[0].messages[1].text == "Why is the sky blue?"


def test_a_query_without_an_end_is_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(llm, "_LONGEST_QUERY_S", 0.2)
    endless = (
        "with recursive chain(i) as (select 1 union all select i + 1 from chain)"
        " select i from chain where i < 0"
    )
    with (
        closing(ForeignDatabase(changed(tmp_path))) as opened,
        pytest.raises(FileRefused, match="interrupted"),
    ):
        opened.rows(endless)


def test_what_is_no_file_is_refused_at_once(tmp_path):
    for make in (os.mkfifo, os.mkdir, lambda path: path.symlink_to("/dev/zero")):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        for name in ("a.db", "a.json", "a.zip"):
            make(folder / name)
            with pytest.raises(FileRefused):
                read_file(folder / name)


def test_each_page_may_be_damaged(tmp_path):
    data = changed(tmp_path).read_bytes()
    for place in range(100, len(data), 401):
        path = tmp_path / "damaged.db"
        path.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with suppress(FileRefused):
            assert read_file(path)
