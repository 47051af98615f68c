"""Indexing what an older lmchat wrote: in batches, while the screen is open."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from lmchat.storage import database as connections
from lmchat.storage import search as searching
from lmchat.storage.database import connect
from lmchat.storage.schema import renew_index
from tests.support.chats import fill, store_at

MANY = 200


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lmchat" / "sessions.db"


@pytest.fixture
async def old(tmp_path, path):
    """A store whose messages no index holds."""
    store = store_at(tmp_path)
    await fill(store, MANY, words=100)
    await store.aclose()
    with closing(connect(path)) as connection:
        renew_index(connection)
    again = store_at(tmp_path)
    yield again
    await again.aclose()


def missing(path):
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute("select count(*) from messages where is_indexed = 0").fetchone()[0]


async def test_an_old_file_is_searched_whole_at_once_and_indexed_in_batches(old, path, monkeypatch):
    left, index_batch = [2 * MANY], searching.index_batch

    def counted(connection):
        left.append(connection.execute("select count(*) from messages where is_indexed = 0").fetchone()[0])
        return index_batch(connection)

    monkeypatch.setattr(searching, "index_batch", counted)
    assert len(await old.search("answer", limit=1000)) == MANY
    assert missing(path) == 2 * MANY
    assert await old.look_over() == ""
    assert left[-1] == missing(path) == 0
    assert len(left) > 4
    assert len(await old.search("nswer", limit=1000)) == MANY


async def test_indexing_that_another_process_holds_up_goes_on_later(old, path, monkeypatch):
    monkeypatch.setattr(connections, "BUSY_S", 0.1)
    await old.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        assert await old.look_over() == ""
        assert missing(path) == 2 * MANY
        other.execute("rollback")
    await old.look_over()
    assert missing(path) == 0
