"""Programs that are killed again and again: nothing told as saved is lost, nothing told as purged comes back."""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
from contextlib import aclosing, closing
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.core.sessions.message import AnswerState, now
from lmchat.core.storage.store import Store
from tests.support.chats import answer, faults_in, header, prompt, reply, start_session
from tests.support.killed_programs import killed_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_KILLS = 60
_MOST_LINES = 20  # that a program tells, a turn after the other, before it is killed
_LONGEST_S = 0.01  # from the last of them to the kill: more than it takes to tell the next
_PIECES = 4


async def talk_on(path: Path, session_id: str, name: int, told) -> None:
    """Ask and answer in one session without end; tell what is saved, as soon as it is."""
    session = replace(header("Kills"), session_id=session_id)
    store = Store(path)
    parent = None
    for number in count():
        turn = f"{name}-{number}"
        asked = prompt(turn, parent)
        await store.append(session, asked)
        os.write(told, f"prompt {turn}\n".encode())
        said = answer(parent=asked, state=AnswerState.STREAMING)
        await store.start_answer(session_id, said)
        text = f"{turn}:"
        for piece in range(_PIECES):
            text += f" {piece}"
            await store.add_entries(said.message_id, [("text", f" {piece}" if piece else text)])
            os.write(told, f"piece {text}\n".encode())
        ended = answer(text, parent=asked)
        parent = replace(ended, message_id=said.message_id)
        await store.end_answer(session_id, parent)
        os.write(told, f"answer {text}\n".encode())


async def test_nothing_that_was_told_as_saved_is_lost_by_a_kill(tmp_path):
    path, session_id, dice = tmp_path / "sessions.db", header().session_id, random.Random(1)  # noqa: S311 - repeats
    told: list[str] = []
    for name in range(_KILLS):
        end = dice.randint(1, _MOST_LINES), dice.uniform(0, _LONGEST_S)
        told += await asyncio.to_thread(killed_program, talk_on, path, session_id, name, *end)
        async with aclosing(Store(path)) as store:
            saved = await store.tree(session_id)
            assert not [one for one in saved if one.state is AnswerState.STREAMING]
    texts = {one.text for one in saved}
    complete = {one.text for one in saved if one.state is AnswerState.COMPLETE}
    longest = {text.partition(":")[0]: text for text in texts if ":" in text}
    for line in told:
        kind, _, text = line.partition(" ")
        if kind == "prompt":
            assert text in texts, line
        elif kind == "answer":
            assert text in complete, line
        else:
            assert longest[text.partition(":")[0]].startswith(text), line
    assert len(told) > 5 * _KILLS
    assert faults_in(path) == ""
    # A file that had no name of its own yet is empty; the daily clean-up removes it.
    assert not list(tmp_path.glob("sessions.db-answer-*"))
    assert not [file for file in tmp_path.glob(".*-answer-*") if file.stat().st_size]


async def purge_on(path: Path, _: str, name: int, told) -> None:
    """Save, delete, restore and purge sessions and messages without end; tell what is started and done."""
    store = Store(path)

    def tell(what: str, text: str) -> None:
        os.write(told, f"{what} {text}\n".encode())

    for number in count():
        text = f"words-of-{name}-{number}."
        session, asked = await start_session(store, text)
        tell("saved", text)
        session_id = session.session_id
        if number % 5 == 2:
            await store.daily_check()
        if number % 2:
            said = await reply(store, session, f"answer-{text}", asked)
            await store.delete_message(session_id, said.message_id)
            if number % 4 == 1:
                await store.restore_message(session_id, said.message_id)
                tell("saved", f"answer-{text}")
            else:
                tell("purging", f"answer-{text}")
                await store.purge(is_with_messages=True)
                tell("purged", f"answer-{text}")
        else:
            await store.update_session(session_id, {"deleted_at": now()})
            if number % 4 == 0:
                await store.update_session(session_id, {"deleted_at": None})
            else:
                tell("purging", text)
                await store.purge(session_id)
                tell("purged", text)


async def test_no_kill_loses_what_was_saved_or_brings_back_what_was_purged(tmp_path):
    path, dice = tmp_path / "sessions.db", random.Random(3)  # noqa: S311 - repeats
    told: dict[str, set[str]] = {"saved": set(), "purging": set(), "purged": set()}
    for name in range(_KILLS):
        end = dice.randint(1, _MOST_LINES), dice.uniform(0, _LONGEST_S)
        for line in await asyncio.to_thread(killed_program, purge_on, path, "", name, *end):
            what, _, text = line.partition(" ")
            told[what].add(text)
    async with aclosing(Store(path)) as store:
        await store.open()
    with closing(sqlite3.connect(path)) as raw:
        left = {text for (text,) in raw.execute("select text from parts")}
    assert told["saved"] - told["purging"] <= left
    assert len(told["purged"]) > _KILLS / 2
    on_disk = b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert not [text for text in told["purged"] if text.encode() in on_disk]
    assert faults_in(path) == ""
