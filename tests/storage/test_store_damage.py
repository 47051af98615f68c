from __future__ import annotations

import asyncio
import errno
import os
import random
import re
import sqlite3
import sys
from asyncio.subprocess import PIPE
from contextlib import aclosing, closing, suppress
from datetime import timedelta

import pytest
from msgspec.structs import replace

from lmchat.errors import SessionUnreadable, StoreUnavailable
from lmchat.files.disk import locked
from lmchat.storage import schema
from lmchat.storage.database import Database
from lmchat.storage.opening import LostRecordError, check_file, connect
from tests.support.chats import (
    faults_in,
    fill,
    header,
    reply,
    say,
    start_session,
    store_at,
)
from tests.support.faults import no_room, no_root, open_folder
from tests.support.modes import is_private


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
            assert notice == (
                f"sessions.db was damaged and is kept as {aside.name}; "
                "there is no intact copy, so a new file is in use."
            )
            assert aside.read_bytes() == content
            await start_session(store, "hello")
            assert len(await store.list_sessions()) == 1
        async with aclosing(store_at(folder)) as again:
            assert await again.open() == ""


@pytest.mark.parametrize("rest", [b"", b"S"])
async def test_a_file_that_was_emptied_is_told_and_the_copy_takes_its_place(tmp_path, rest):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 3)
        await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    path.write_bytes(rest)
    path.with_name("sessions.db-wal").write_bytes(b"the log")
    async with aclosing(store_at(tmp_path)) as store:
        assert "was damaged and is kept as" in await store.open()
        assert len(await store.list_sessions()) == 3
    (log,) = path.parent.glob("sessions.db.damaged-*-wal")
    assert log.read_bytes() == b"the log"


@pytest.mark.posix  # Windows renames no open file
@pytest.mark.parametrize("content", [b"", b"S" * 10, bytes(5000)])
@pytest.mark.parametrize("has_copy", [True, False])
async def test_a_file_that_is_emptied_under_an_open_window_is_told_at_once(
    tmp_path, path, content, has_copy
):
    window, other = store_at(tmp_path), store_at(tmp_path)
    if has_copy:
        await window.daily_check()
    assert len(await window.list_sessions()) == len(await other.list_sessions()) == 20
    with path.open("r+b") as file:
        file.truncate(0)
        file.write(content)
    assert len(await window.list_sessions()) == 20 * has_copy
    assert "sessions.db was damaged and is kept as" in window.notice
    assert ("with 40 messages" if has_copy else "there is no intact copy") in window.notice
    await start_session(window, "hello")
    assert len(await other.list_sessions()) == 20 * has_copy + 1
    assert "was replaced by another program" in other.notice
    for store in (window, other):
        await store.aclose()
    assert faults_in(path) == ""


async def test_damage_that_is_met_while_a_store_closes_is_told_at_the_next_start(tmp_path, path):
    """Nobody reads the notice of a store that closes."""
    async with aclosing(store_at(tmp_path)) as store, aclosing(store_at(tmp_path)) as other:
        await start_session(store, "hello")
        await start_session(other, "hello")  # so the first one reads its pages again
        with path.open("r+b") as file:
            file.truncate(0)
            file.write(b"S" * 10)
    assert not [*path.parent.glob("*.damaged-*")]
    async with aclosing(store_at(tmp_path)) as store:
        assert "sessions.db was damaged and is kept as" in await store.open()


async def test_a_missing_file_beside_copies_is_told_once_and_the_newest_copy_named(
    tmp_path, clock, of_three_days
):
    """Who removed the file on purpose starts anew; who did not reads how to get the chats back."""
    path = await of_three_days()
    newest = path.with_name("sessions.db.backup-2026-11-22")
    spoilt_copy = path.with_name("sessions.db.backup-2026-11-23")
    spoilt_copy.write_bytes(b"no database")
    path.unlink()
    async with aclosing(store_at(tmp_path, clock)) as store:
        assert await store.open() == (
            "sessions.db was missing, so a new file is in use. To go back to the copy of Sunday, "
            f"22 November, with 6 messages, quit lmchat and rename {newest.name} to sessions.db."
        )
        await start_session(store, "hello")
        assert len(await store.list_sessions()) == 1
    async with aclosing(store_at(tmp_path, clock)) as store:
        assert await store.open() == ""
    newest.replace(path)
    async with aclosing(store_at(tmp_path, clock)) as store:
        assert await store.open() == ""
        assert len(await store.list_sessions()) == 3
    for copy in (path, *path.parent.glob("*.backup-*")):
        copy.unlink()
    async with aclosing(store_at(tmp_path, clock)) as store:
        assert await store.open() == ""


