"""Probabilities of the tokens of an answer, as they are stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from msgspec.structs import replace

from lmchat.sessions.message import Alternative, TokenProbabilities
from tests.support.chats import answer, begin_session

HOSTILE = ("\x1b[2J", "", "\n", "\t", "\x00", "👩\u200d💻", "\u202e", "\ufffd", "x" * 1000)


def choice(token: str, logprob: float = -0.25, *others: str) -> TokenProbabilities:
    top = tuple(Alternative(token=other, logprob=-2.5) for other in others)
    return TokenProbabilities(token=token, logprob=logprob, text=token, top=top)


CHOICES = (
    choice("No", -0.125, "No", "Yes"),
    replace(choice("é", -999.0), text="xé", is_thought=True),
    *(choice(text, -1.0, *HOSTILE) for text in HOSTILE),
)


async def answered(store, choices=CHOICES):
    """Write a session whose answer has choices, and return both."""
    session, asked = await begin_session(store, "Really?")
    said = answer("No", parent=asked)
    await store.begin_answer(session.session_id, said)
    await store.finish(session.session_id, said, choices)
    return session, said


def rows_of(folder) -> int:
    with closing(sqlite3.connect(folder / "lmchat" / "sessions.db")) as raw:
        return raw.execute("select count(*) from token_choices").fetchone()[0]


async def test_choices_are_read_as_they_were_written(store):
    _, said = await answered(store)
    assert await store.token_choices(said.message_id) == CHOICES


async def test_choices_stay_when_the_answer_is_written_again_without_them(store):
    session, said = await answered(store)
    await store.finish(session.session_id, said)
    assert await store.token_choices(said.message_id) == CHOICES


async def test_a_fork_has_the_choices_of_its_answers(store):
    session, said = await answered(store)
    fork = await store.fork(session.session_id, said.message_id)
    assert await store.token_choices(fork.messages[-1].message_id) == CHOICES


async def test_a_purged_session_leaves_no_choices(tmp_path, store):
    session, _ = await answered(store)
    await store.purge(session.session_id)
    assert rows_of(tmp_path) == 0
