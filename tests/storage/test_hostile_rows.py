"""Values in the sessions' file that no lmchat writes."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from lmchat.domain.message import AnswerState
from tests.support.chats import header, reply, say, store_at


@pytest.mark.parametrize("owner", ["x'00'", "x'ff40ff'", "'²@x'", "5", "null", "''"])
async def test_an_answer_whose_owner_is_no_process_ends_and_keeps_no_session_from_being_opened(
    tmp_path, store, owner
):
    session = header()
    await reply(store, session, "answered", await say(store, session, "hello"))
    with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as raw, raw:
        raw.execute(f"update messages set state = 'streaming', owner = {owner} where role = 'assistant'")  # noqa: S608 - ours
    other = store_at(tmp_path)
    await other.open()
    messages = (await other.open_session(session.session_id)).messages
    await other.aclose()
    assert messages[1].state is not AnswerState.STREAMING


async def test_a_time_that_other_zones_have_no_form_for_keeps_no_session_from_being_opened(tmp_path, store):
    session = header()
    await reply(store, session, "answered", await say(store, session, "hello"))
    with closing(sqlite3.connect(tmp_path / "lmchat" / "sessions.db")) as raw, raw:
        raw.execute(
            "update messages set state = 'streaming', owner = null, created_at = ? where role = 'assistant'",
            ("0001-01-01T00:00:00+14:00",),
        )
    other = store_at(tmp_path)
    await other.open()
    messages = (await other.open_session(session.session_id)).messages
    await other.aclose()
    assert [message.text for message in messages] == ["hello"]
