"""The store of the screen is made once, by the first call of any of its methods."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from lmchat.errors import StoreUnavailable
from lmchat.services.late_store import LateStore
from lmchat.services.ports import Lazy
from tests.support.chats import begin_session, store_at


async def test_calls_at_one_moment_make_one_store(tmp_path):
    made = []

    def make():
        made.append(store_at(tmp_path))
        return made[0]

    async with aclosing(LateStore(Lazy(make))) as late_store:
        assert made == []
        await asyncio.gather(*(begin_session(late_store, f"prompt {n}") for n in range(5)))
        assert len(await late_store.list_sessions()) == 5
    assert len(made) == 1
    with pytest.raises(StoreUnavailable, match="lmchat is quitting"):
        await late_store.list_sessions()


async def test_a_store_that_was_never_used_is_not_made_to_be_closed():
    await LateStore(Lazy(lambda: pytest.fail("it is not needed"))).aclose()
