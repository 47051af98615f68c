from __future__ import annotations

import asyncio
import random
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import aclosing, closing, suppress

import pytest

from lmchat.errors import SessionUnreadable, StoreUnavailable
from lmchat.storage.schema import VERSION
from tests.support.chats import begin_session, fill, header, reply, say, store_at


@pytest.fixture
async def path(tmp_path):
    """A file with 20 sessions of 2 messages, closed."""
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 20)
    return tmp_path / "lmchat" / "sessions.db"


def change(path, statement, *values):
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute(statement, values)


@pytest.fixture
async def damaged(tmp_path, path):
    """A store that is opened when a test has done its damage."""
    store = store_at(tmp_path)
    yield store
    await store.aclose()


async def talk(store, number):
    """Return the messages of one of the sessions."""
    (found,) = [
        session for session in await store.list_sessions() if session.title == f"prompt {number}"
    ]
    return (await store.open_session(found.session_id)).messages


async def test_a_file_that_is_no_database_is_set_aside_and_named(tmp_path):
    for number, content in enumerate((b"not a database" * 500, b"\0" * 8192, b"SQLite format 3\0")):
        folder = tmp_path / str(number)
        path = folder / "lmchat" / "sessions.db"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        async with aclosing(store_at(folder)) as store:
            notice = await store.open()
            (aside,) = path.parent.glob("*damaged*")
            assert aside.name == "sessions.db.damaged-20261120-080001"
            assert aside.name in notice
            assert "0 messages" in notice
            assert aside.read_bytes() == content
            await begin_session(store, "hello")
            assert len(await store.list_sessions()) == 1
        async with aclosing(store_at(folder)) as again:
            assert await again.open() == ""


def cut(content, _dice):
    return content[: len(content) * 9 // 10 // 1024 * 1024]


def holes(content, dice):
    for _ in range(10):
        page = dice.randrange(10, len(content) // 4096)
        content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    return content


@pytest.mark.parametrize(
    ("damage", "has_copy", "least"),
    [(cut, False, 200), (holes, False, 50), (cut, True, 300), (holes, True, 300)],
)
async def test_what_can_be_read_of_a_damaged_file_or_its_copy_is_saved(
    tmp_path, monkeypatch, damage, has_copy, least
):
    # the ids of messages decide which rows are on the damaged pages
    monkeypatch.setattr("os.urandom", random.Random(1).randbytes)  # noqa: S311 - repeats
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 150, words=100)
        if has_copy:
            await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    path.write_bytes(damage(bytearray(path.read_bytes()), random.Random(1)))  # noqa: S311 - repeats
    async with aclosing(store_at(tmp_path)) as store:
        found = [await store.tree(session.session_id) for session in await store.list_sessions()]
        assert sum(bool(message.text) for messages in found for message in messages) >= least
        assert await store.search("answer")
        assert "was damaged. It is kept as sessions.db.damaged-" in store.notice


@pytest.mark.parametrize("seed", range(3))
async def test_a_file_with_random_bytes_in_it_still_opens_and_takes_new_messages(
    damaged, path, seed
):
    dice = random.Random(seed)  # noqa: S311 - repeats
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice([1, 5, 40])):
        place = dice.randrange(len(content))
        content[place : place + 64] = dice.randbytes(64)
    path.write_bytes(content)
    session = header()
    asked = await say(damaged, session, "hello")
    said = await reply(damaged, session, "yes", asked)
    assert (await damaged.open_session(session.session_id)).messages == (asked, said)
    await damaged.search("answer")
    await damaged.prompt_history()
    for found in await damaged.list_sessions():
        with suppress(SessionUnreadable):
            await damaged.open_session(found.session_id)


MESSAGES = (
    "role = 'nobody'",
    "state = 'no state'",
    "created_at = 'no time'",
    "created_at = 17",
    "message_id = x'ff00'",
    "created_at = '2026-01-01T00:00:00'",
)


async def test_a_damaged_message_costs_that_message_alone(damaged, path):
    """The prompt of another session has each damage; their answers have the even numbers."""
    for number, damage in enumerate(MESSAGES):
        change(path, f"update messages set {damage} where number = {2 * number + 1}")  # noqa: S608 - a test
    for number, damage in enumerate(MESSAGES):
        texts = [message.text for message in await talk(damaged, number)]
        assert texts == [f"answer {number} " * 50], damage
    assert len(await damaged.list_sessions()) == 20
    hits = await damaged.search("prompt")
    assert hits
    assert all(hit.created_at.tzinfo for hit in hits)


async def test_a_damaged_header_costs_that_session_alone(damaged, path):
    change(path, "update sessions set updated_at = 'no time' where title = 'prompt 3'")
    assert len(await damaged.list_sessions()) == 19
    (hit,) = await damaged.search('"prompt 3"')
    with pytest.raises(SessionUnreadable, match="is damaged"):
        await damaged.open_session(hit.session_id)


@pytest.mark.parametrize("version", [VERSION - 2, VERSION + 1])
async def test_a_file_of_another_version_of_lmchat_is_left_alone(damaged, path, version):
    change(path, f"pragma user_version = {version}")
    before = path.read_bytes()
    for call in (damaged.list_sessions(), say(damaged, header(), "hello")):
        with pytest.raises(StoreUnavailable, match="from another version of lmchat") as caught:
            await call
        assert "Update lmchat" in caught.value.hint
    assert path.read_bytes() == before


async def test_a_damaged_schema_is_told_at_the_start_and_the_copy_taken(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 20)
        await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    path.write_bytes(path.read_bytes().replace(b"CREATE TABLE parts", b"CREATE TXBLE parts"))
    async with aclosing(store_at(tmp_path)) as store:
        assert "was damaged" in await store.open()
        assert len(await store.list_sessions()) == 20


OPEN = """
import asyncio, sys
from pathlib import Path
from lmchat.sessions.message import Role, now, text_message
from lmchat.sessions.session import SessionHeader
from lmchat.storage.store import Store

async def main():
    name = sys.argv[2]
    store = Store(Path(sys.argv[1]))
    sys.stdin.readline()  # all begin at the same moment
    await store.list_sessions()
    message = text_message(Role.USER, f"from {name}")
    session = SessionHeader(session_id=name, title=name, created_at=now(), updated_at=now())
    await store.append(session, message)
    print(await store.open())
    await store.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize("damage", [holes, cut, lambda content, _: b"x" * 4096 + content[4096:]])
async def test_processes_that_meet_the_same_damage_at_once_repair_it_once_and_lose_nothing(
    tmp_path, damage
):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 60, words=50)
        await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    content = damage(bytearray(path.read_bytes()), random.Random(1))  # noqa: S311 - repeats
    path.write_bytes(content)
    names = [f"process{number}" for number in range(3)]
    processes = [
        await asyncio.create_subprocess_exec(
            sys.executable, "-c", OPEN, path, name, stdin=PIPE, stdout=PIPE
        )
        for name in names
    ]
    ended = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    assert [process.returncode for process in processes] == [0] * 3
    told = [output.decode() for output, _ in ended if b"was damaged" in output]
    (kept,) = path.parent.glob("*.damaged-*[0-9]")
    assert kept.read_bytes() == content
    assert len(told) == 1
    async with aclosing(store_at(tmp_path)) as store:
        found = {session.title for session in await store.list_sessions()}
    assert found >= {*names, *(f"prompt {number}" for number in range(60))}
    assert not list(path.parent.glob(".*repaired*"))
