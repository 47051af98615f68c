"""Indexing behind what is written: in batches, after whatever waits, and never in anybody's way."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing

import pytest

from lmchat.storage import connection as connections
from lmchat.storage import database, grams, words
from lmchat.storage.connection import connect
from lmchat.storage.grams import reach
from tests.support.chats import header, say, store_at

MANY = 200


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lmchat" / "sessions.db"


@pytest.fixture
async def old(tmp_path, path, monkeypatch):
    """A file whose messages no index holds, as one that was written without FTS5."""
    with monkeypatch.context() as patched:
        patched.setattr(connections, "ensure_words", lambda _: False)
        store = store_at(tmp_path)
        session, parent = header("Talk"), None
        for number in range(MANY):
            parent = await say(store, session, f"Überprüfungsvermerk {number}", parent)
        await store.aclose()
    return session


def reach_of(path):
    with closing(connect(path)) as connection:
        return reach(connection)


def missing(path):
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute("select count(*) from messages where is_indexed = 0").fetchone()[0]


class Batches:
    """What is indexed behind the store, batch by batch, once it may be."""

    def __init__(self, monkeypatch):
        self.may_begin = threading.Event()
        self.sizes = []
        self.errors = []
        monkeypatch.setattr(database, "catch_up", self.catch_up)

    def catch_up(self, connection):
        if not self.may_begin.is_set():
            return False
        ask = "select count(*) from messages where is_indexed = 0"
        before = connection.execute(ask).fetchone()[0]
        try:
            return words.catch_up(connection)
        except sqlite3.OperationalError as error:
            self.errors.append(error.sqlite_errorname)
            raise
        finally:
            self.sizes.append(before - connection.execute(ask).fetchone()[0])


@pytest.fixture
def batches(monkeypatch):
    return Batches(monkeypatch)


async def test_an_old_file_is_searched_whole_at_once_and_indexed_in_batches_behind(
    old, path, tmp_path, batches
):
    store = store_at(tmp_path)
    assert len(await store.search("vermerk", limit=1000)) == MANY
    assert missing(path) == MANY
    batches.may_begin.set()
    while missing(path) or reach_of(path) < MANY - 64:
        await store.open()
    assert max(batches.sizes) <= 40
    hits = await store.search("überprüfungsv", limit=1000)
    assert len(hits) == len(await store.search("ermerk", limit=1000)) == MANY
    assert {hit.match for hit in hits} == {"Überprüfungsvermerk"}
    await store.aclose()


async def test_each_run_indexes_a_batch_however_short_it_is(old, path, tmp_path):
    left = [missing(path)]
    while left[-1]:
        store = store_at(tmp_path)
        await store.open()
        await store.aclose()
        left.append(missing(path))
        assert left[-1] < left[-2]


async def test_a_batch_waits_for_no_other_process_and_nobody_is_told(old, path, tmp_path, batches, caplog):
    store = store_at(tmp_path)
    await store.open()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        batches.may_begin.set()
        await store.open()
        await store.open()
        assert (batches.errors[0], missing(path)) == ("SQLITE_BUSY", MANY)
        other.execute("rollback")
    assert (store.notice, [record for record in caplog.records if record.levelname == "WARNING"]) == ("", [])
    while missing(path):
        await store.open()
    await store.aclose()


async def test_few_new_texts_wait_and_cost_no_write(store, path):
    session, parent = header(), None
    for number in range(MANY):
        parent = await say(store, session, f"word{number}", parent)
        with closing(sqlite3.connect(path)) as raw:
            waiting = raw.execute(
                "select count(*) from parts where part_id > (select ifnull(max(id), 0) from grams_docsize)"
            ).fetchone()[0]
        assert waiting <= 65
    assert len(await store.search("ord1", limit=1000)) == 111


async def test_long_texts_are_indexed_a_few_at_a_time(store, path):
    session, parent = header(), None
    for _ in range(66):
        parent = await say(store, session, "wortreich " * 5000, parent)
    with closing(connect(path)) as connection:
        begin = reach(connection)
        grams.index_batch(connection)
        assert 0 < reach(connection) - begin <= 2
