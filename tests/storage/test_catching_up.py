"""Indexing what an older lmchat, or one without FTS5, wrote: in batches, behind all else."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from itertools import pairwise

import pytest

from lmchat.storage import database as connections
from lmchat.storage import search as searching
from tests.support.chats import header, say, store_at

MANY = 200
TEXT = "Überprüfungsvermerk " * 40


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lmchat" / "sessions.db"


@pytest.fixture
async def old(tmp_path, monkeypatch):
    """A file whose messages no index holds, as one that was written without FTS5."""
    with monkeypatch.context() as patched:
        patched.setattr(connections, "ensure_index", lambda _: False)
        store = store_at(tmp_path)
        session, parent = header("Talk"), None
        for number in range(MANY):
            parent = await say(store, session, f"{TEXT}{number}", parent)
        await store.aclose()
    return session


def missing(path):
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute("select count(*) from messages where is_indexed = 0").fetchone()[0]


async def test_an_old_file_is_searched_whole_at_once_and_indexed_in_batches_behind(
    old, path, tmp_path, monkeypatch
):
    may_begin, index_batch = threading.Event(), searching.index_batch
    monkeypatch.setattr(searching, "index_batch", lambda c: may_begin.wait(10) and index_batch(c))
    store = store_at(tmp_path)
    opened = store.open()
    may_begin.set()
    await opened
    left = [missing(path)]
    assert len(await store.search("vermerk", limit=1000)) == MANY
    while left[-1]:
        await store.open()
        left.append(missing(path))
    assert max(before - after for before, after in pairwise(left)) <= 3 * 82
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
    assert len(left) > 2


async def test_a_batch_waits_for_no_other_process_and_nobody_is_told(old, path, tmp_path, caplog):
    store = store_at(tmp_path)
    await store.open()
    await store.aclose()
    left = missing(path)
    store = store_at(tmp_path)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        await store.open()
        assert len(await store.search("vermerk", limit=1000)) == MANY
        assert missing(path) == left > 0
        other.execute("rollback")
    assert (store.notice, [record for record in caplog.records if record.levelname == "WARNING"]) == ("", [])
    await store.aclose()
