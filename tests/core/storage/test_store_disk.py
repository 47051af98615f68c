from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import sqlite3
import threading
from contextlib import aclosing, closing, contextmanager
from operator import methodcaller
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.base.errors import StoreUnavailable
from lmchat.core.config.state import change_state, read_state
from lmchat.core.sessions.message import AnswerState
from lmchat.core.storage import opening as connections
from lmchat.core.storage.opening import check_file, explain
from lmchat.core.storage.schema import newest_version
from lmchat.core.storage.store import Store
from tests.support.chats import (
    answer,
    faults_in,
    header,
    prompt,
    reply,
    say,
    start_session,
    store_at,
)
from tests.support.faults import no_room, no_root, open_folder, read_only_disk

DATA = Path(__file__).parent / "data"


async def test_a_full_disk_is_one_clear_error_and_writing_works_again_with_room(store):
    session, asked = await start_session(store, "before")
    said = answer("answer " * 20_000, parent=asked)
    await store.start_answer(
        session.session_id, replace(said, parts=(), state=AnswerState.STREAMING)
    )
    with no_room():
        for write in (
            store.end_answer(session.session_id, said),
            store.append(session, prompt("x" * 100_000, asked)),
            store.add_entries(said.message_id, [("text", "y" * 100_000)]),
            store.save_draft("", "z" * 100_000, ""),
        ):
            with pytest.raises(
                StoreUnavailable, match=r"^sessions.db cannot be used: the disk .*full"
            ) as caught:
                await write
            assert "Free some" in caught.value.next_step
        assert [
            message.text for message in (await store.open_session(session.session_id)).messages
        ] == [
            "before",
            "",
        ]
    await store.end_answer(session.session_id, said)
    more = await say(store, session, "after", said)
    assert (await store.open_session(session.session_id)).messages == (asked, said, more)
    assert await store.draft("") == ""


@pytest.fixture
def folder():
    """A folder that other users reach too, with a name that URLs would trip over."""
    with open_folder() as above:
        folder = above / "it's 100%?"
        folder.mkdir()
        yield folder
        folder.chmod(0o755)


@contextmanager
def only_to_read(folder):
    for path, mode in ((folder, 0o555), *((path, 0o444) for path in folder.iterdir())):
        path.chmod(mode)
    with no_root():
        yield
    for path in (folder, *folder.iterdir()):
        path.chmod(0o777)


DISKS = {
    "the disk is full": lambda _: no_room(),
    "the disk is read-only": read_only_disk,
    "writing is not permitted": only_to_read,
}


@pytest.mark.parametrize("reason", DISKS)
async def test_where_nothing_can_be_written_all_is_read(folder, reason):
    path = folder / "sessions.db"
    path.write_bytes((DATA / f"format-{newest_version()}" / "sessions.sqlite").read_bytes())
    async with aclosing(Store(path)) as store:
        await store.open()  # as the last lmchat of this format has left it
    async with aclosing(Store(path)) as store:
        with DISKS[reason](folder):
            first, *others = await store.list_sessions()
            assert (first.title, len(others)) == ("Plan for the garden & more", 8)
            session_id = await store.find_id(first.session_id[:-1])
            assert (await store.open_session(session_id)).messages
            assert await store.search("shade")
            assert await store.search("sh")
            for write in (
                store.update_session(session_id, {"title": "x"}),
                say(store, first, "more"),
                store.purge(is_with_messages=True),
            ):
                with pytest.raises(StoreUnavailable, match=f"cannot be used: {reason}"):
                    await write
        changed = await store.update_session(session_id, {"title": "There is room"})
        assert next(iter(await store.list_sessions())).title == changed.title
    assert faults_in(path) == ""


@pytest.mark.parametrize("reason", DISKS)
async def test_a_file_of_an_older_lmchat_is_opened_once_it_can_be_written(folder, reason):
    path = folder / "sessions.db"
    path.write_bytes((DATA / "format-8" / "sessions.sqlite").read_bytes())
    before = path.read_bytes()
    async with aclosing(Store(path)) as store:
        with DISKS[reason](folder):
            with pytest.raises(StoreUnavailable, match=f"cannot be used: {reason}"):
                await store.list_sessions()
            assert path.read_bytes() == before
        assert len(await store.list_sessions()) == 4


