"""Probabilities of the tokens of an answer, as they are stored."""

from __future__ import annotations

import sqlite3
from contextlib import closing

from msgspec.structs import replace

from lmchat.core.sessions.tokens import Alternative, TokenProbabilities
from tests.support.chats import answer, start_session

HOSTILE = ("\x1b[2J", "", "\n", "\t", "\x00", "👩\u200d💻", "\u202e", "\ufffd", "x" * 1000)


def choice(token: str, logprob: float = -0.25, *others: str) -> TokenProbabilities:
    top = tuple(Alternative(token=other, logprob=-2.5) for other in others)
    return TokenProbabilities(token=token, logprob=logprob, text=token, top=top)


APPROVAL_SCOPES = (
    choice("No", -0.125, "No", "Yes"),
    replace(choice("é", -999.0), text="xé", is_thought=True),
    *(choice(text, -1.0, *HOSTILE) for text in HOSTILE),
)


async def test_choices_are_read_as_they_were_written_copied_by_a_fork_and_purged(tmp_path, store):
    session, asked = await start_session(store, "Really?")
    said = answer("No", parent=asked)
    await store.start_answer(session.session_id, said)
    await store.end_answer(session.session_id, said, APPROVAL_SCOPES)
    await store.end_answer(session.session_id, said)
    fork = await store.fork(session.session_id, said.message_id)
    for message in (said, fork.messages[-1]):
        assert await store.token_probabilities(message.message_id) == APPROVAL_SCOPES
    for purged in (session, fork.header):
        await store.purge(purged.session_id)
    with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as raw:
        assert raw.execute("select count(*) from token_choices").fetchone() == (0,)
