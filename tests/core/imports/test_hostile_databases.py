"""Databases that are made to harm: code in their schema, endless queries, what is no file."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing, suppress

import pytest

from lmchat.base.errors import FileRefused
from tests.core.imports.foreign_chats import chats_of, foreign_file, read_file


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
    assert "too big" in refusal(path)


def test_a_view_or_a_virtual_table_in_the_place_of_a_table_is_not_read(tmp_path):
    endless = (
        "with recursive n(i) as (select 1 union all select i + 1 from n) select i as id from n"
    )
    for table in ("turns", "fragments"):
        for other in (f"view {table} as {endless}", f"virtual table {table} using fts5(id)"):
            folder = tmp_path / f"{other[:4]} {table}"
            folder.mkdir()
            path = changed(folder, f"drop table {table}", f"create {other}")
            assert "not one that lmchat knows" in refusal(path)


@pytest.mark.posix
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
