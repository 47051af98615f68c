"""Programs that write one file at once."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing
from pathlib import Path

import pytest

from lmchat.core.sessions.message import new_id
from lmchat.core.storage.opening import check_file
from lmchat.core.storage.store import Store
from tests.support.chats import header, say, store_at

pytestmark = pytest.mark.slow  # a program for each test

ROOT = Path(__file__).parents[3]


async def run_child(path: Path, *arguments: str) -> str:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.chats", str(path), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, errors = await child.communicate()
    return out.decode() + errors.decode()


async def test_two_processes_that_begin_the_file_at_once_and_talk_in_one_session_lose_nothing(
    tmp_path,
):
    path = tmp_path / "sessions.db"
    session_id = new_id()
    turns = 25
    outputs = await asyncio.gather(
        run_child(path, session_id, "A", str(turns)),
        run_child(path, session_id, "B", str(turns)),
        run_child(path, new_id(), "C", str(turns)),
    )
    assert outputs == ["done\n"] * 3
    store = Store(path)
    said = {message.text for message in await store.tree(session_id)}
    sessions = await store.list_sessions()
    await store.aclose()
    wanted = {f"{who} asks {turn}" for who in "AB" for turn in range(turns)}
    assert said == wanted | {f"to {who} {turn}" for who in "AB" for turn in range(turns)}
    assert {found.message_count for found in sessions} == {4 * turns, 2 * turns}


async def test_what_this_process_looks_at_leaves_its_locks_and_what_others_write_is_seen(
    tmp_path, store
):
    session = header()
    path = tmp_path / "lmchat" / "sessions.db"
    first = await say(store, session, "needle one")
    await store.search("needle")
    check_file(path)
    async with aclosing(store_at(tmp_path)) as again:
        await again.open()
        await again.search("needle")
    assert await run_child(path, new_id(), "A", "1") == "done\n"
    second = await say(store, session, "needle two", first)
    assert await run_child(path, new_id(), "B", "1") == "done\n"
    fresh = Store(path)
    assert [hit.message_id for hit in await fresh.search("needle")] == [
        second.message_id,
        first.message_id,
    ]
    assert len(await store.list_sessions()) == 3
    await fresh.aclose()
