from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta

from tests.support.chats import header, prompt, store_at


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
