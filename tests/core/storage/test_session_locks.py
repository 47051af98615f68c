"""Sessions that an lmchat has in memory, which no other one deletes permanently."""

from __future__ import annotations

import asyncio
import errno
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager
from datetime import timedelta

import pytest

from lmchat.base.errors import SessionNotFound, StoreUnavailable
from lmchat.base.files.locks import has_file_locks
from lmchat.core.storage import purge
from lmchat.core.storage.purge import Purged
from lmchat.core.storage.store import Store
from tests.support.chats import chat, reply, say, start_session, store_at
from tests.support.faults import no_room, no_root, open_folder
from tests.support.rare_letters import left, secret

WINDOW = """
import asyncio, sys
from contextlib import aclosing
from pathlib import Path
from lmchat.core.storage.store import Store

async def main():
    async with aclosing(Store(Path(sys.argv[1]))) as store:
        await store.open_session(sys.argv[2], is_locked=True)
        print("open", flush=True)
        await asyncio.to_thread(sys.stdin.read)

asyncio.run(main())
"""


@contextmanager
def window(folder, session_id) -> Iterator[subprocess.Popen[str]]:
    """Let another process have a session in memory until the block ends."""
    command = [sys.executable, "-c", WINDOW, folder / "lmchat" / "sessions.db", session_id]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:  # noqa: S603 - ours
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        yield process


async def with_deleted_message(store):
    """Write a session whose last message is deleted; return its header and what is left."""
    session, asked = await start_session(store, secret(1))
    said = await reply(store, session, secret(2), asked)
    more = await say(store, session, secret(3), said)
    await store.delete_message(session.session_id, more.message_id)
    return session, (asked, said)


def files_of_locks(folder):
    return [*folder.rglob("*-window-*")]


@pytest.mark.parametrize("is_killed", [False, True])
async def test_a_session_that_a_window_has_open_is_purged_once_that_has_ended(tmp_path, is_killed):
    async with aclosing(store_at(tmp_path)) as store:
        session, messages = await with_deleted_message(store)
        other, asked = await start_session(store, secret(4))
        await store.delete_message(other.session_id, asked.message_id)
        await store.daily_check()
    session_id = session.session_id
    with window(tmp_path, session_id) as process:
        async with aclosing(store_at(tmp_path)) as store:
            purged = await store.purge(session_id, is_with_messages=True)
            assert purged == Purged(open_ids=frozenset({session_id}), open_messages=1)
            assert purged.open_note == "1 session and 1 deleted message"
            assert (await store.open_session(session_id)).messages == messages
            assert await store.tree(other.session_id) == ()
            assert await store.last_deleted_id(session_id) is not None
        if is_killed:
            process.kill()
    async with aclosing(store_at(tmp_path)) as store:
        assert await store.purge(session_id, is_with_messages=True) == Purged()
        assert left(tmp_path) == []
        with pytest.raises(SessionNotFound):
            await store.open_session(session_id)
    assert files_of_locks(tmp_path) == []


async def test_a_session_in_two_windows_is_open_until_both_have_ended(tmp_path, store):
    session, _ = await start_session(store, "hello")
    store.keep_locked(())
    with window(tmp_path, session.session_id):
        with window(tmp_path, session.session_id):
            assert (await store.purge(session.session_id)).open_ids == {session.session_id}
        assert (await store.purge(session.session_id)).open_ids == {session.session_id}
    assert await store.purge(session.session_id) == Purged()


async def test_what_leaves_the_memory_of_a_window_or_is_deleted_there_can_be_purged(
    tmp_path, store
):
    first, _ = await start_session(store, "first")
    second, _ = await start_session(store, "second")
    async with aclosing(store_at(tmp_path)) as other:
        assert len((await other.purge(first.session_id, second.session_id)).open_ids) == 2
        store.keep_locked({second.session_id})
        await store.open()
        assert (await other.purge(first.session_id, second.session_id)).open_ids == {
            second.session_id
        }
        await store.update_session(second.session_id, {"deleted_at": first.created_at})
        assert await other.purge(second.session_id) == Purged()
        assert await other.list_sessions(is_trash=True) == ()


