"""Files that versions of lmchat before its first release wrote: none of them is lost.

`data/format_3` was written at commit 0faa866, with two answers whose process was killed. The other
files are what the first and the last of these versions wrote.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import stat
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from lmchat.domain.message import AnswerState, ReasoningPart, RefusalPart, ToolCallPart
from lmchat.domain.telemetry import Metrics
from lmchat.errors import StoreUnavailable
from lmchat.storage.schema import OLDEST_EXTENDED, VERSION
from lmchat.storage.store import SqliteStore
from lmchat.storage.unsaved import UnsavedStore
from tests.support.chats import START, Clock, faults_in, store_at
from tests.support.faults import no_room, no_root, open_folder

DATA = Path(__file__).parent / "data"
TREE = "tree00000001"


def write_sql(folder, version):
    """Write the file of a version from its statements, and return its path."""
    path = folder / "lmchat" / "sessions.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript((DATA / f"format_{version}.sql").read_text())
    return path


def dump(path):
    with closing(sqlite3.connect(path)) as raw:
        return list(raw.iterdump())


def version_of(path):
    with closing(sqlite3.connect(path)) as raw:
        return raw.execute("pragma user_version").fetchone()[0]


def texts(messages):
    return [message.text for message in messages]


async def test_an_older_file_is_kept_under_another_name_and_its_messages_are_in_a_new_one(tmp_path):
    path = write_sql(tmp_path, 1)
    before = dump(path)
    async with aclosing(store_at(tmp_path)) as store:
        assert await store.open() == (
            "sessions.db was written by a development version of lmchat. It is kept as "
            "sessions.db.format-1; the new file has 5 messages recovered from it."
        )
        (header,) = await store.list_sessions()
        assert (header.title, header.is_pinned, header.tags) == (
            "Which vegetables grow in shade?",
            True,
            (),
        )
    aside = path.with_name("sessions.db.format-1")
    assert dump(aside) == before
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (version_of(path), faults_in(path)) == (VERSION, "")

    async with aclosing(store_at(tmp_path)) as store:
        assert await store.open() == ""
    assert {file.name for file in path.parent.iterdir()} == {path.name, aside.name}


async def test_without_room_for_the_copy_nothing_is_changed(tmp_path):
    path = write_sql(tmp_path, 1)
    async with aclosing(store_at(tmp_path)) as store:
        half_bytes = path.stat().st_size // 2
        with no_room(half_bytes), pytest.raises(StoreUnavailable, match=r"the disk .*full"):
            await store.open()
        assert version_of(path) == 1
        assert list(path.parent.glob("*format*")) == []
        assert len(await store.list_sessions()) == 1


@pytest.mark.parametrize("version", [1, OLDEST_EXTENDED])
async def test_all_that_the_first_and_the_last_development_version_wrote_is_there(
    tmp_path, version
):
    write_sql(tmp_path, version)
    async with aclosing(store_at(tmp_path)) as store:
        (header,) = await store.list_sessions()
        asked, first, second = await store.tree(header.session_id)
        assert texts([asked, first]) == ["Which vegetables grow in shade?", "Lettuce."]
        assert (first.reasoning, first.tool_calls[0].arguments) == ("Let me think.", '{"q": 1}')
        assert (first.receipt.completion_tokens, first.version, first.versions) == (312, 1, 2)
        assert second.failure.message == "lmchat ended while this answer was streaming."
        deleted = await store.last_deleted_message(header.session_id)
        restored = await store.restore_message(header.session_id, deleted)
        assert restored.messages[-1].failure.message == "The server went away."
        trash = await store.list_sessions(is_trash=True)
        assert [trashed.title for trashed in trash] == ["Old trash"]
        assert await store.draft("") == "half a thought"
        assert (await store.ledger_rows())[0].tokens_per_second == 42.0
        assert (await store.metrics.load()) == Metrics(total_requests=3)
        assert [hit.message_id for hit in await store.search("lettuce")] == [first.message_id]


@pytest.mark.parametrize("version", [4, 5])
async def test_a_format_before_is_extended_and_keeps_all_else_also_unused_tables(tmp_path, version):
    path = write_sql(tmp_path, version)
    async with aclosing(UnsavedStore(store_at(tmp_path))) as unsaved:
        assert await unsaved.open() == ""
        (header,) = await unsaved.list_sessions()
        await unsaved.update_session(header.session_id, {"title": "A copy"})
        assert len(await unsaved.tree(header.session_id)) == 3
        assert (await unsaved.list_sessions())[0].tags == ("garden", "plans")
    async with aclosing(store_at(tmp_path)) as store:
        await store.purge(header.session_id)
        assert await store.list_sessions() == ()
    assert faults_in(path) == ""
    assert version_of(path) == VERSION
    assert list(path.parent.glob("*format*")) == []


async def test_windows_that_open_a_format_before_at_once_all_get_the_new_one(tmp_path):
    path = write_sql(tmp_path, OLDEST_EXTENDED)
    stores = [SqliteStore(path) for _ in range(4)]
    notices = await asyncio.gather(*(store.open() for store in stores))
    assert notices == ["", "", "", ""]
    for store in stores:
        (header,) = await store.list_sessions()
        assert header.sampling == {}
        assert not any(message.is_excluded for message in await store.tree(header.session_id))
        await store.aclose()
    assert version_of(path) == VERSION


async def test_a_read_only_older_file_is_refused():
    with open_folder() as folder:
        path = write_sql(folder, 1)
        path.chmod(0o444)
        path.parent.chmod(0o555)
        store = SqliteStore(path)
        with no_root(), pytest.raises(StoreUnavailable, match="from an older lmchat"):
            await store.list_sessions()
        await store.aclose()
        path.parent.chmod(0o755)


@pytest.fixture
async def old(tmp_path):
    home = tmp_path / "lmchat"
    home.mkdir()
    for file in (DATA / "format_3").iterdir():
        shutil.copy(file, home)
    store = store_at(tmp_path, Clock(START))
    yield store
    await store.aclose()


async def test_the_sessions_are_listed_as_they_were(old):
    assert "It is kept as sessions.db.format-3" in await old.open()
    listed = await old.list_sessions()
    assert listed[0].title == "Locks in C++"
    assert (listed[0].tags, listed[0].is_pinned, listed[0].message_count) == (
        ("code", "c++"),
        True,
        8,
    )
    assert {header.title for header in listed} >= {
        "What weighs a zeppelin?",
        "Tell me a long story",
    }
    archived = [header.title for header in listed if header.is_archived]
    assert archived == ["Old news about trains"]
    assert [header.parent_id for header in listed if header.parent_id] == ["plain0000001"]
    trash = await old.list_sessions(is_trash=True)
    assert [header.title for header in trash] == ["Thrown away zeppelin"]


async def test_a_tree_has_its_branches_versions_and_parts(old):
    session = await old.open_session(TREE)
    shown = ["t-system", "t-ask", "t-answer-2", "t-more", "t-refused"]
    assert [message.message_id for message in session.messages] == shown
    second = session.messages[2]
    assert (second.version, second.versions) == (2, 2)
    assert isinstance(second.parts[1], ToolCallPart)
    assert second.parts[1].arguments == '{"file": "mutex.cpp"}'
    assert second.receipt.tokens_per_second == 41.5
    assert session.messages[4].parts == (RefusalPart(text="I will not translate that."),)
    assert await old.branch_names(TREE) == {"t-other": "rust"}
    other = await old.set_leaf(TREE, "t-failed")
    assert isinstance(other.messages[2].parts[0], ReasoningPart)
    last = other.messages[-1]
    assert (last.state, last.failure.kind) == (AnswerState.INTERRUPTED, "stream_interrupted")
    assert await old.last_deleted_message(TREE) == "t-gone"
    restored = await old.restore_message(TREE, "t-gone")
    assert texts(restored.messages)[-1] == "A question that was deleted: zeppelin"


async def test_answers_of_a_killed_process_have_failed_and_their_files_are_kept(old, tmp_path):
    story = (await old.open_session("running00001")).messages[-1]
    assert (story.state, story.parts) == (AnswerState.FAILED, ())
    for answer in ("l-answer", "r-answer"):
        kept = tmp_path / "lmchat" / f"sessions.db.format-3-answer-{answer}"
        original = DATA / "format_3" / f"sessions.db-answer-{answer}"
        assert kept.read_bytes() == original.read_bytes()


async def test_all_that_was_said_is_found(old):
    for query, ids in {
        "mutex": {"t-ask", "t-answer-1", "t-answer-2"},
        "ubergroße": {"t-ask"},
        "日本": {"t-more"},
        "mutex.cpp": {"t-answer-2"},
        "title:locks has:code": {"t-answer-1"},
    }.items():
        assert {hit.message_id for hit in await old.search(query)} == ids, query


async def test_it_is_written_to(old, tmp_path):
    session = await old.open_session("plain0000001")
    copy = await old.fork("plain0000001", session.messages[-1].message_id)
    await old.purge("trash0000001")
    assert await old.list_sessions(is_trash=True) == ()
    assert texts(copy.messages)[0] == "What weighs a zeppelin?"
    assert faults_in(tmp_path / "lmchat" / "sessions.db") == ""
