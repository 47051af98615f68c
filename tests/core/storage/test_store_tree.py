from __future__ import annotations

import random
from itertools import pairwise

import pytest
from msgspec.structs import replace

from lmchat.base.errors import SessionNotFound
from lmchat.core.chat.save_queue import SaveQueue
from lmchat.core.sessions.message import AnswerState
from tests.support.chats import (
    answer,
    chat_with_tools,
    header,
    prompt,
    reply,
    say,
    start_session,
    tool_message,
)


def texts(session):
    return [message.text for message in session.messages]


def versions(session):
    return [(message.version, message.versions) for message in session.messages]


@pytest.fixture
async def talk(store):
    """Two versions of the answer to the first prompt; the first goes on, the second is shown."""
    session, asked = await start_session(store, "q1")
    first = await reply(store, session, "a1", asked)
    more = await say(store, session, "q2", first)
    last = await reply(store, session, "a2", more)
    second = await reply(store, session, "a1 again", asked)
    return session.session_id, asked, first, more, last, second


async def test_versions_are_siblings_of_one_role_and_the_newest_path_is_shown(store, talk):
    session_id, asked, first, _, _, second = talk
    session = await store.open_session(session_id)
    assert (texts(session), versions(session)) == (["q1", "a1 again"], [(1, 1), (2, 2)])
    assert session.header.message_count == 5
    tree = [message.text for message in await store.tree(session_id)]
    assert tree == ["q1", "a1", "q2", "a2", "a1 again"]

    session = await store.choose_path_through(session_id, first.message_id)
    assert texts(session) == ["q1", "a1", "q2", "a2"]
    assert versions(session) == [(1, 1), (1, 2), (1, 1), (1, 1)]
    assert texts(await store.open_session(session_id)) == ["q1", "a1", "q2", "a2"]
    assert texts(await store.choose_path_through(session_id, asked.message_id)) == [
        "q1",
        "a1 again",
    ]

    session = await store.delete_message(session_id, second.message_id)
    assert texts(session) == ["q1", "a1", "q2", "a2"]
    assert versions(session)[1] == (1, 1)
    assert session.header.message_count == 4
    session = await store.restore_message(session_id, second.message_id)
    assert (texts(session), versions(session)[1]) == (["q1", "a1 again"], (2, 2))

    await store.append(session.header, prompt("q1 better"))
    session = await store.open_session(session_id)
    assert (texts(session), versions(session)) == (["q1 better"], [(2, 2)])
    await store.append(session.header, prompt("no version of an answer", asked))
    assert versions(await store.open_session(session_id)) == [(1, 2), (1, 1)]


async def test_deleting_hides_all_that_hangs_below_and_search_no_longer_finds_it(store, talk):
    session_id, asked, first, *_ = talk
    assert await store.search("q2")
    session = await store.delete_message(session_id, first.message_id)
    assert texts(session) == ["q1", "a1 again"]
    assert await store.search("q2") == ()
    assert texts(await store.delete_message(session_id, asked.message_id)) == []
    assert await store.prompt_history() == ()
    assert texts(await store.restore_message(session_id, asked.message_id)) == ["q1", "a1 again"]
    assert await store.search("q2") == ()  # its own deletion still holds
    assert await store.last_deleted_id(session_id) == first.message_id
    await store.restore_message(session_id, first.message_id)
    assert await store.search("q2")
    assert await store.last_deleted_id(session_id) is None


async def test_after_a_deletion_the_shown_path_stays_as_far_as_it_is_left(store, talk):
    session_id, _, _, more, last, _ = talk
    session = await store.delete_message(session_id, last.message_id)  # of the other path
    assert texts(session) == ["q1", "a1 again"]
    await store.choose_path_through(session_id, more.message_id)
    session = await store.delete_message(session_id, more.message_id)
    assert texts(session) == ["q1", "a1"]
    # another window still shows the prompt, and goes on with it
    await reply(store, session.header, "a2 again", more)
    assert texts(await store.open_session(session_id)) == ["q1", "a1", "q2", "a2 again"]


async def test_a_fork_is_a_session_of_its_own(store, talk):
    session_id, asked, first, more, *_ = talk
    await store.update_session(session_id, {"is_pinned": True, "is_archived": True})
    fork = await store.fork(session_id, more.message_id)
    assert texts(fork) == ["q1", "a1", "q2"]
    assert fork.header.parent_id == session_id
    assert (fork.header.is_pinned, fork.header.is_archived) == (False, False)
    assert {message.message_id for message in fork.messages}.isdisjoint(
        {asked.message_id, first.message_id}
    )
    assert fork == await store.open_session(fork.header.session_id)
    await store.purge(session_id)
    assert texts(await store.open_session(fork.header.session_id)) == ["q1", "a1", "q2"]
    assert len(await store.search("q2")) == 1
    running = answer("a3", parent=fork.messages[-1], state=AnswerState.STREAMING)
    await store.start_answer(fork.header.session_id, running)
    of_running = await store.fork(fork.header.session_id, running.message_id)
    assert of_running.messages[-1].state is AnswerState.FAILED


async def test_a_tool_call_is_a_message_of_the_tree_and_another_run_its_second_version(store):
    talk = chat_with_tools()
    for message in talk.messages:
        await SaveQueue(store, store.append).save(talk.header, message)
    session = await store.open_session(talk.header.session_id)
    assert session.messages == talk.messages
    again = tool_message("No such file.", parent=talk.messages[1], state=AnswerState.FAILED)
    await SaveQueue(store, store.append).save(session.header, again)
    session = await store.open_session(talk.header.session_id)
    assert session.messages[-1] == replace(again, version=2, versions=2)
    assert (session.header.model, session.header.message_count) == ("qwen3-8b", 5)
    assert session.header.title == "Notes"


async def test_a_message_that_is_gone_is_told_as_such(store, talk):
    session_id, *_ = talk
    for operation in (
        store.choose_path_through,
        store.delete_message,
        store.restore_message,
        store.fork,
    ):
        with pytest.raises(SessionNotFound, match="no longer in its session"):
            await operation(session_id, "nowhere")


class RandomTalk:
    """One session under random operations; knows what was written and what is hidden."""

    def __init__(self, store, seed):
        self.store, self.dice, self.session = store, random.Random(seed), header()  # noqa: S311 - repeats
        self.written = []
        self.hidden = []

    async def step(self, number):
        target = self.dice.choice([*self.written, None])
        choice = self.dice.randrange(6)
        if target is None or choice == 0:
            self.written.append(await say(self.store, self.session, f"q{number}", target))
        elif choice in (1, 2):
            self.written.append(await reply(self.store, self.session, f"a{number}", target))
        elif choice == 3:
            await self.store.choose_path_through(self.session.session_id, target.message_id)
        elif choice == 4:
            await self.store.delete_message(self.session.session_id, target.message_id)
            self.hidden.append(target)
        elif self.hidden:
            await self.store.restore_message(self.session.session_id, self.hidden.pop().message_id)


@pytest.mark.parametrize("seed", range(4))
async def test_no_order_of_operations_loses_a_message(store, seed):
    talk = RandomTalk(store, seed)
    session_id = talk.session.session_id
    for number in range(60):
        await talk.step(number)
        shown = (await store.open_session(session_id)).messages
        assert all(child.parent_id == parent.message_id for parent, child in pairwise(shown))
    for message in talk.hidden:
        await store.restore_message(session_id, message.message_id)
    kept = {message.message_id: message.text for message in await store.tree(session_id)}
    assert kept == {message.message_id: message.text for message in talk.written}
