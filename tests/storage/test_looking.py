"""The daily look at the whole file: damage is found before anybody needs what it has hit."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest

from lmchat.domain.telemetry import Metrics
from lmchat.errors import StoreUnavailable
from lmchat.storage import looking
from lmchat.storage.store import SessionStore
from tests.support.chats import Clock, fill, header, say, store_at


@pytest.fixture
def looks(monkeypatch):
    """The tables that were looked at."""
    found, is_sound = [], looking._is_sound

    def noting(connection, *, table):
        found.append(table)
        return is_sound(connection, table=table)

    monkeypatch.setattr(looking, "_is_sound", noting)
    return found


def spoil(path, table):
    """Overwrite what lies below the root of a table, on the disk only."""
    with closing(sqlite3.connect(path)) as raw:
        (root,) = raw.execute("select rootpage from sqlite_master where name = ?", (table,)).fetchone()
        (size,) = raw.execute("pragma page_size").fetchone()
    data = bytearray(path.read_bytes())
    first = (root - 1) * size
    child = int.from_bytes(data[first + 8 : first + 12], "big")  # the last page below it
    assert data[first] == 5
    assert 0 < child < len(data) // size
    data[(child - 1) * size : child * size] = b"\xa5" * size
    path.write_bytes(data)


async def test_a_sound_file_is_looked_at_once_a_day_and_told_nothing_of(store, clock, looks):
    await say(store, header(), "hello")
    assert await store.look_over() == ""
    assert {"sessions", "messages", "parts"} < set(looks)
    looks.clear()
    clock.moment += timedelta(hours=23)
    assert await store.look_over() == ""
    assert looks == []
    clock.moment += timedelta(hours=2)
    await store.look_over()
    assert looks
    looks.clear()
    clock.moment -= timedelta(days=400)  # the clock was wrong
    await store.look_over()
    assert looks
    assert await store.metrics.load() == Metrics()


async def test_damage_that_nothing_has_met_yet_is_mended_and_told(tmp_path, clock):
    store = store_at(tmp_path, clock)
    await fill(store, 200)
    session = header("newest")
    asked = await say(store, session, "still here")
    await store.aclose()
    path = tmp_path / "lmchat" / "sessions.db"
    spoil(path, "parts")
    store = SessionStore(path, clock=clock)
    assert await store.open() == ""
    notice = await store.look_over()
    assert "sessions.db was damaged: it is kept as sessions.db.damaged-" in notice
    assert await store.check() == ""
    kept = await store.list_sessions()
    assert len(kept) == 201
    assert (await store.open_session(session.session_id)).messages[0].message_id == asked.message_id
    assert len(list(path.parent.glob("sessions.db.damaged-*[0-9]"))) == 1
    assert await store.look_over() == ""  # one file was set aside, not two
    assert len(list(path.parent.glob("sessions.db.damaged-*[0-9]"))) == 1
    await store.aclose()


async def test_a_prompt_is_kept_while_the_look_goes_on(store, looks, monkeypatch):
    session, is_sound = header(), looking._is_sound
    asked = await say(store, session, "first")
    loop, begun, go_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def held(connection, *, table):
        loop.call_soon_threadsafe(begun.set)
        asyncio.run_coroutine_threadsafe(go_on.wait(), loop).result(10)
        return is_sound(connection, table=table)

    monkeypatch.setattr(looking, "_is_sound", held)
    look = asyncio.create_task(store.look_over())
    await begun.wait()
    second = await say(store, session, "second", asked)
    assert (await store.open_session(session.session_id)).messages == (asked, second)
    go_on.set()
    assert await look == ""


async def test_a_file_too_large_to_read_beside_is_left_to_the_doctor(store, looks, monkeypatch):
    monkeypatch.setattr(looking, "_LARGEST_BYTES", 100)
    await say(store, header(), "hello")
    assert await store.look_over() == ""
    assert looks == []


async def test_a_look_where_nothing_can_be_opened_is_an_error_as_all_else(tmp_path):
    (tmp_path / "lmchat").write_text("in the way")
    store = store_at(tmp_path, Clock())
    with pytest.raises(StoreUnavailable):
        await store.look_over()
    await store.aclose()
