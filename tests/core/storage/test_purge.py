"""What is deleted permanently is in no file: neither rows, index, files, drafts nor copies.

The texts that have to go are written in letters that nothing else uses, so that even two letters
that are left are found.
"""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, closing, contextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.base.errors import SessionNotFound, StoreUnavailable
from lmchat.core.sessions.message import AnswerState, FilePart, ReasoningPart, now
from lmchat.core.storage import backup, opening
from lmchat.core.storage.purge import Purged
from tests.support.chats import (
    Clock,
    answer,
    chat_with_tools,
    header,
    prompt,
    reply,
    say,
    start_session,
    store_at,
)
from tests.support.rare_letters import left, secret


@pytest.fixture
def plain_connections(monkeypatch):
    """Let every connection start as it does where SQLite leaves deleted bytes in the file."""
    connect = sqlite3.connect

    def connect_so(*args, **options):
        connection = connect(*args, **options)
        connection.execute("pragma secure_delete = off")
        return connection

    monkeypatch.setattr(sqlite3, "connect", connect_so)


def attached(data: bytes, name: str) -> FilePart:
    digest = sha256(data).hexdigest()
    return FilePart(name=name, media_type="text/plain", digest=digest, size=len(data))


async def write_secrets(store, seed: int):
    """Write a session with secrets in all places that have texts.

    Return its header and its first prompt.
    """
    session = header(secret(seed, 3))
    data = secret(seed + 1, 100).encode()
    file = attached(data, f"{secret(seed, 1)}.txt")
    await store.files.save(data)
    draft = ""
    for word in secret(seed + 2, 40).split():
        draft += f"{word} "
        await store.save_draft(session.session_id, draft, "")
    asked = prompt(secret(seed + 3, 400))
    asked = replace(asked, parts=(file, *asked.parts))
    await store.append(session, asked)
    thought = answer(ReasoningPart(text=secret(seed + 4)), secret(seed + 5, 2000), parent=asked)
    started = replace(thought, parts=(), state=AnswerState.STREAMING)
    await store.start_answer(session.session_id, started)
    await store.add_entries(started.message_id, [("text", secret(seed + 5))])
    await store.end_answer(session.session_id, thought)
    for message in chat_with_tools(secret(seed + 6), f'{{"a": "{secret(seed + 7)}"}}').messages:
        await store.append(session, message)
    await store.update_session(session.session_id, {"tags": (secret(seed + 9, 1),)})
    await store.save_draft(session.session_id, secret(seed + 10), "")
    return session, asked


async def write_others(store):
    """Write sessions that stay, among which the others are."""
    for number in range(4):
        session, asked = await start_session(store, f"Plain words {number} " * 50)
        await reply(store, session, f"plain answer {number} " * 200, asked)


@pytest.mark.posix  # Windows removes no open file
@pytest.mark.usefixtures("plain_connections")
async def test_no_byte_of_a_purged_session_is_left_in_any_file(tmp_path, store):
    await write_others(store)
    session, asked = await write_secrets(store, 1)
    await write_others(store)
    running = replace(answer(parent=asked, state=AnswerState.STREAMING), parts=())
    await store.start_answer(session.session_id, running)
    await store.add_entries(running.message_id, [("text", secret(30))])
    await store.daily_check()
    assert len(left(tmp_path)) >= 3
    await store.purge(session.session_id)
    assert left(tmp_path) == []
    await store.aclose()
    assert left(tmp_path) == []
    async with aclosing(store_at(tmp_path)) as again:
        assert len(await again.list_sessions()) == 8
        assert len(await again.search("plain answer 2")) == 2


_READER = """
import sqlite3, sys
reading = sqlite3.connect(sys.argv[1])
reading.execute("begin")
reading.execute("select text from parts").fetchone()
print("reads", flush=True)
sys.stdin.read()
reading.close()
"""