def circle(file):
    file.with_name("other").symlink_to(file)
    file.symlink_to("other")


def far_link(file):
    file.symlink_to("disk/sessions.db")


def device(file):
    file.symlink_to("/dev/null")


def states_in(folder):
    """What a read leaves as it is: not the time of the last access."""
    states = {one.name: os.lstat(one) for one in folder.iterdir()}
    return {name: (one.st_mode, one.st_ino, one.st_mtime_ns) for name, one in states.items()}


@pytest.mark.parametrize(
    ("name", "put"),
    [
        *(
            pytest.param("", make, marks=pytest.mark.posix)
            for make in (circle, far_link, device, lambda path: os.mkfifo(path, 0o666))
        ),
        *((ending, os.mkdir) for ending in ("", "-wal", "-journal")),
    ],
)
async def test_what_is_no_file_is_named_and_stays_as_it_is(tmp_path, damaged, path, name, put):
    await damaged.daily_check()
    await damaged.aclose()
    file = path.with_name(path.name + name)
    file.unlink(missing_ok=True)
    put(file)
    state = states_in(path.parent)
    async with aclosing(store_at(tmp_path)) as store:
        for job in (store.list_sessions(), say(store, header(), "hello")):
            with pytest.raises(StoreUnavailable) as caught:
                await job
            assert caught.value.message == (
                f"{file} is a folder, a device or a broken link, not a file."
            )
    with pytest.raises(StoreUnavailable, match=re.escape(caught.value.message)):
        check_file(path)
    assert states_in(path.parent) == state


@pytest.mark.parametrize("version", [0, 3, schema.newest_version(), 70])
@pytest.mark.parametrize("name", ["visits", "sessions"])
async def test_a_database_of_another_program_is_named_and_stays_as_it_is(tmp_path, version, name):
    path = tmp_path / "lmchat" / "sessions.db"
    path.parent.mkdir()
    change(path, f"create table {name} (url text)")
    change(path, f"pragma user_version = {version}")
    content = path.read_bytes()
    async with aclosing(store_at(tmp_path)) as store:
        for job in (store.list_sessions(), say(store, header(), "hello"), store.daily_check()):
            with pytest.raises(StoreUnavailable, match="is a database of another program"):
                await job
    with pytest.raises(StoreUnavailable, match="is a database of another program"):
        check_file(path)
    assert path.read_bytes() == content
    assert {file.name for file in path.parent.iterdir()} == {path.name, f".{path.name}.lock"}


