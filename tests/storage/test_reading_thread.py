from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from contextlib import closing, suppress

import pytest

from lmchat.errors import LMChatError
from lmchat.storage import database as connections
from lmchat.storage import search as searching
from tests.support.chats import header, reply, say, store_at


class Held:
    """A search that stays in the middle of its work until it is let go, or nobody wants it any more."""

    def __init__(self, monkeypatch):
        self.has_begun, self.may_end = threading.Event(), threading.Event()
        self.error: sqlite3.Error | None = None
        self.threads = []
        self._search = searching.search
        monkeypatch.setattr(searching, "search", self.search)

    def search(self, connection, query, limit):
        self.threads.append(threading.current_thread().name)
        if query != "held":
            return self._search(connection, query, limit)
        connection.create_function("is_held", 0, lambda: not self.may_end.wait(0.001))
        self.has_begun.set()
        try:
            connection.execute(
                "with recursive steps (n) as (select 1 union all select n + 1 from steps where is_held()) "
                "select count(*) from steps"
            ).fetchone()
        except sqlite3.Error as error:
            self.error = error
            raise
        return ()

    async def begin(self, store):
        task = asyncio.ensure_future(store.search("held"))
        assert await asyncio.to_thread(self.has_begun.wait, 15)
        return task


@pytest.fixture
def held(monkeypatch):
    one = Held(monkeypatch)
    yield one
    one.may_end.set()


async def test_while_a_search_runs_prompts_answers_and_lists_are_served(store, held):
    session = header()
    asked = await say(store, session, "hello")
    task = await held.begin(store)
    await reply(store, session, "hi", asked)
    assert len(await store.list_sessions()) == 1
    assert not task.done()
    held.may_end.set()
    assert await task == ()
    assert set(held.threads) == {"lmchat-search_0"}


async def test_a_search_that_nobody_wants_any_more_ends_and_the_next_one_is_served(store, held):
    await say(store, header(), "hello")
    task = await held.begin(store)
    task.cancel()
    assert len(await store.search("hello")) == 1
    with suppress(asyncio.CancelledError):
        await task
    assert held.error is not None
    assert held.error.sqlite_errorname == "SQLITE_INTERRUPT"


async def test_an_end_does_not_wait_for_a_search(store, held):
    await say(store, header(), "hello")
    task = await held.begin(store)
    await store.aclose()
    with pytest.raises(LMChatError, match="closed"):
        await task


async def test_what_was_just_written_is_found_without_the_thread_that_writes(store, held):
    session, parent = header(), await say(store, header(), "漢字 🙂")
    for number in range(100):
        parent = await say(store, session, f"word{number}end", parent)
        (hit,) = await store.search(f"d{number}en")
        assert hit.message_id == parent.message_id
    for query in ("字", "🙂", "ord1", "word99end role:you title:word", "before:2000-01-01", "has:code", "qq"):
        await store.search(query)
    assert set(held.threads) == {"lmchat-search_0"}


async def test_the_first_call_may_be_a_search(tmp_path):
    store = store_at(tmp_path)
    assert await store.search("anything") == ()
    await store.aclose()


async def test_a_file_that_was_removed_is_not_searched_any_more(tmp_path, store):
    await say(store, header(), "hello")
    assert len(await store.search("hello")) == 1
    shutil.rmtree(tmp_path / "lmchat")
    assert await store.search("hello") == ()
    await say(store, header(), "hello again")
    assert len(await store.search("hello")) == 1


async def test_without_a_log_that_is_written_ahead_a_search_goes_with_the_other_jobs(
    tmp_path, monkeypatch, held
):
    def no_wal(connection):
        connection.execute("pragma journal_mode = delete")
        return False

    monkeypatch.setattr(connections, "_use_wal", no_wal)
    store = store_at(tmp_path)
    await say(store, header(), "hello")
    assert len(await store.search("ell")) == 1
    assert held.threads == ["lmchat-disk_0"]
    await store.aclose()


async def test_a_damaged_file_is_mended_by_a_search_too(tmp_path, store):
    await say(store, header(), "hello")
    await store.aclose()
    path = tmp_path / "lmchat" / "sessions.db"
    path.write_bytes(b"no database" * 1000)
    again = store_at(tmp_path)
    assert await again.search("hello") == ()
    assert "damaged" in again.notice
    await again.aclose()


async def test_a_search_that_comes_after_the_end_is_one_clear_error(store):
    await store.aclose()
    with pytest.raises(LMChatError, match="closed"):
        await store.search("hello")


async def test_a_search_alone_leaves_no_log_behind(tmp_path, store):
    await say(store, header(), "hello 漢字")
    await store.aclose()
    for query in ("ell", "字"):
        again = store_at(tmp_path)
        assert len(await again.search(query)) == 1
        await again.aclose()
        assert [path.name for path in (tmp_path / "lmchat").iterdir()] == ["sessions.db"]


async def test_nothing_is_left_open_beside_the_file(tmp_path, store):
    await say(store, header(), "hello")
    await store.search("hello")
    await store.aclose()
    assert [path.name for path in (tmp_path / "lmchat").iterdir()] == ["sessions.db"]
    with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as raw:
        raw.execute("begin exclusive")
