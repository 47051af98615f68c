"""Copies of the sessions' file that nobody would look for."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing

import pytest

from lmchat.storage.repair import remove_old_copies
from lmchat.storage.schema import copy_database
from tests.storage.test_store_disk import no_room

LONG_AGO_S = 1_000_000_000


@pytest.mark.parametrize(
    "name", ["sessions.db.format-1", ".sessions.db.format-1.0a1b2c3d", ".sessions.db.backup-2026-11-20.0a1b"]
)
def test_an_old_copy_goes_also_where_a_kill_left_half_of_it(tmp_path, name):
    old, fresh = tmp_path / name, tmp_path / f"{name}-journal"
    for one in (old, fresh):
        one.write_text("what was deleted since")
    os.utime(old, (LONG_AGO_S, LONG_AGO_S))
    remove_old_copies(tmp_path / "sessions.db", days=30)
    assert not old.exists()
    assert fresh.exists()  # another process may be making it


@pytest.mark.parametrize(("size", "room"), [(300_000, 1 << 17), (100, 1 << 14)])
def test_a_copy_for_which_there_is_no_room_leaves_nothing_behind(tmp_path, size, room):
    """In the last case the copy is made, and there is no room for what SQLite wants beside it."""
    path = tmp_path / "sessions.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("pragma journal_mode = wal")
        connection.execute("create table t as select randomblob(?) as b", (size,))
        connection.execute("pragma wal_checkpoint(truncate)")
        with no_room(room), pytest.raises((sqlite3.Error, OSError)):
            copy_database(path, tmp_path / "sessions.db.format-1")
        assert [path.name for path in tmp_path.iterdir() if "format" in path.name] == []
