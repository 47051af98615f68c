"""Programs that write one file: killed at any moment, and several at once."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import aclosing, contextmanager
from pathlib import Path

import pytest

from lmchat.doctor.machine_checks import store_findings
from lmchat.sessions.message import AnswerState, new_id
from lmchat.storage.store import Store
from tests.support.chats import header, say, store_at

pytestmark = pytest.mark.slow  # a program for each test

ROOT = Path(__file__).parents[2]


@contextmanager
def streaming(
    path: Path, session_id: str, *, kind: str = "text"
) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.chats", "stream", str(path), session_id, kind]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)  # noqa: S603 - ours
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


async def opened(path: Path, session_id: str):
    store = Store(path)
    try:
        return await store.open_session(session_id)
    finally:
        await store.aclose()


async def test_an_answer_killed_before_its_first_word_has_failed(tmp_path):
    path, session_id = tmp_path / "sessions.db", new_id()
    with streaming(path, session_id, kind="nothing") as child:
        assert child.stdout.readline() == "begun\n"
        assert (await opened(path, session_id)).messages[1].state is AnswerState.STREAMING
    said = (await opened(path, session_id)).messages[1]
    assert (said.state, said.parts) == (AnswerState.FAILED, ())
    assert said.failure.hint == "Ask again."


async def test_an_answer_that_another_window_streams_stays_as_it_is(tmp_path):
    path, session_id = tmp_path / "sessions.db", new_id()
    store = Store(path)
    with streaming(path, session_id) as child:
        for _ in range(10):
            child.stdout.readline()
        first = (await store.open_session(session_id)).messages[1]
        while int(child.stdout.readline()) <= len(first.text.split()):
            pass
        second = (await store.open_session(session_id)).messages[1]
    assert first.state is second.state is AnswerState.STREAMING
    assert second.text.startswith(first.text)
    assert len(second.text) > len(first.text)
    last = (await store.open_session(session_id)).messages[1]
    await store.aclose()
    assert last.state is AnswerState.INTERRUPTED  # found out without opening the file again
    assert last.text.startswith(second.text)
    assert last.failure.message == "lmchat ended while this answer was streaming."
    assert last.failure.hint == "Continue it, or ask again."


async def run_child(path: Path, *arguments: str) -> str:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.chats", "ask", str(path), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    out, errors = await child.communicate()
    return out.decode() + errors.decode()


async def test_two_processes_that_begin_the_file_at_once_and_talk_in_one_session_lose_nothing(
    tmp_path,
):
    path, session_id, turns = tmp_path / "sessions.db", new_id(), 25
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


async def test_what_this_process_looks_at_leaves_its_locks_so_that_no_other_removes_the_log(
    tmp_path, store
):
    session, path = header(), tmp_path / "lmchat" / "sessions.db"
    first = await say(store, session, "needle one")
    await store.search("needle")
    store_findings(path)
    async with aclosing(store_at(tmp_path)) as again:
        await again.open()
        await again.search("needle")
    assert await run_child(path, new_id(), "A", "1") == "done\n"
    assert path.with_name("sessions.db-wal").exists()
    second = await say(store, session, "needle two", first)
    assert await run_child(path, new_id(), "B", "1") == "done\n"
    fresh = Store(path)
    assert [hit.message_id for hit in await fresh.search("needle")] == [
        second.message_id,
        first.message_id,
    ]
    assert len(await store.list_sessions()) == 3
    await fresh.aclose()
