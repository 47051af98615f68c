"""The store of the screen is made once, by the first call of any of its methods."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from lmchat.errors import StoreUnavailable
from lmchat.services.late_store import LateStore
from lmchat.services.ports import ChatStore, Lazy
from tests.support.chats import begin_session, store_at

METHODS = {name for name in vars(ChatStore) if not name.startswith("_")}


class Calls:
    """Store that notes which methods are called, with what."""

    def __init__(self):
        self.noted = []
        for name in METHODS:
            setattr(self, name, self._method(name))

    def _method(self, name):
        async def method(*args, **options):
            self.noted.append((name, args, options))
            return name

        return method


async def test_each_method_of_the_protocol_calls_that_of_the_store():
    calls = Calls()
    late_store = LateStore(Lazy(lambda: calls))
    for name in sorted(METHODS - {"aclose"}):
        assert await getattr(late_store, name)("id", limit=3) == name
        assert calls.noted.pop() == (name, ("id",), {"limit": 3})


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
