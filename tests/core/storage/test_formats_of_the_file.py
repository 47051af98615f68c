"""A `sessions.db` of any format since 8 is opened, and shows what it showed in its own version.

`data/format-N` has a file as the last lmchat with this format wrote it, and what that printed of
it; both stay as they are for ever.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sqlite3
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from lmchat.base.errors import StoreUnavailable
from lmchat.core.storage import schema
from tests.support.chats import START, faults_in, fill, say, start_session, store_at
from tests.support.programs import Inside

DATA = Path(__file__).parent / "data"
FORMATS = [int(folder.name.removeprefix("format-")) for folder in DATA.glob("format-*")]
COLOUR = "alter table sessions add column colour text not null default 'grey'"
SHADE = "create table shades (session_id text primary key not null, shade real)"


@pytest.fixture
def home(tmp_path):
    """Put the file of a format into the folder of an lmchat."""

    def copied(version: int) -> Path:
        folder = shutil.copytree(DATA / f"format-{version}", tmp_path / "lmchat")
        (folder / "sessions.sqlite").rename(folder / "sessions.db")
        return folder

    return copied


def printed(cli) -> dict[str, object]:
    """All that commands print of the sessions and stats."""
    found = {
        name: json.loads(cli(*words, "--json").stdout)
        for name, words in (
            ("sessions", ("sessions",)),
            ("trash", ("sessions", "--trash")),
            ("stats", ("stats",)),
        )
    }
    listed = [*found["sessions"]["data"], *found["trash"]["data"]]
    for session_id in (row["id"] for row in listed):
        found[session_id] = json.loads(cli("export", session_id, "--format", "json").stdout)
    # the time at which an answer was found unfinished
    text = re.sub(
        r'"updated_at": "(?!2026-(03|11-20))[^"]*"', '"updated_at": "NOW"', json.dumps(found)
    )
    return json.loads(text)


def test_a_file_of_each_format_shows_what_it_showed(home, tmp_path, monkeypatch):
    assert [*range(schema.FIRST_VERSION, schema.newest_version() + 1)] == sorted(FORMATS)
    monkeypatch.setenv("TZ", "UTC")
    for version in FORMATS:
        folder = home(version)
        cli = Inside(home=tmp_path, env={"LMCHAT_HOME": str(folder)})
        assert printed(cli) == json.loads((folder / "shown.json").read_text(encoding="utf-8"))
        shutil.rmtree(folder)


@pytest.fixture
def next_format(monkeypatch):
    """An lmchat with the next two formats; return the newest."""
    monkeypatch.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, (COLOUR,), (SHADE,)])
    return schema.newest_version()


def format_of(path):
    with closing(sqlite3.connect(path)) as raw:
        (version,) = raw.execute("pragma user_version").fetchone()
        columns = {name for _, name, *_ in raw.execute("pragma table_info(sessions)")}
    return version, "colour" in columns


@pytest.mark.parametrize("version", FORMATS)
async def test_an_older_file_gets_each_later_format_once_and_keeps_all(
    home, tmp_path, next_format, version
):
    path = home(version) / "sessions.db"
    stores = [store_at(tmp_path) for _ in range(3)]
    found = await asyncio.gather(*(store.list_sessions() for store in stores))
    assert len({*map(str, found)}) == 1
    assert found[0][0].title == "Plan for the garden & more"
    assert format_of(path) == (next_format, True)
    await start_session(stores[0], "hello")
    assert len(await stores[1].list_sessions()) == len(found[0]) + 1
    for store in stores:
        assert store.notice == ""
        await store.aclose()
    assert faults_in(path) == ""


@pytest.mark.parametrize("fault", ["alter table nothing add column x", "select * from nothing"])
async def test_a_file_keeps_its_format_if_a_later_one_cannot_be_reached(
    tmp_path, monkeypatch, fault
):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 3)
        await store.daily_check()
        await start_session(store, "after the copy")
    path = tmp_path / "lmchat" / "sessions.db"
    before = format_of(path)
    with monkeypatch.context() as patched:
        patched.setattr(schema, "MIGRATIONS", [*schema.MIGRATIONS, (COLOUR, fault)])
        async with aclosing(store_at(tmp_path)) as store:
            with pytest.raises(StoreUnavailable):
                await store.list_sessions()
    assert format_of(path) == before
    async with aclosing(store_at(tmp_path)) as store:
        assert len(await store.list_sessions()) == 4
        assert store.notice == ""


async def test_what_an_older_lmchat_does_in_a_file_that_it_has_open_was_done_last(tmp_path):
    """It sets times alone, and its clock may be behind."""
    path = tmp_path / "lmchat" / "sessions.db"
    async with aclosing(store_at(tmp_path)) as store:
        (one, asked), (two, _), (three, _) = [
            await start_session(store, text) for text in ("one", "two", "three")
        ]
        more = await say(store, one, "more", asked)
        await store.delete_message(one.session_id, more.message_id)
        await store.update_session(three.session_id, {"deleted_at": START})
        times = {f"at_{hour}": f"2026-11-20T0{hour}:00:00.000000+00:00" for hour in (5, 6, 7)}
        with closing(sqlite3.connect(path, isolation_level=None)) as older:

            def write(statement, wanted):
                older.execute(statement, times | {"id": wanted})

            said = "update sessions set leaf_id = 'm', updated_at = :at_{} where session_id = :id"
            for hour, session_id in ((5, two.session_id), (6, one.session_id)):
                write(said.format(hour), session_id)
                assert await store.find_id("last") == session_id
            write(
                "insert into sessions (session_id, created_at, updated_at) values (:id, :at_7, :at_7)",
                "fork",
            )
            assert await store.find_id("last") == "fork"
            write(
                "update messages set hidden_by = :id, hidden_at = :at_5 where message_id = :id",
                asked.message_id,
            )
            assert await store.last_deleted_id(one.session_id) == asked.message_id
            write("update sessions set deleted_at = :at_5 where session_id = :id", two.session_id)
        trash = await store.list_sessions(is_trash=True)
        assert [session.title for session in trash] == ["two", "three"]
