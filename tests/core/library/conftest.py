"""A session with versions, for tests of saved sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from lmchat.core.storage.store import Store
from tests.support.chats import header, reply, say


@pytest.fixture
def branched(store: Store) -> Callable[[str], Awaitable[str]]:
    """Add a session whose first prompt has an answer in two versions, each gone on with."""

    async def add(title: str) -> str:
        session = header(title)
        asked = await say(store, session, "first question")
        old = await reply(store, session, "old answer", asked)
        await say(store, session, "after the old one", old)
        new = await reply(store, session, "new answer", asked)
        await say(store, session, "after the new one", new)
        await say(store, session, "first question, edited")
        await store.choose_path_through(session.session_id, new.message_id)
        return session.session_id

    return add
