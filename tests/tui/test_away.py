"""An answer that its server has continued while lmchat was away, on the screen."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from msgspec.structs import replace

from lmchat.servers.events import TextDelta
from lmchat.sessions.message import AnswerStats, interrupted
from lmchat.storage.store import Store
from tests.support.chats import answer as reply
from tests.support.chats import begin_session
from tests.support.desktop import desktop, shown
from tests.support.scripted_backend import ScriptedBackend, answer_steps

KEPT_ID = "ab" * 16


async def saved_session(folder) -> str:
    """Save a session whose answer broke off after its first word; return its id."""
    async with aclosing(Store(folder / "sessions.db")) as store:
        session, asked = await begin_session(store, "Which vegetables?")
        killed = interrupted(reply("Let", parent=asked), "lmchat was killed")
        await store.append(session, replace(killed, stats=AnswerStats(replay_id=KEPT_ID)))
    return session.session_id


async def test_opening_its_session_fetches_the_rest_and_says_so(tmp_path):
    session_id = await saved_session(tmp_path)
    *words, usage, end = answer_steps("Lettuce and leeks.")
    gate = asyncio.Event()
    # long enough between the words for a speed
    backend = ScriptedBackend([*words, 0.1, TextDelta(text=" And more."), gate, usage, end])
    backend.kept.add(KEPT_ID)
    async with desktop(tmp_path, backend, resume_id=session_id) as desk:
        await shown(desk, "Lettuce and leeks. And more.", "● LM Studio        ready")
        assert desk.shown.figures.tokens_per_second is None  # the time is not that of its writing
        gate.set()
        await shown(desk, "continued while you were away")
        assert (await desk.texts_on_disk())[1:] == ["Lettuce and leeks. And more."]
