from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import aclosing, closing
from pathlib import Path

import pytest

from lmchat.domain.message import AnswerState
from lmchat.domain.telemetry import Metrics
from lmchat.errors import StoreUnavailable
from lmchat.storage.schema import MIGRATIONS, VERSION
from tests.storage.test_store_disk import no_room
from tests.support.chats import Clock, faults_in, store_at
from tests.support.pty_program import ROOT

STORED = sorted((Path(__file__).parent / "versions").glob("*.sql"))
"""A file of every version that was ever released, as it was written then."""


def test_there_is_a_stored_file_of_every_version():
    assert [int(path.stem) for path in STORED] == list(range(1, VERSION + 1))


@pytest.fixture(params=STORED, ids=lambda path: path.stem)
async def store(request, tmp_path):
    path = tmp_path / "lmchat" / "sessions.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(request.param.read_text())
    opened = store_at(tmp_path)
    yield opened
    await opened.aclose()


async def test_all_that_an_earlier_version_wrote_is_there(store):
    (header,) = await store.list_sessions()
    assert (header.title, header.is_pinned) == ("Which vegetables grow in shade?", True)
    tree = await store.tree(header.session_id)
    assert [message.text for message in tree] == [
        "Which vegetables grow in shade?",
        "Lettuce.",
        "Spinach",
    ]
    asked, first, second = tree
    assert (first.reasoning, first.tool_calls[0].arguments) == ("Let me think.", '{"q": 1}')
    assert (first.receipt.completion_tokens, first.version, first.versions) == (312, 1, 2)
    assert (second.state, second.reasoning, second.failure.kind) == (
        AnswerState.INTERRUPTED,
        "Hm",
        "interrupted",
    )
    deleted = await store.last_deleted_message(header.session_id)
    restored = await store.restore_message(header.session_id, deleted)
    assert restored.messages[-1].failure.message == "The server went away."
    assert [trashed.title for trashed in await store.list_sessions(is_trash=True)] == ["Old trash"]
    assert await store.draft("") == "half a thought"
    assert (await store.ledger_rows())[0].tokens_per_second == 42.0
    assert (await store.metrics.load()) == Metrics(total_requests=3)
    assert [hit.message_id for hit in await store.search("lettuce")] == [first.message_id]
    assert asked.parent_id is None


async def test_what_people_added_to_a_session_is_there_since_version_3(store, request):
    (header,) = await store.list_sessions()
    asked, first, _ = await store.tree(header.session_id)
    names, place = (
        await store.branch_names(header.session_id),
        await store.bookmark(header.session_id),
    )
    if request.node.callspec.params["store"].stem < "3":
        assert (header.tags, dict(names), place) == ((), {}, "")
    else:
        assert header.tags == ("garden", "plans")
        assert names == {first.message_id: "with lettuce"}
        assert place.split(" ")[0] == asked.message_id


async def test_an_old_file_has_the_same_tables_as_a_new_one(tmp_path, store):
    await store.open()
    new = store_at(tmp_path / "new")
    await new.open()
    await new.aclose()
    tables = []
    for folder in (tmp_path, tmp_path / "new"):
        with closing(sqlite3.connect(folder / "lmchat" / "sessions.db")) as raw:
            tables.append(
                set(
                    raw.execute("select name, sql from sqlite_master where name not like 'words_%'")
                )
            )
            assert raw.execute("pragma user_version").fetchone() == (len(MIGRATIONS),)
            assert raw.execute("pragma integrity_check").fetchone() == ("ok",)
    assert tables[0] == tables[1]


def old_file(folder):
    """Return a file as version 1 wrote it."""
    path = folder / "lmchat" / "sessions.db"
    path.parent.mkdir()
    with closing(sqlite3.connect(path)) as raw:
        raw.executescript(STORED[0].read_text())
    return path


def copies(path):
    return sorted(one for one in path.parent.iterdir() if "format" in one.name)


async def test_before_its_tables_change_a_file_is_copied_as_it_was(tmp_path):
    path = old_file(tmp_path)
    with closing(sqlite3.connect(path)) as raw:
        before = list(raw.iterdump())
    for _ in range(2):
        async with aclosing(store_at(tmp_path)) as store:
            await store.open()
    (copy,) = copies(path)
    assert copy.name == "sessions.db.format-1"
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    with closing(sqlite3.connect(copy)) as raw:
        assert list(raw.iterdump()) == before
        assert raw.execute("pragma user_version").fetchone() == (1,)


async def test_without_room_for_the_copy_nothing_is_changed(tmp_path):
    path = old_file(tmp_path)
    async with aclosing(store_at(tmp_path)) as store:
        with (
            no_room(path.stat().st_size // 2),
            pytest.raises(StoreUnavailable, match=r"the disk .*full"),
        ):
            await store.open()
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("pragma user_version").fetchone() == (1,)
        assert copies(path) == []
        assert len(await store.list_sessions()) == 1


async def test_a_copy_goes_with_what_was_deleted_since(tmp_path):
    path = old_file(tmp_path)
    for age_days in (29, 31):
        async with aclosing(store_at(tmp_path)) as store:
            await store.open()
        (copy,) = copies(path)
        moment_s = time.time() - age_days * 86_400
        os.utime(copy, (moment_s, moment_s))
    async with aclosing(store_at(tmp_path, Clock())) as store:
        await store.open()
    assert copies(path) == []


_OPENING = """
import asyncio, sys
from pathlib import Path
from lmchat.storage.store import SqliteStore
from tests.support.chats import header, say

async def main():
    store = SqliteStore(Path(sys.argv[1]))
    sys.stdin.readline()
    await say(store, header(), "hello")
    await store.aclose()

asyncio.run(main())
"""


@pytest.mark.slow
async def test_many_that_start_at_one_moment_on_an_old_file_all_get_along(tmp_path):
    path = old_file(tmp_path)
    argv = [sys.executable, "-c", _OPENING, str(path)]
    children = [subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE) for _ in range(5)]  # noqa: ASYNC220, S603 - ours
    for child in children:
        child.stdin.write(b"go\n")
        child.stdin.close()
    assert [child.wait() for child in children] == [0] * 5
    async with aclosing(store_at(tmp_path)) as store:
        assert len(await store.list_sessions()) == 6
        assert faults_in(path) == ""
    assert [copy.name for copy in copies(path)] == ["sessions.db.format-1"]