async def test_without_hard_links_the_damaged_file_is_kept_for_its_owner_alone_or_not_at_all(
    tmp_path, path, monkeypatch
):
    def no_link(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    damaged = b"x" * 4096 + path.read_bytes()[4096:]
    path.write_bytes(damaged)
    monkeypatch.setattr(os, "link", no_link)  # as on FAT
    async with aclosing(store_at(tmp_path)) as store:
        # room for the new file, which is empty, but not for the old one
        with no_room(len(damaged) - 1), pytest.raises(StoreUnavailable, match="cannot be used"):
            await store.open()
        assert path.read_bytes() == damaged
        assert not [file for file in path.parent.iterdir() if "damaged" in file.name]
        assert "was damaged and is kept as" in await store.open()
    (aside,) = path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == damaged
    assert is_private(aside)


async def test_a_damaged_index_of_sessions_keeps_no_turn_from_being_saved(tmp_path):
    """SQLite finds no fault in the pages, and then misses the row of the session just written."""
    async with aclosing(store_at(tmp_path)) as store:
        for number in range(10, 60, 10):
            await say(store, replace(header(), session_id=f"{number}" * 8), f"prompt {number}")
    path = tmp_path / "lmchat" / "sessions.db"
    with closing(sqlite3.connect(path)) as raw:
        query = "select rootpage from sqlite_master where name = 'sqlite_autoindex_sessions_1'"
        (root,) = raw.execute(query).fetchone()
        (size,) = raw.execute("pragma page_size").fetchone()
    content = bytearray(path.read_bytes())
    position = content.index(b"10" * 8, (root - 1) * size)
    content[position] = ord("9")  # the first of five ids comes after the others
    path.write_bytes(content)
    async with aclosing(store_at(tmp_path)) as store:
        await say(store, replace(header(), session_id="25" * 8), "prompt 25")
        assert "An index in sessions.db was damaged and was rebuilt" in store.notice
        assert len(await store.list_sessions()) == 6
    assert faults_in(path) == ""


async def test_a_damaged_name_of_a_column_is_damage_although_sqlite_finds_all_pages_whole(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 3)
        await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    content = path.read_bytes()
    position = content.index(b"created_at", content.index(b"CREATE TABLE messages"))
    path.write_bytes(content[:position] + b"R" + content[position + 1 :])
    assert faults_in(path) == ""
    async with aclosing(store_at(tmp_path)) as store:
        await start_session(store, "hello")
        assert "the copy of Friday, 20 November, with 6 messages, is in use." in store.notice
        assert len(await store.list_sessions()) == 4


async def test_nothing_is_said_of_a_file_that_another_process_has_just_restored(tmp_path):
    """It could not be opened before, so it is not the index that was bad."""
    path = tmp_path / "sessions.db"
    tries = []

    def open_at_second_try():
        tries.append(path)
        if len(tries) == 1:
            raise LostRecordError
        return connect(path)

    def restore():
        raise AssertionError("the file is whole")

    async with aclosing(Database(path, open_at_second_try, restore=restore)) as database:
        await database.run(lambda _: None)
        assert database.notice == ""


@pytest.mark.posix  # Windows locks no file that is read
async def test_no_other_process_uses_a_damaged_file_until_another_is_in_its_place(tmp_path):
    path = tmp_path / "sessions.db"
    path.write_bytes(b"this is no database" * 100)

    def restore():
        with pytest.raises(BlockingIOError), locked(path, is_shared=True, wait_s=0.0):
            pass
        path.unlink()
        return "A new file is in use."

    async with aclosing(Database(path, lambda: connect(path), restore=restore)) as database:
        await database.run(lambda _: None)
        assert database.notice == "A new file is in use."


def cut(content, dice):
    return content[: dice.randrange(100, len(content))]


def holes(content, dice):
    for _ in range(10):
        page = dice.randrange(10, len(content) // 4096)
        content[page * 4096 : (page + 1) * 4096] = bytes(4096)
    return content


def headless(content, _dice):
    return b"x" * 4096 + content[4096:]


def empty_tables(content, _dice):
    return content.replace(b"CREATE TABLE parts", b"CREATE TXBLE parts")


DAMAGES = (cut, holes, headless, empty_tables)


@pytest.fixture
def of_three_days(tmp_path, clock):
    """Write a session a day, and after each a copy; then a session that no copy has."""

    async def write():
        async with aclosing(store_at(tmp_path, clock)) as store:
            for day in ("Friday", "Saturday", "Sunday"):
                await fill_named(store, day)
                await store.daily_check()
                clock.moment += timedelta(days=1)
            await fill_named(store, "Monday")
        return tmp_path / "lmchat" / "sessions.db"

    return write


async def fill_named(store, day):
    session = header(day)
    await reply(store, session, "yes " * 2000, await say(store, session, day))


async def read_all(store):
    """Return the number of messages."""
    sessions = await store.list_sessions()
    return sum([len(await store.tree(session.session_id)) for session in sessions])


def spoilt(content):
    return content[:5000] + bytes(3000) + content[8000:]


def of_a_newer_format(content):
    return content[:60] + (schema.newest_version() + 1).to_bytes(4, "big") + content[64:]


@pytest.mark.parametrize(
    ("spoil_copies", "named", "titles"),
    [
        ({}, "Sunday, 22 November, with 6 messages", {"Friday", "Saturday", "Sunday"}),
        ({22: spoilt}, "Saturday, 21 November, with 4 messages", {"Friday", "Saturday"}),
        ({22: of_a_newer_format}, "Saturday, 21 November, with 4 messages", {"Friday", "Saturday"}),
        ({22: lambda _: b"", 21: spoilt}, "Friday, 20 November, with 2 messages", {"Friday"}),
    ],
)
async def test_the_newest_intact_copy_takes_the_place_of_a_damaged_file(
    tmp_path, clock, of_three_days, spoil_copies, named, titles
):
    path = await of_three_days()
    for day, spoil_copy in spoil_copies.items():
        copy = path.with_name(f"sessions.db.backup-2026-11-{day}")
        copy.write_bytes(spoil_copy(copy.read_bytes()))
    content = path.read_bytes()
    for count, damage in enumerate(DAMAGES, 1):
        damaged = bytes(damage(bytearray(content), random.Random(count)))  # noqa: S311 - repeats
        path.write_bytes(damaged)
        path.with_name(".sessions.db.backup-restored-0f").write_text(
            "left by a kill", encoding="utf-8"
        )
        async with aclosing(store_at(tmp_path, clock)) as store:
            await read_all(store)  # meets the damage
            assert {session.title for session in await store.list_sessions()} == titles, damage
            aside = max(path.parent.glob("*.damaged-*"))
            assert aside.read_bytes() == damaged
            assert store.notice == (
                f"sessions.db was damaged and is kept as {aside.name}; "
                f"the copy of {named}, is in use."
            )
            assert faults_in(path) == ""
            await fill_named(store, "after")
            assert "after" in {session.title for session in await store.list_sessions()}
        assert len([*path.parent.glob("*.damaged-*")]) == count
        assert not [*path.parent.glob(".*restored*")]


@pytest.mark.parametrize("has_copy", [True, False])
async def test_a_file_cut_anywhere_opens_and_claims_nothing_newer_than_the_copy(
    tmp_path, clock, of_three_days, has_copy
):
    path = await of_three_days()
    if not has_copy:
        for copy in path.parent.glob("*.backup-*"):
            copy.unlink()
    content, dice = path.read_bytes(), random.Random(7)  # noqa: S311 - repeats
    for _ in range(50):
        path.write_bytes(cut(content, dice))
        async with aclosing(store_at(tmp_path, clock)) as store:
            await read_all(store)
            assert await read_all(store) == (6 if has_copy else 0)
            assert "was damaged and is kept as" in store.notice
            assert ("with 6 messages" in store.notice) == has_copy


@pytest.mark.posix  # Windows renames no open file
async def test_a_window_that_has_the_file_open_goes_on_in_the_restored_one(
    tmp_path, clock, of_three_days
):
    path = await of_three_days()
    window, other = store_at(tmp_path, clock), store_at(tmp_path, clock)
    await say(window, header("Tuesday"), "lost with the log of the damaged file")
    with path.open("r+b") as file:
        file.truncate(3000)
    assert len(await other.list_sessions()) == 3
    assert "is in use" in other.notice
    await say(other, header("Wednesday"), "hello")
    await say(window, header("Thursday"), "hello")
    titles = {"Friday", "Saturday", "Sunday", "Wednesday", "Thursday"}
    assert {session.title for session in await window.list_sessions()} == titles
    assert window.notice == (
        "sessions.db was replaced by another program; what was saved before may not be in it."
    )
    await window.aclose()
    await say(other, header("Friday"), "hello")
    await other.aclose()
    async with aclosing(store_at(tmp_path, clock)) as store:
        assert {session.title for session in await store.list_sessions()} == titles
    assert len([*path.parent.glob("*.damaged-*[0-9]")]) == 1
    assert faults_in(path) == ""


async def test_without_room_for_the_copy_the_damaged_file_stays_and_the_reason_is_told(
    tmp_path, clock, of_three_days
):
    path = await of_three_days()
    damaged = path.read_bytes()[:3000]
    path.write_bytes(damaged)
    async with aclosing(store_at(tmp_path, clock)) as store:
        with no_room(4096), pytest.raises(StoreUnavailable, match="cannot be used"):
            await store.list_sessions()
        assert path.read_bytes() == damaged
        names = [file.name for file in path.parent.iterdir()]
        assert not [name for name in names if "damaged" in name or "restored" in name]
        assert len(await store.list_sessions()) == 3


async def test_a_damaged_file_stays_as_it_is_in_a_folder_that_may_only_be_read():
    with open_folder() as folder, no_root():
        async with aclosing(store_at(folder)) as store:
            await fill(store, 3)
            await store.daily_check()
        path = folder / "lmchat" / "sessions.db"
        damaged = path.read_bytes()[:3000]
        path.write_bytes(damaged)
        path.parent.chmod(0o555)
        names = {file.name for file in path.parent.iterdir()}
        async with aclosing(store_at(folder)) as store:
            for job in (store.list_sessions(), say(store, header(), "hello")):
                with pytest.raises(StoreUnavailable, match="cannot be used: writing is not perm"):
                    await job
        assert path.read_bytes() == damaged
        assert {file.name for file in path.parent.iterdir()} == names
        path.parent.chmod(0o700)
        async with aclosing(store_at(folder)) as store:
            assert len(await store.list_sessions()) == 3


async def test_a_damaged_search_index_costs_no_message(tmp_path, clock, of_three_days):
    path = await of_three_days()
    change(path, "update trigrams_data set block = zeroblob(length(block)) where id > 10")
    async with aclosing(store_at(tmp_path, clock)) as store:
        await fill_named(store, "Tuesday")
        (session,) = [one for one in await store.list_sessions() if one.title == "Monday"]
        await store.purge(session.session_id)
        titles = {session.title for session in await store.list_sessions()}
        assert titles == {"Friday", "Saturday", "Sunday", "Tuesday"}
        assert {hit.title for hit in await store.search("yes", limit=1000)} == titles
        assert store.notice == (
            "An index in sessions.db was damaged and was rebuilt; all messages are there."
        )
    assert not [*path.parent.glob("*.damaged-*")]
    assert faults_in(path) == ""


@pytest.mark.parametrize(
    ("words", "damaged_words"),
    [
        (b"cast(new.name", b"cast(new.xxme"),  # in a trigger
        (b"content = '', de", b"content = '', dx"),
        (b"content = '', de", b" xxtent = '', de"),
        (b"using fts5\n    (text,", b"using fts5\n    (t xt,"),
    ],
)
async def test_damaged_words_in_the_schema_of_the_search_index_cost_no_message(
    tmp_path, words, damaged_words
):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 3)
    path = tmp_path / "lmchat" / "sessions.db"
    content = path.read_bytes()
    assert words in content
    path.write_bytes(content.replace(words, damaged_words))
    async with aclosing(store_at(tmp_path)) as store:
        await start_session(store, "needle")
        assert len(await store.search("needle")) == 1
        assert len(await store.list_sessions()) == 4
    assert faults_in(path) == ""


@pytest.mark.parametrize("seed", range(3))
async def test_a_file_with_random_bytes_in_it_still_opens_and_takes_new_messages(
    damaged, path, seed
):
    dice = random.Random(seed)  # noqa: S311 - repeats
    content = bytearray(path.read_bytes())
    for _ in range(dice.choice([1, 5, 40])):
        position = dice.randrange(len(content))
        content[position : position + 64] = dice.randbytes(64)
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
    number = len(MESSAGES)
    change(path, f"update parts set kind = 'sound' where number = {2 * number + 1}")  # noqa: S608 - a test
    assert [message.text for message in await talk(damaged, number)] == [
        "",
        f"answer {number} " * 50,
    ]
    assert len(await damaged.list_sessions()) == 20
    hits = await damaged.search("prompt")
    assert hits
    assert all(hit.created_at.tzinfo for hit in hits)


async def test_a_damaged_header_costs_that_session_alone(damaged, path):
    change(path, "update sessions set updated_at = 'no time' where title = 'prompt 3'")
    change(path, "update sessions set session_id = x'ff00' where title = 'prompt 4'")
    assert len(await damaged.list_sessions()) == 18
    (hit,) = await damaged.search('"prompt 3"')
    with pytest.raises(SessionUnreadable, match="is damaged"):
        await damaged.open_session(hit.session_id)


@pytest.mark.parametrize(
    ("away", "age", "way_out"),
    [
        (1, "a newer", "Update lmchat"),
        (64, "a newer", "If lmchat is up to date, sessions.db is damaged: rename it"),
        (-1, "an old", "`lmchat export --all FOLDER --format json`"),
    ],
)
async def test_a_file_of_a_format_that_is_not_read_is_left_alone(damaged, path, away, age, way_out):
    first, last = schema.FIRST_VERSION, schema.newest_version()
    change(path, f"pragma user_version = {last + away if away > 0 else first + away}")
    before = path.read_bytes()
    for call in (damaged.list_sessions(), say(damaged, header(), "hello")):
        with pytest.raises(StoreUnavailable, match=f"from {age} version of lmchat") as caught:
            await call
        assert way_out in caught.value.next_step
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
from lmchat.files.disk import locked
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


@pytest.mark.posix  # Windows renames no open file
@pytest.mark.parametrize("damage", [holes, cut, headless])
async def test_processes_that_meet_the_same_damage_at_once_restore_one_copy_and_lose_nothing(
    tmp_path, damage
):
    async with aclosing(store_at(tmp_path)) as store:
        await fill(store, 60, words=50)
        await store.daily_check()
    path = tmp_path / "lmchat" / "sessions.db"
    content = damage(bytearray(path.read_bytes()), random.Random(2))  # noqa: S311 - repeats
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
    assert not list(path.parent.glob(".*restored*"))