@contextmanager
def reading_program(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Let another program read in the file, as a long search does, until the block ends."""
    command = [sys.executable, "-c", _READER, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as reader:  # noqa: S603 - ours
        assert reader.stdout is not None
        assert reader.stdout.readline()
        yield reader


async def test_a_purge_beside_a_program_that_reads_deletes_nothing_until_that_ends(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(opening, "BUSY_S", 0.1)
    async with aclosing(store_at(tmp_path)) as store:
        await write_others(store)
        session, _ = await write_secrets(store, 1)
        with reading_program(tmp_path / "lmchat" / "sessions.db"):
            with pytest.raises(StoreUnavailable, match="another program has locked it"):
                await store.purge(session.session_id)
            assert (await store.open_session(session.session_id)).messages
        assert await store.purge(session.session_id) == Purged()
        assert len(await store.list_sessions()) == 4
        assert left(tmp_path) == []


@pytest.mark.posix  # Windows removes no open file
async def test_files_that_cannot_be_removed_are_named(tmp_path, store):
    session, asked = await start_session(store, secret(1))
    await store.daily_check()
    running = replace(answer(parent=asked, state=AnswerState.STREAMING), parts=())
    await store.start_answer(session.session_id, running)
    folder = tmp_path / "lmchat"
    kept = {next(folder.glob("*.backup-*")), next(folder.glob("*-answer-*"))}
    for file in kept:  # nobody, root neither, can remove a folder as a file
        file.unlink()
        file.mkdir()
    purged = await store.purge(session.session_id)
    assert set(purged.left_files) == kept


async def test_a_copy_that_another_lmchat_was_making_before_a_purge_does_not_come(
    tmp_path, store, monkeypatch
):
    session, _ = await start_session(store, secret(1))
    await store.open()
    loop = asyncio.get_running_loop()

    def purge_now(_):
        done = asyncio.run_coroutine_threadsafe(store.purge(session.session_id), loop)
        assert done.result() == Purged()

    monkeypatch.setattr(backup, "require_whole", purge_now)  # the copy has all by then
    await asyncio.to_thread(backup.back_up, tmp_path / "lmchat" / "sessions.db", now())
    assert left(tmp_path) == []


async def test_a_file_that_another_session_or_draft_names_or_soon_a_message_stays(store):
    data = b"shared by three"
    new_data = b"its message is about to be written"
    file = attached(data, "shared.txt")
    await store.files.save(data)
    new_digest = await store.files.save(new_data)
    sessions = [header("one"), header("two")]
    for session in sessions:
        asked = prompt("See this")
        await store.append(session, replace(asked, parts=(file, *asked.parts)))
    running = replace(answer(parent=asked, state=AnswerState.STREAMING), parts=())
    await store.start_answer(sessions[1].session_id, running)
    await store.add_entries(running.message_id, [("text", "So far")])
    await store.purge(sessions[0].session_id)
    assert (await store.open_session(sessions[1].session_id)).messages[-1].text == "So far"
    assert await store.files.read(file.digest) == data
    await store.save_draft("", f"[shared.txt] {file.digest}", "")
    await store.purge(sessions[1].session_id)
    assert await store.files.read(file.digest) == data
    assert await store.files.read(new_digest) == new_data


async def pass_days(tmp_path, store, clock, days):
    """Close a store, and open it again so many days later."""
    await store.aclose()
    clock.moment += timedelta(days=days)
    again = store_at(tmp_path, clock)
    await again.open()
    return again


async def test_the_trash_expires_after_30_days_with_every_byte_and_a_copy_of_the_rest_is_there(
    tmp_path, store, clock
):
    await write_others(store)
    session, _ = await write_secrets(store, 1)
    await store.update_session(session.session_id, {"deleted_at": clock()})
    await store.daily_check()
    for days, is_left in ((29, True), (2, False)):
        store = await pass_days(tmp_path, store, clock, days)
        assert bool(left(tmp_path)) == is_left
        assert len(await store.list_sessions(is_trash=True)) == is_left
        newest = max((tmp_path / "lmchat").glob("sessions.db.backup-*"))
        with closing(sqlite3.connect(newest)) as raw:
            assert raw.execute("select count(*) from sessions").fetchone() == (4 + is_left,)
    await store.aclose()


async def test_a_deleted_message_expires_after_30_days_with_its_branch(tmp_path, store, clock):
    session, asked = await start_session(store, "Which vegetables?")
    said = await reply(store, session, "Lettuce.", asked)
    data = secret(1).encode()
    file = attached(data, "note.txt")
    more = prompt(secret(2), said)
    await store.files.save(data)
    await store.append(session, replace(more, parts=(file, *more.parts)))
    shown = await reply(store, session, "Parsley.", more)
    below = await reply(store, session, secret(3, 500), more)
    last = await say(store, session, secret(4), below)
    await store.delete_message(session.session_id, last.message_id)
    clock.moment += timedelta(hours=1)
    await store.delete_message(session.session_id, more.message_id)
    await store.daily_check()
    store = await pass_days(tmp_path, store, clock, 29)
    assert left(tmp_path)
    assert await store.last_deleted_id(session.session_id) == more.message_id
    store = await pass_days(tmp_path, store, clock, 2)
    assert left(tmp_path) == []
    assert await store.last_deleted_id(session.session_id) is None
    assert (await store.open_session(session.session_id)).messages == (asked, said)
    assert shown.message_id not in [one.message_id for one in await store.tree(session.session_id)]
    with pytest.raises(SessionNotFound):
        await store.restore_message(session.session_id, more.message_id)
    await store.aclose()


async def test_at_its_commit_a_purge_has_the_attached_files_but_no_copy(tmp_path, store):
    session, _ = await write_secrets(store, 1)
    await store.daily_check()
    at_commit: list[tuple[bool, ...]] = []

    def look(statement: str) -> None:
        if statement == "commit":
            found = (any(tmp_path.rglob(name)) for name in ("attachments/*", "*.backup-*"))
            at_commit.append((*found,))

    await store.database.run(lambda connection: connection.set_trace_callback(look))
    assert await store.purge(session.session_id) == Purged()
    assert at_commit == [(True, False)]
    assert left(tmp_path) == []


_KILLED_PURGE = """
import asyncio, os, sys
from pathlib import Path
from lmchat.core.storage.store import Store

left = int(sys.argv[3])
def count(event, _):
    global left
    if event == "os.remove":
        left -= 1
        if left == 0:
            os._exit(9)
sys.addaudithook(count)
asyncio.run(Store(Path(sys.argv[1])).purge(sys.argv[2]))
"""


@pytest.mark.parametrize("removed_file", [1, 2, 3, 4])
async def test_what_a_killed_purge_has_deleted_is_in_no_daily_copy(
    tmp_path, store, clock, removed_file
):
    """The program is killed when it is about to remove a file: a lock, a copy, an attached file."""
    await write_others(store)
    session, _ = await write_secrets(store, 1)
    for _ in range(2):
        await store.daily_check()
        clock.moment += timedelta(days=1)
    await store.aclose()
    path = tmp_path / "lmchat" / "sessions.db"
    command = [sys.executable, "-c", _KILLED_PURGE, str(path), session.session_id]
    killed = await asyncio.to_thread(subprocess.run, [*command, str(removed_file)], check=False)
    assert killed.returncode == 9
    async with aclosing(store_at(tmp_path, Clock(now() + timedelta(days=1)))) as again:
        await again.daily_check()
        is_deleted = len(await again.list_sessions()) == 4
    assert not (is_deleted and left(tmp_path))