async def test_a_start_leaves_what_a_window_has_open_and_says_so(tmp_path, store, clock):
    session, messages = await with_deleted_message(store)
    deleted, _ = await start_session(store, secret(5))
    await store.update_session(deleted.session_id, {"deleted_at": clock()})
    gone, _ = await start_session(store, "gone")
    await store.update_session(gone.session_id, {"deleted_at": clock()})
    await store.daily_check()  # notes when it is
    await store.aclose()
    clock.moment += timedelta(days=31)
    with window(tmp_path, session.session_id), window(tmp_path, deleted.session_id):
        async with aclosing(store_at(tmp_path, clock)) as later:
            assert await later.open() == (
                "Open in another lmchat, and therefore still in the trash: "
                "1 session and 1 deleted message."
            )
            (header,) = await later.list_sessions(is_trash=True)
            assert header.session_id == deleted.session_id
            assert await later.deleted_message_count() == 1
        (copy,) = store.database.path.parent.glob("sessions.db.backup-*")
        copied_ns = copy.stat().st_mtime_ns
        async with aclosing(store_at(tmp_path, clock)) as later:
            assert "still in the trash" in await later.open()
        assert copy.stat().st_mtime_ns == copied_ns
    async with aclosing(store_at(tmp_path, clock)) as later:
        assert await later.open() == ""
        assert await later.list_sessions(is_trash=True) == ()
        assert (await later.open_session(session.session_id)).messages == messages


async def test_a_window_opens_a_session_only_after_a_purge_that_runs(tmp_path, store, monkeypatch):
    session, _ = await start_session(store, secret(1))
    reads: list[asyncio.Future[object]] = []
    loop = asyncio.get_running_loop()
    has_started = threading.Event()
    index = purge.index_anew

    async with aclosing(store_at(tmp_path)) as other:
        await other.open()

        async def read() -> None:
            has_started.set()
            await other.open_session(session.session_id, is_locked=True)

        def index_so(*given):
            reads.append(asyncio.run_coroutine_threadsafe(read(), loop))
            has_started.wait()
            while not [*tmp_path.rglob("*-window-*")][1:]:
                pass  # the lock of the other one
            assert not reads[0].done()
            return index(*given)

        monkeypatch.setattr(purge, "index_anew", index_so)
        assert await store.purge(session.session_id) == Purged()
        with pytest.raises(SessionNotFound):
            await asyncio.wrap_future(reads[0])


async def test_a_session_is_read_where_its_lock_cannot_be_written_and_is_locked_later(
    tmp_path, store
):
    session, _ = await start_session(store, "hello")
    store.keep_locked(())
    await store.open()  # behind it
    with no_room():
        await store.open_session(session.session_id, is_locked=True)
    async with aclosing(store_at(tmp_path)) as other:
        await store.open_session(session.session_id, is_locked=True)
        assert (await other.purge(session.session_id)).open_ids == {session.session_id}


async def test_without_file_locks_only_the_user_purges(tmp_path, store, clock, monkeypatch):
    session, _ = await start_session(store, "hello")
    await store.update_session(session.session_id, {"deleted_at": clock()})
    await store.daily_check()
    await store.aclose()
    clock.moment += timedelta(days=31)

    def refuse(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", refuse)
    async with aclosing(store_at(tmp_path, clock)) as later:
        assert "Close all lmchat windows" in await later.open()
        assert not has_file_locks(tmp_path)
        assert len(await later.list_sessions(is_trash=True)) == 1
        assert await later.purge(session.session_id) == Purged()
    async with aclosing(store_at(tmp_path, clock)) as later:
        assert await later.open() == ""


async def test_what_a_purge_cannot_see_is_told_and_no_session_of_another_window_goes():
    with open_folder() as home, no_root():
        path = home / "in" / "sessions.db"
        kept = home / "cache"
        kept.mkdir(mode=0o000)
        async with aclosing(Store(path, kept_prompts=kept)) as store:
            session, _ = await start_session(store, "hello")
            path.parent.chmod(0o300)
            with pytest.raises(StoreUnavailable, match=r"/in cannot be read: .*, with mode 0300"):
                await store.purge(session.session_id)
            path.parent.chmod(0o700)
            assert await store.list_sessions()
            store.keep_locked(())
            assert (await store.purge(session.session_id)).left_files == (kept,)
            assert not await store.list_sessions()
        kept.chmod(0o700)


async def test_ids_that_an_older_lmchat_has_purged_can_be_used_again(tmp_path):
    session = chat("hello")
    async with aclosing(store_at(tmp_path)) as store:
        await store.open()
    with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as raw, raw:
        raw.execute("create table purged (id text primary key not null)")
        ids = [session.header.session_id, *(one.message_id for one in session.messages)]
        raw.executemany("insert into purged (id) values (?)", [(one,) for one in ids])
    async with aclosing(store_at(tmp_path)) as store:
        assert (await store.import_session(session)).is_new
        stored = await store.open_session(session.header.session_id)
        assert [one.text for one in stored.messages] == [one.text for one in session.messages]