async def test_a_folder_that_is_removed_while_running_is_made_again(tmp_path, store):
    session, asked = await start_session(store, "hello")
    shutil.rmtree(tmp_path / "lmchat")
    said = await reply(store, session, "still here", asked)
    assert (await store.open_session(session.session_id)).messages == (said,)
    assert (tmp_path / "lmchat" / "sessions.db").exists()


async def test_a_file_that_another_program_keeps_locked_is_waited_for_then_told(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(connections, "BUSY_S", 0.05)
    async with aclosing(store_at(tmp_path)) as store:
        session, first = await start_session(store, "hello")
        path = tmp_path / "lmchat" / "sessions.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("pragma locking_mode = exclusive")
            other.execute("begin exclusive")
            for job in (say(store, session, "blocked", first), store.daily_check()):
                with pytest.raises(StoreUnavailable, match="another program has locked it"):
                    await job
        await say(store, session, "free again", first)
        await store.daily_check()


NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)


def refusing(code):
    def refuse(*_):
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", NO_LOCKS)
async def test_a_disk_without_file_locks_is_told_as_such_and_not_waited_for(
    tmp_path, monkeypatch, code
):
    async with aclosing(store_at(tmp_path)) as store:
        session, first = await start_session(store, "hello")
    monkeypatch.setattr(fcntl, "lockf", refusing(code))
    monkeypatch.setattr(fcntl, "flock", refusing(code))
    file = tmp_path / "lmchat" / "sessions.db"
    async with aclosing(store_at(tmp_path)) as store:
        # for SQLite, a lock that the disk refuses is one of another program
        with closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("begin exclusive")
            with pytest.raises(StoreUnavailable, match="the disk has no file locks") as caught:
                await say(store, session, "more", first)
            assert "LMCHAT_HOME" in caught.value.next_step
            with pytest.raises(StoreUnavailable, match="the disk has no file locks"):
                check_file(file)
        wait = await store.database.run(
            lambda found: found.execute("pragma busy_timeout").fetchone()
        )
        assert wait == (0,)
        await say(store, session, "SQLite has other means on some systems", first)
    assert {path.name for path in file.parent.iterdir()} == {"sessions.db", ".sessions.db.lock"}


@pytest.mark.parametrize("code", [*NO_LOCKS, errno.EBADF])
async def test_only_locks_of_whole_files_are_missing_and_everything_is_saved(
    tmp_path, monkeypatch, code
):
    monkeypatch.setattr(fcntl, "flock", refusing(code))  # EBADF: a folder on NFS
    async with aclosing(store_at(tmp_path)) as store:
        session, asked = await start_session(store, "hello")
        said = await reply(store, session, "hi", asked)
        assert (await store.open_session(session.session_id)).messages == (asked, said)
        await store.save_draft("", "not sent yet", "")
    state = tmp_path / "lmchat" / "state.toml"
    assert change_state(state, methodcaller("with_model", "e", "tiny")).model == "tiny"
    assert read_state(state)[0].model == "tiny"


@pytest.mark.parametrize("name", ["SQLITE_PROTOCOL", "SQLITE_IOERR_LOCK", "SQLITE_IOERR_RDLOCK"])
def test_errors_of_sqlite_about_locks_name_the_disk(tmp_path, name):
    error = sqlite3.OperationalError("locking protocol")
    error.sqlite_errorname = name
    told = explain(error, tmp_path / "sessions.db").message
    assert told.startswith("sessions.db cannot be used: the disk has no file locks")


async def test_the_event_loop_goes_on_while_the_disk_is_busy(store):
    is_free = threading.Event()
    busy = asyncio.create_task(store.database.run(lambda _: is_free.wait(10)))
    waiting = [
        asyncio.create_task(store.list_sessions()),
        asyncio.create_task(say(store, header(), "hello")),
    ]
    for _ in range(100):
        await asyncio.sleep(0)  # would never come back if anything of this ran on the loop
    assert not any(task.done() for task in (busy, *waiting))
    is_free.set()
    assert await busy
    await asyncio.gather(*waiting)
