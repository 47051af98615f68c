from __future__ import annotations

import os
import sqlite3
from contextlib import aclosing, closing
from datetime import timedelta

import pytest

from lmchat.base.errors import StoreDamaged
from lmchat.core.storage.backup import copy_database, daily_copies
from lmchat.core.storage.opening import connect
from lmchat.core.storage.store import Store
from tests.support.chats import (
    fill,
    header,
    say,
    store_at,
)
from tests.support.faults import no_room, spoil
from tests.support.modes import is_private
from tests.support.programs import PYTHON, run


def copies(tmp_path):
    return sorted(path.name for path in (tmp_path / "lmchat").glob("sessions.db.backup-*"))


async def test_a_sound_file_is_copied_once_a_day_and_three_copies_are_kept(tmp_path, store, clock):
    await say(store, header(), "hello")
    for day in range(20, 25):
        await store.daily_check()
        assert copies(tmp_path)[-1] == f"sessions.db.backup-2026-11-{day}"
        clock.moment += timedelta(days=1)
    assert copies(tmp_path) == [f"sessions.db.backup-2026-11-{day}" for day in (22, 23, 24)]
    copy = tmp_path / "lmchat" / copies(tmp_path)[-1]
    before = copy.stat().st_mtime_ns
    clock.moment -= timedelta(days=1)
    await store.daily_check()
    assert copy.stat().st_mtime_ns == before
    assert is_private(copy)
    with closing(sqlite3.connect(copy)) as raw:
        assert raw.execute("select text from parts").fetchall() == [("hello",)]


async def test_what_a_killed_lmchat_has_copied_does_not_stay(tmp_path, store, clock):
    """Whoever quits during the copy leaves as much: each day, as much as the whole file."""
    await say(store, header(), "hello")
    await store.open()
    killed = f"""
import os, sys
from datetime import datetime
from pathlib import Path
from lmchat.core.storage.backup import back_up
Path.replace = lambda *_: os._exit(9)
back_up(Path({str(store.database.path)!r}), datetime.fromisoformat("{clock.moment}"))
"""
    assert run([PYTHON, "-c", killed]).returncode == 9
    folder = tmp_path / "lmchat"
    assert list(folder.glob(".*backup*"))
    clock.moment += timedelta(days=1)
    await store.daily_check()
    assert (copies(tmp_path), list(folder.glob(".*backup*"))) == (
        ["sessions.db.backup-2026-11-21"],
        [],
    )


async def test_a_start_with_a_wrong_clock_deletes_nothing_and_is_told(tmp_path, clock):
    """A flat battery: some starts in 2035 (or in 1970), then the right date again."""
    right = clock.moment
    for year in (2035, 1970):
        folder = tmp_path / str(year)
        clock.moment = right
        session = await in_trash(folder, clock)
        before = copies(folder)
        assert len(before) == 3
        for hour in range(2):  # a second start with the wrong clock is not taken for a proof
            clock.moment = right.replace(year=year, hour=hour)
            async with aclosing(store_at(folder, clock)) as store:
                notice = await store.open()
                assert (str(year) in notice, "2026-11-2" in notice) == (hour == 0, hour == 0)
                await store.daily_check()
                assert [one.session_id for one in await store.list_sessions(is_trash=True)] == [
                    session.session_id
                ]
        wrong = folder / "lmchat" / f"sessions.db.backup-{year}-11-20"
        os.utime(wrong, (clock.moment.timestamp(), clock.moment.timestamp()))
        assert set(before) < set(copies(folder))

        clock.moment = right + timedelta(days=3)
        async with aclosing(store_at(folder, clock)) as store:
            assert f"last used on {year}" in await store.open()
            await store.daily_check()
            assert "2026-11-23" in str(daily_copies(folder / "lmchat/sessions.db", clock.moment)[0])
        for day in range(4, 9):
            clock.moment = right + timedelta(days=day)
            async with aclosing(store_at(folder, clock)) as store:
                await store.open()
                assert len(await store.list_sessions(is_trash=True)) == 1
                await store.daily_check()
        assert copies(folder) == [f"sessions.db.backup-2026-11-{day}" for day in (26, 27, 28)]
        assert store.notice == ""

        # the trash still expires, also after a long holiday
        for days, is_left in ((99, True), (101, True), (103, False)):
            clock.moment = right + timedelta(days=days)
            async with aclosing(store_at(folder, clock)) as store:
                assert bool(await store.open()) == (days == 99)
                assert bool(await store.list_sessions(is_trash=True)) == is_left


async def in_trash(folder, clock):
    """Write a session of the trash, and three daily copies of it."""
    async with aclosing(store_at(folder, clock)) as store:
        session = header("deleted")
        await say(store, session, "hello")
        await store.update_session(session.session_id, {"deleted_at": clock()})
        for _ in range(3):
            await store.daily_check()
            clock.moment += timedelta(days=1)
        return session


async def test_damage_that_nothing_has_met_yet_is_told_and_no_copy_made_of_it(tmp_path, clock):
    async with aclosing(store_at(tmp_path, clock)) as store:
        await fill(store, 200)
        await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    spoil(path)
    before = path.read_bytes()
    clock.moment += timedelta(days=1)
    async with aclosing(Store(path, clock=clock)) as store:
        assert await store.open() == ""
        with pytest.raises(StoreDamaged):
            await store.daily_check()
        assert store.notice.startswith("sessions.db is damaged. `lmchat sessions recover`")
    assert copies(tmp_path) == ["sessions.db.backup-2026-11-20"]
    assert len(before) == path.stat().st_size


@pytest.mark.parametrize(("size", "room"), [(300_000, 1 << 17), (100, 1 << 14)])
def test_a_copy_for_which_there_is_no_room_leaves_nothing_behind(tmp_path, size, room):
    """In the last case the copy is made, and there is no room for what SQLite wants beside it."""
    path = tmp_path / "sessions.db"
    with closing(connect(path)) as connection:
        connection.execute("insert into drafts values ('', hex(zeroblob(?)))", (size,))
        with no_room(room), pytest.raises((sqlite3.Error, OSError)):
            copy_database(path, tmp_path / "sessions.db.copy")
        assert [path.name for path in tmp_path.iterdir() if "copy" in path.name] == []
