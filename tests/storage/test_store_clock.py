from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta

import pytest

from tests.support.chats import header, prompt, reply, say, store_at

JUMPS = [timedelta(minutes=-1), timedelta(hours=-23)]


async def titles(store):
    return [session.title for session in await store.list_sessions()]


@pytest.mark.parametrize("jump", JUMPS)
async def test_where_the_clock_was_set_back_what_was_said_last_stands_first(store, clock, jump):
    first, other = header("one"), header("other")
    asked = await say(store, first, "hello")
    await say(store, other, "hello")
    clock.moment += jump
    await reply(store, first, "yes", asked)
    assert await titles(store) == ["one", "other"]
    await say(store, header("new"), "hello")
    assert await titles(store) == ["new", "one", "other"]


async def test_the_path_of_a_talk_is_in_its_order_whatever_the_clock_says(tmp_path, store, clock):
    session, last, said = header(), None, []
    for number, days in enumerate((0, 400, -800, 30_000, -30_000)):
        clock.moment += timedelta(days=days)
        last = prompt(f"prompt {number}", last)
        await store.append(session, last)
        said.append(last)
    async with aclosing(store_at(tmp_path, clock)) as other:
        assert (await other.open_session(session.session_id)).messages == tuple(said)
        assert list(await other.prompt_history()) == [message.text for message in reversed(said)]
