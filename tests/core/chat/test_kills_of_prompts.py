"""A chat that is killed while it sends: each prompt is a draft or a message, never both."""

from __future__ import annotations

import asyncio
import os
import random
from contextlib import aclosing
from itertools import count

import pytest

from lmchat.core.sessions.message import Role
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.storage.store import Store
from tests.support.chat_turns import ChatTurns
from tests.support.chats import start_session
from tests.support.killed_programs import killed_program
from tests.support.scripted_backend import answer_steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

_KILLS = 40
_MOST_LINES = 8
_LONGEST_S = 0.02


async def send_on(path, session_id: str, name: int, told) -> None:
    """Type and send prompts in one session without end; tell what is on the disk."""
    turns = ChatTurns(Store(path), *[answer_steps("Yes.")] * 99)
    sessions = turns.sessions
    drafts = turns.sessions.drafts
    session = sessions.open_sessions.switch_to(
        await sessions.open_sessions.find_or_load(session_id)
    )
    await drafts.load(session_id)
    for number in count():
        text = f"{name}-{number}."
        drafts.change(session_id, text[:-1])
        await drafts.write()
        drafts.change(session_id, text)
        writing = asyncio.create_task(drafts.write())
        if number % 2:  # else the prompt is sent before its draft is on the disk
            await writing
            os.write(told, f"{text}\n".encode())
        drafts.change(session_id, "")
        sessions.send(session, PendingPrompt(draft=text))
        await turns.wait()
        os.write(told, f"{text}\n".encode())
        await writing


async def test_no_kill_leaves_a_prompt_as_message_and_as_draft_or_loses_it(tmp_path):
    path, dice = tmp_path / "sessions.db", random.Random(2)  # noqa: S311 - repeats
    async with aclosing(Store(path)) as store:
        session, _ = await start_session(store, "The beginning.")
    for name in range(_KILLS):
        end = dice.randint(1, _MOST_LINES), dice.uniform(0, _LONGEST_S)
        told = await asyncio.to_thread(
            killed_program, send_on, path, session.session_id, name, *end
        )
        async with aclosing(Store(path)) as store:
            said = [
                one.text for one in await store.tree(session.session_id) if one.role is Role.USER
            ]
            draft = await store.draft(session.session_id)
            await store.save_draft(session.session_id, "", draft)
        assert {*told} <= {*said, draft}
        assert draft not in said
        assert f"{draft}." not in said, "its beginning"
