"""A program that is killed 200 times in a row of turns: nothing that it was told is saved is lost."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import aclosing
from itertools import count
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.sessions.message import AnswerState
from lmchat.storage.store import Store
from tests.support.chats import answer, faults_in, header, prompt
from tests.support.killed_programs import killed_program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_KILLS = 200
_MOST_LINES = 30  # that a program tells, a turn after the other, before it is killed
_LONGEST_S = 0.01  # from the last of them to the kill: more than it takes to tell the next
_PIECES = 4


async def talk_on(path: Path, session_id: str, name: int, told) -> None:
    """Ask and answer in one session without end; tell what is saved, as soon as it is."""
    session = replace(header("Kills"), session_id=session_id)
    store, parent = Store(path), None
    for number in count():
        turn = f"{name}-{number}"
        asked = prompt(turn, parent)
        await store.append(session, asked)
        os.write(told, f"prompt {turn}\n".encode())
        said = answer(parent=asked, state=AnswerState.STREAMING)
        await store.begin_answer(session_id, said)
        text = f"{turn}:"
        for piece in range(_PIECES):
            text += f" {piece}"
            await store.add_entries(said.message_id, [("text", f" {piece}" if piece else text)])
            os.write(told, f"piece {text}\n".encode())
        ended = answer(text, parent=asked)
        parent = replace(ended, message_id=said.message_id)
        await store.end_answer(session_id, parent)
        os.write(told, f"answer {text}\n".encode())


async def test_nothing_that_was_told_as_saved_is_lost_by_200_kills(tmp_path):
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
    assert len(told) > 10 * _KILLS
    assert faults_in(path) == ""
    # A file that had no name of its own yet is empty; the daily clean-up removes it.
    assert not list(tmp_path.glob("sessions.db-answer-*"))
    assert not [file for file in tmp_path.glob(".*-answer-*") if file.stat().st_size]
