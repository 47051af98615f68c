from __future__ import annotations

from contextlib import aclosing

import pytest

from lmchat.core.sessions.session import MessagePath
from tests.support.chats import fill_long, prompt, reply, say, start_session, store_at


async def only_session(store):
    (found,) = await store.list_sessions()
    return found.session_id


async def read_all(store, session_id, *, count):
    """Read a session from its end, so many messages at a time."""
    end = await store.open_session(session_id, count=count)
    path = end.messages
    next_id = end.earlier_id
    while next_id is not None:
        found, next_id = await store.read_path(session_id, next_id, count=count)
        path = path.after(found)
    return path


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 500])
async def test_the_end_and_what_stands_before_it_are_the_whole_session(store, count):
    talk = await fill_long(store, 300)
    session_id = await only_session(store)
    end = await store.open_session(session_id, count=count)
    assert list(end.messages) == talk[-count:]
    assert (end.earlier_id is None) == (count >= len(talk))
    assert await read_all(store, session_id, count=count) == tuple(talk)
    assert (await store.open_session(session_id)).messages == tuple(talk)


async def test_versions_are_counted_on_every_piece_as_in_the_tree(store):
    session, first = await start_session(store, "one")
    answers = [await reply(store, session, f"answer {n}", first) for n in range(3)]
    await say(store, session, "one, in other words")
    await store.choose_path_through(session.session_id, answers[1].message_id)
    more = await say(store, session, "two", answers[1])
    await reply(store, session, "last", more)
    tree = {
        message.message_id: (message.version, message.versions)
        for message in await store.tree(session.session_id)
    }
    for count in (1, 2, 10):
        path = await read_all(store, session.session_id, count=count)
        found = [(message.version, message.versions) for message in path]
        assert found == [tree[message.message_id] for message in path]
        assert found == [(1, 2), (2, 3), (1, 1), (1, 1)]


async def test_another_program_may_write_while_a_session_is_read(tmp_path, store):
    talk = await fill_long(store, 200)
    session_id = await only_session(store)
    async with aclosing(store_at(tmp_path)) as other:
        end = await store.open_session(session_id, count=64)
        session = (await other.open_session(session_id, count=1)).header
        await other.append(session, prompt("meanwhile", talk[-1]))
        await other.delete_message(session_id, talk[40].message_id)
        path = end.messages
        next_id = end.earlier_id
        while next_id is not None:
            found, next_id = await store.read_path(session_id, next_id, count=64)
            path = path.after(found)
        assert list(path[-64:]) == talk[-64:]
        await other.purge(session_id)
        assert await store.read_path(session_id, end.earlier_id, count=64) == (MessagePath(), None)
