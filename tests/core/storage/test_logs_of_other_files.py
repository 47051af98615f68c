"""Logs that a kill has left, beside files that were restored, synchronised or copied since."""

from __future__ import annotations

import asyncio
import random
import shutil
import sqlite3
import sys
from contextlib import aclosing, closing
from subprocess import PIPE

import pytest

from lmchat.core.library.importer import Importer, ImportOutcome
from lmchat.core.storage.opening import connect, transaction
from tests.support.chats import faults_in, fill, start_session, store_at


def put(saved, folder):
    """Put a saved state of the file, with or without its log, over what is there."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(saved.iterdir()):  # the log last
        shutil.copyfile(file, folder / file.name)


def keep(folder, saved, *endings):
    saved.mkdir()
    for ending in ("", *endings):
        shutil.copy(folder / f"sessions.db{ending}", saved)
    return saved


async def write(folder, title):
    async with aclosing(store_at(folder)) as store:
        await start_session(store, title)


def keep_killed(folder, saved):
    """Keep what `kill -9` leaves in the middle of a commit: half of it is in the file."""
    with closing(connect(folder / "sessions.db")) as writer:
        writer.execute("pragma cache_size = 2")  # pages: the others are written at once
        with transaction(writer):
            writer.execute("update sessions set title = 'half written' || hex(randomblob(200))")
            writer.execute("update parts set text = hex(randomblob(900))")
            keep(folder, saved, "-journal")
            writer.execute("rollback")
            writer.execute("begin")
    assert b"half written" in (saved / "sessions.db").read_bytes()
    return saved


def keep_older(folder, saved):
    """Keep what `kill -9` of an older lmchat leaves: its last session is in its log alone."""
    with closing(sqlite3.connect(folder / "sessions.db")) as older:
        older.execute("pragma journal_mode = wal")
        with older:
            older.execute("pragma wal_checkpoint")
            older.execute(
                "insert into sessions (session_id, title, created_at, updated_at) select "
                "hex(randomblob(8)), 'In the log', created_at, updated_at from sessions limit 1"
            )
        keep(folder, saved, "-shm", "-wal")
        with older:
            older.execute("delete from sessions where title = 'In the log'")
        older.execute("pragma journal_mode = delete")
    return saved


async def opened(folder):
    """Return the titles of the sessions and the notice."""
    async with aclosing(store_at(folder)) as store:
        await store.check()
        titles = {session.title for session in await store.list_sessions()}
        await start_session(store, "more")
        notice = store.notice
    assert faults_in(folder / "lmchat" / "sessions.db") == ""
    return titles, notice


@pytest.fixture
async def states(tmp_path):
    """States of a file by name, and the titles of their sessions."""
    home, folder = tmp_path / "home", tmp_path / "home" / "lmchat"
    async with aclosing(store_at(home)) as store:
        await fill(store, 30)
    first = {f"prompt {number}" for number in range(30)}
    made = {"first": (keep(folder, tmp_path / "first"), first)}
    await write(home, "second")
    made["second"] = keep(folder, tmp_path / "second"), first | {"second"}
    made["killed"] = keep_killed(folder, tmp_path / "killed"), first | {"second"}
    made["older"] = keep_older(folder, tmp_path / "older"), first | {"second", "In the log"}
    # another machine has gone on from the first state
    put(tmp_path / "first", folder)
    await write(home, "elsewhere")
    made["elsewhere"] = keep(folder, tmp_path / "elsewhere"), first | {"elsewhere"}
    return made


@pytest.mark.parametrize("killed", ["killed", "older"])
async def test_a_log_is_read_into_its_own_file_alone(tmp_path, states, killed):
    saved, titles = states[killed]
    put(saved, tmp_path / "own" / "lmchat")
    assert await opened(tmp_path / "own") == (titles, "")
    outcome = ImportOutcome()
    async with aclosing(store_at(tmp_path / "imported")) as store:
        await Importer(store).import_files([str(saved / "sessions.db")], outcome)
    imported = {chat.header.title for chat in outcome.chats}
    assert (imported, outcome.refused) == (titles - {"In the log"}, [])  # it has no messages
    for other in ("first", "second", "elsewhere"):
        replacing, titles = states[other]
        home = tmp_path / f"{other} over"
        put(saved, home / "lmchat")
        await asyncio.sleep(0.01)  # the time of a file tells which was put there later
        put(replacing, home / "lmchat")
        found, notice = await opened(home)
        assert found == titles
        if (killed, other) != ("killed", "second"):  # of which it is
            [copy, log] = sorted((home / "lmchat").glob("sessions.db.damaged-*"))
            assert f"It is kept beside {copy.name}, a copy of the file." in notice
            assert copy.read_bytes() == (replacing / "sessions.db").read_bytes()
            assert log.read_bytes() in [one.read_bytes() for one in saved.iterdir()]
        assert await opened(home) == (titles | {"more"}, "")


_OLDER = """
import sqlite3, sys
older = sqlite3.connect(sys.argv[1], isolation_level=None)
older.execute("pragma journal_mode = wal")
older.execute("update sessions set title = 'By the older one'")
print("open", flush=True)
sys.stdin.read()
"""


@pytest.mark.posix  # Windows renames no open file
async def test_an_older_lmchat_that_runs_and_a_newer_one_write_into_one_file(tmp_path):
    await write(tmp_path, "title")
    file = tmp_path / "lmchat" / "sessions.db"
    command = [sys.executable, "-c", _OLDER, str(file)]
    older = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE)
    assert older.stdout is not None
    assert await older.stdout.readline() == b"open\n"
    await asyncio.sleep(0.01)
    file.touch()  # it has just moved its log into the file
    async with aclosing(store_at(tmp_path)) as store:
        await start_session(store, "By the newer one")
        titles = {session.title for session in await store.list_sessions()}
        assert (titles, store.notice) == ({"By the older one", "By the newer one"}, "")
        older.kill()
        await older.wait()
    assert await opened(tmp_path) == (titles, "")


@pytest.mark.slow  # hundreds of starts
@pytest.mark.parametrize("seed", range(40))
async def test_after_kills_copies_and_restores_in_any_order_all_of_the_file_is_there(
    tmp_path, seed
):
    dice = random.Random(seed)  # noqa: S311 - repeats
    homes = [tmp_path / name for name in ("one", "two")]
    known = []  # states with the titles of their sessions
    titles = {home: set() for home in homes}
    for home in homes:
        await write(home, f"first of {home.name}")
        titles[home] = {f"first of {home.name}"}
    for step in range(20):
        home = dice.choice(homes)
        folder = home / "lmchat"
        place = tmp_path / f"state {step}"
        act = dice.choice(("keep", "kill", "older", "restore", "restore", "open"))
        if act == "restore" and known:
            saved, sessions = dice.choice(known)
            titles[home] = {*sessions}
            await asyncio.sleep(0.01)
            put(saved, folder)
            continue
        found, _ = await opened(home)
        assert found == titles[home], (step, act)
        titles[home].add("more")
        await write(home, f"at {step}")
        titles[home].add(f"at {step}")
        if act == "keep":
            known.append((keep(folder, place), {*titles[home]}))
        elif act == "kill":
            put(keep_killed(folder, place), folder)
            known.append((place, {*titles[home]}))
        elif act == "older":
            put(keep_older(folder, place), folder)
            titles[home].add("In the log")
            known.append((place, {*titles[home]}))
