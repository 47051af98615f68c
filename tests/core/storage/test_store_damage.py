from __future__ import annotations

import asyncio
import os
import re
import sqlite3
from contextlib import aclosing, closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.base.errors import SessionUnreadable, StoreDamaged, StoreUnavailable
from lmchat.core.storage import schema
from lmchat.core.storage.opening import check_file
from tests.support.chats import (
    faults_in,
    fill,
    header,
    reply,
    say,
    start_session,
    store_at,
)
from tests.support.faults import no_room
from tests.support.modes import is_private

DATA = Path(__file__).parent / "data"


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


def cut(content):
    return content[: len(content) // 3]


def holes(content):
    return content[:40_960] + bytes(40_960) + content[81_920:]


def headless(content):
    return b"x" * 4096 + content[4096:]


def other_table(content):
    return content.replace(b"CREATE TABLE parts", b"CREATE TXBLE parts")


def other_column(content):
    """SQLite finds all pages whole."""
    position = content.index(b"created_at", content.index(b"CREATE TABLE messages"))
    return content[:position] + b"R" + content[position + 1 :]


def emptied(_):
    """As SQLite leaves a file that was emptied while it was open."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript("create table beds (name); drop table beds")
        return connection.serialize()


DAMAGES = (
    *(cut, holes, headless, other_table, other_column, emptied),
    *(lambda _: b"not a database" * 500, lambda _: bytes(8192), lambda _: b"", lambda _: b"S"),
)


async def read_all(store):
    """Return the number of messages."""
    sessions = await store.list_sessions()
    return sum([len(await store.tree(session.session_id)) for session in sessions])


@pytest.mark.parametrize("damage", DAMAGES)
async def test_a_damaged_file_stays_as_it_is_until_the_user_chooses_what_takes_its_place(
    tmp_path, clock, of_three_days, damage
):
    path = await of_three_days()
    damaged = damage(path.read_bytes())
    path.write_bytes(damaged)
    async with aclosing(store_at(tmp_path, clock)) as store:
        for call in (read_all(store), store.check(), say(store, header(), "hello"), store.open()):
            with pytest.raises(StoreDamaged, match=r"^sessions.db is damaged\.$") as caught:
                await call
        assert "`lmchat sessions recover`" in caught.value.next_step
        assert path.read_bytes() == damaged
        assert not [*path.parent.glob("*.damaged-*")]
        backups = await store.backups()
        newest, second, _ = backups
        assert backups[newest] == "the backup of Sunday, 22 November, with 3 sessions"
    choices = {
        newest: {"Friday", "Saturday", "Sunday"},
        second: {"Friday", "Saturday"},
        None: set(),
    }
    if damage is not cut:  # what takes the place does not depend on the damage
        choices = {newest: choices[newest]}
    for chosen, titles in choices.items():
        path.write_bytes(damaged)
        async with aclosing(store_at(tmp_path, clock)) as store:
            with pytest.raises(StoreDamaged):
                await store.check()
            await store.replace_damaged(chosen)
            aside = max(path.parent.glob("*.damaged-*"))
            assert aside.read_bytes() == damaged
            assert is_private(aside)
            in_use = "an empty file" if chosen is None else f"a copy of {chosen.name}"
            assert store.notice == (
                f"sessions.db was damaged and is kept as {aside.name}; {in_use} is in use."
            )
            assert {session.title for session in await store.list_sessions()} == titles
            await fill_named(store, "after")
            assert {hit.title for hit in await store.search("yes", limit=99)} == {*titles, "after"}
        assert faults_in(path) == ""
    assert len([*path.parent.glob("*.damaged-*")]) == len(choices)
    assert not [*path.parent.glob(".*restored*")]


@pytest.mark.posix  # Windows renames no open file
async def test_a_damaged_file_is_not_replaced_under_another_window_and_both_go_on_in_the_new_one(
    tmp_path, clock, of_three_days
):
    path = await of_three_days()
    window = store_at(tmp_path, clock)
    other = store_at(tmp_path, clock)
    session = header("Tuesday")
    said = await say(window, session, "before")
    await other.open()
    with path.open("r+b") as file:
        file.truncate(3000)
    for store in (other, window):
        with pytest.raises(StoreUnavailable):
            await store.list_sessions()
        if store is other:
            with pytest.raises(StoreUnavailable, match="another program has locked it"):
                await other.replace_damaged(None)
    with pytest.raises(StoreDamaged):  # it is kept in memory, and tried again
        await say(window, session, "during", said)
    await other.replace_damaged(next(iter(await other.backups())))
    await window.replace_damaged(None)  # it has been replaced
    await say(other, header("Wednesday"), "hello")
    await say(window, session, "during", said)
    titles = {"Friday", "Saturday", "Sunday", "Tuesday", "Wednesday"}
    for store in (window, other):
        assert {one.title for one in await store.list_sessions()} == titles
        await store.aclose()
    assert len([*path.parent.glob("*.damaged-*[0-9]")]) == 1
    assert faults_in(path) == ""


def spoilt(content):
    return content[:5000] + bytes(3000) + content[8000:]


def of_a_newer_format(content):
    return content[:60] + (schema.newest_version() + 1).to_bytes(4, "big") + content[64:]


async def test_backups_that_are_not_whole_are_not_offered_and_those_of_an_older_format_are(
    tmp_path, clock, of_three_days
):
    path = await of_three_days()
    older = path.with_name("sessions.db.backup-2026-11-20")
    older.write_bytes((DATA / "format-8" / "sessions.sqlite").read_bytes())
    async with aclosing(store_at(tmp_path, clock)) as store:
        assert older in await store.backups()
        for day, spoil_copy in ((22, spoilt), (20, of_a_newer_format), (21, lambda _: b"")):
            copy = path.with_name(f"sessions.db.backup-2026-11-{day}")
            copy.write_bytes(spoil_copy(copy.read_bytes()))
            assert copy not in await store.backups()
        assert await store.backups() == {}


@pytest.mark.parametrize("room", [0, 4096, 1 << 14])
async def test_without_room_for_the_new_file_the_damaged_one_stays(
    tmp_path, clock, of_three_days, room
):
    path = await of_three_days()
    damaged = path.read_bytes()[:3000]
    path.write_bytes(damaged)
    async with aclosing(store_at(tmp_path, clock)) as store:
        with pytest.raises(StoreDamaged):
            await store.open()
        (newest, *_) = await store.backups()
        with no_room(room), pytest.raises(StoreUnavailable, match="cannot be used: the disk"):
            await store.replace_damaged(newest)
        assert path.read_bytes() == damaged
        assert not [one for one in path.parent.iterdir() if re.search("damaged|restored", one.name)]
        await store.replace_damaged(newest)
        assert len(await store.list_sessions()) == 3


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
            "sessions.db was missing, so a new file is in use. To go back to the backup of Sunday, "
            f"22 November, with 3 sessions, quit lmchat and rename {newest.name} to sessions.db."
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


async def test_a_file_that_another_lmchat_has_just_made_and_copied_was_not_missing(tmp_path, clock):
    path = tmp_path / "lmchat" / "sessions.db"

    async def other():
        async with aclosing(store_at(tmp_path, clock)) as store:
            await store.daily_check()

    def look():
        if path.exists():
            asyncio.run(other())
        return clock()

    async with aclosing(store_at(tmp_path, look)) as store:
        assert await store.open() == ""
    assert path.with_name("sessions.db.backup-2026-11-20").exists()


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
        ("", os.mkdir),
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
            assert str(file) in caught.value.message
            assert re.search("is a (folder or a device|link that leads)", caught.value.message)
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
