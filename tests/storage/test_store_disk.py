from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from contextlib import aclosing, closing

import pytest
from msgspec.structs import replace

from lmchat.errors import StoreUnavailable
from lmchat.sessions.message import AnswerState
from lmchat.storage import opening as connections
from lmchat.storage.store import Store
from tests.support.chats import answer, begin_session, header, prompt, reply, say, store_at
from tests.support.faults import no_room, no_root, open_folder


async def test_a_full_disk_is_one_clear_error_and_writing_works_again_with_room(store):
    session, asked = await begin_session(store, "before")
    said = answer("answer " * 20_000, parent=asked)
    await store.begin_answer(
        session.session_id, replace(said, parts=(), state=AnswerState.STREAMING)
    )
    with no_room():
        for write in (
            store.end_answer(session.session_id, said),
            store.append(session, prompt("x" * 100_000, asked)),
            store.add_entries(said.message_id, [("text", "y" * 100_000)]),
            store.save_draft("", "z" * 100_000),
        ):
            with pytest.raises(
                StoreUnavailable, match=r"^sessions.db cannot be used: the disk .*full"
            ) as caught:
                await write
            assert "Free some" in caught.value.hint
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


def only_to_read(folder):
    for path in folder.iterdir():
        path.chmod(0o444)
    folder.chmod(0o555)


async def test_a_file_that_may_only_be_read_is_read_and_writing_is_one_clear_error(folder):
    store, session = Store(folder / "sessions.db"), header()
    asked = await say(store, session, "hello")
    await store.aclose()
    only_to_read(folder)
    with no_root():
        store = Store(folder / "sessions.db")
        with pytest.raises(StoreUnavailable, match="cannot be used: writing is not permitted"):
            await say(store, session, "more", asked)
        assert (await store.open_session(session.session_id)).messages == (asked,)
        await store.aclose()


async def test_a_folder_that_is_removed_while_running_is_made_again(tmp_path, store):
    session, asked = await begin_session(store, "hello")
    shutil.rmtree(tmp_path / "lmchat")
    said = await reply(store, session, "still here", asked)
    assert (await store.open_session(session.session_id)).messages == (said,)
    assert (tmp_path / "lmchat" / "sessions.db").exists()


async def test_a_file_that_another_program_keeps_locked_is_waited_for_then_told(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(connections, "BUSY_S", 0.2)
    async with aclosing(store_at(tmp_path)) as store:
        session, first = await begin_session(store, "hello")
        with closing(
            sqlite3.connect(tmp_path / "lmchat" / "sessions.db", isolation_level=None)
        ) as other:
            other.execute("begin exclusive")
            with pytest.raises(StoreUnavailable, match="another program has locked it"):
                await say(store, session, "blocked", first)
            assert len(await store.list_sessions()) == 1  # reading goes on
            other.execute("rollback")
        await say(store, session, "free again", first)


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
