from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta

import pytest

from tests.support.chats import begin_session, header, prompt, reply, say, store_at

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


@pytest.mark.parametrize("days", [2, 36_500])
async def test_a_clock_that_was_far_ahead_for_a_while_lets_no_session_sink(store, clock, days):
    before, first, other = header("before"), header("one"), header("other")
    await say(store, before, "hello")
    clock.moment += timedelta(days=days)
    await say(store, first, "hello")
    asked = await say(store, other, "hello")
    assert await titles(store) == ["other", "one", "before"]
    clock.moment -= timedelta(days=days)
    await reply(store, other, "yes", asked)
    assert await titles(store) == ["other", "one", "before"]
    await say(store, before, "more")
    await say(store, header("now"), "hello")
    assert await titles(store) == ["other", "one", "now", "before"]


@pytest.mark.parametrize("jump", [*JUMPS, timedelta(days=-9000), timedelta(days=9000)])
async def test_what_was_deleted_last_comes_back_first_whatever_the_clock_says(store, clock, jump):
    session, root = await begin_session(store, "root")
    first, second = [await reply(store, session, text, root) for text in ("first", "second")]
    await store.delete_message(session.session_id, first.message_id)
    clock.moment += jump
    await store.delete_message(session.session_id, second.message_id)
    assert await store.last_deleted_message(session.session_id) == second.message_id
    await store.restore_message(session.session_id, second.message_id)
    assert await store.last_deleted_message(session.session_id) == first.message_id


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
