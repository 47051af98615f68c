"""What lies open: live sessions, the queue, how the next turn is asked."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from lmchat.config.settings import ChatSettings, Profile
from lmchat.domain.event import RequestSent, StreamFinished, TextDelta
from lmchat.domain.message import AnswerState, Role
from lmchat.errors import RequestInvalid, ServerUnavailable, StoreUnavailable
from lmchat.services.open_sessions import Desk
from lmchat.storage.sessions import SessionStore
from tests.support.scripted_backend import ScriptedBackend, answer, target


@pytest.fixture
async def store(tmp_path):
    store = SessionStore(tmp_path / "sessions.db")
    yield store
    await store.aclose()


def make(store, *scripts, **chat) -> Desk:
    desk = Desk(chat=ChatSettings(**chat), backend=ScriptedBackend(*scripts), store=store)
    desk.target = target()
    return desk


async def run(opened, desk, text: str) -> None:
    """Ask, as the screen does, and read to the end."""
    async with aclosing(opened.conversation.send(text, desk.how_to_ask())) as events:
        async for _ in events:
            pass


async def test_without_server_or_model_asking_is_refused_with_the_next_step(store):
    desk = make(store)
    desk.target = None
    with pytest.raises(RequestInvalid, match="No model server") as refused:
        desk.how_to_ask()
    assert "F5" in refused.value.hint
    desk.target = type(target())(endpoint=target().endpoint, product=target().product)
    with pytest.raises(RequestInvalid, match=r"^No LM Studio model selected"):
        desk.how_to_ask()


async def test_a_running_session_is_fetched_live_and_its_queue_with_it(store):
    gate = asyncio.Event()
    desk = make(store, [RequestSent(), TextDelta(text="Let"), gate, StreamFinished(reason="stop")])
    first = desk.shown
    task = asyncio.create_task(run(first, desk, "one"))
    await desk._backend.asked.wait()
    desk.enqueue("two")
    desk.begin()
    session_id = first.conversation.header.session_id
    assert desk.streaming == {session_id}
    assert await desk.fetch(session_id) is first
    stored = await store.open_session(session_id)
    assert desk.adopt(stored) is first
    assert [one.text for one in first.queue] == ["two"]
    gate.set()
    await task
    assert [m.text for m in first.conversation.messages] == ["one", "Let"]


async def test_an_ended_session_is_read_from_the_disk_again(store):
    desk = make(store)
    first = desk.shown
    await run(first, desk, "one")
    desk.begin()
    again = await desk.open(first.conversation.header.session_id)
    assert again is not first
    assert [m.text for m in again.conversation.messages] == ["one", "Lettuce does well."]


async def test_a_session_that_is_not_on_the_disk_is_kept_open(store):
    desk = make(store)
    first = desk.shown

    async def full(*_args):
        raise StoreUnavailable("full")

    real, store.append, store.finish = (store.append, store.finish), full, full
    await run(first, desk, "one")
    desk.begin()
    assert await desk.fetch(first.conversation.header.session_id) is first
    assert [one.session_id for one in desk.unsaved()] == [first.conversation.header.session_id]
    store.append, store.finish = real
    await desk.settle()
    assert desk.unsaved() == []
    assert len((await store.open_session(first.conversation.header.session_id)).messages) == 2


async def test_the_queue_goes_out_in_order_after_a_good_end_and_is_held_after_a_bad_one(store):
    desk = make(store, answer("A"), [ServerUnavailable("away")], answer("B"))
    opened = desk.shown
    await run(opened, desk, "one")
    desk.enqueue("two")
    desk.enqueue("three")
    assert desk.next_after(opened) == "two"
    await run(opened, desk, "two")
    assert opened.conversation.turn.state is AnswerState.FAILED
    assert desk.next_after(opened) is None
    assert [(one.text, one.is_held) for one in opened.queue] == [("three", True)]
    await run(opened, desk, "four")
    assert desk.next_after(opened) == "three"


async def test_a_refused_text_waits_first(store):
    desk = make(store)
    desk.enqueue("later")
    desk.shown.hold("refused")
    assert [(one.text, one.is_held) for one in desk.shown.queue] == [("refused", True), ("later", True)]


async def test_taking_what_has_just_gone_out_takes_nothing(store):
    desk = make(store)
    desk.enqueue("one")
    assert desk.take_queued(3) == ""
    assert desk.take_queued(0) == "one"
    assert desk.take_queued(0) == ""


async def test_an_answer_that_ended_behind_another_session_is_unread_till_it_is_shown(store):
    desk = make(store)
    first = desk.shown
    desk.begin()
    await run(first, desk, "one")
    desk.next_after(first)
    session_id = first.conversation.header.session_id
    assert desk.unread == {session_id}
    await desk.open(session_id)
    assert desk.unread == set()


async def test_one_turn_a_session(store):
    desk = make(store)
    desk.shown.is_asking = True
    with pytest.raises(RequestInvalid, match="still on its way"):
        desk.shown.require_rest()


async def test_a_profile_changes_only_what_it_names(store):
    desk = make(store, temperature=0.7, system_prompt="Be kind.")
    desk.use_profile(Profile(max_tokens=50))
    sampling = desk.how_to_ask().sampling
    assert (sampling.temperature, sampling.max_tokens, desk.chat.system_prompt) == (
        0.7,
        50,
        "Be kind.",
    )


async def test_of_two_profiles_the_second_does_not_inherit_from_the_first(store):
    desk = make(store, temperature=0.7, system_prompt="Be kind.")
    desk.use_profile(Profile(temperature=0.1, system_prompt=""))
    assert desk.chat.system_prompt == "", "set to nothing is set"
    desk.use_profile(Profile(max_tokens=50))
    assert (desk.chat.temperature, desk.chat.max_tokens, desk.chat.system_prompt) == (0.7, 50, "Be kind.")


async def test_a_zero_of_a_profile_is_a_value(store):
    desk = make(store, temperature=0.7)
    desk.use_profile(Profile(temperature=0.0))
    assert desk.how_to_ask().sampling.temperature == 0.0


async def test_a_refused_first_prompt_leaves_no_session_and_no_title(store):
    desk = make(store, system_prompt="Be kind.", auto_truncate=False)
    desk.target = target(context_loaded=100)
    with pytest.raises(RequestInvalid, match="tokens"):
        await run(desk.shown, desk, "word " * 400 + "\n")
    assert await store.list_sessions() == ()
    assert desk.shown.conversation.header.title == ""


async def test_the_system_prompt_is_the_last_one_on_the_path(store):
    desk = make(store, answer("A"), answer("B"), system_prompt="One.")
    await run(desk.shown, desk, "x")
    await desk.shown.conversation.set_system_prompt("Two.")
    await run(desk.shown, desk, "y")
    asked = desk._backend.requests
    assert [request.messages[0].text for request in asked] == ["One.", "Two."]
    assert [m.role for m in asked[1].messages].count(Role.SYSTEM) == 1


async def test_what_is_held_stays_when_what_was_said_after_it_goes_out_with_a_model(store):
    desk = make(store)
    desk.enqueue("held")
    desk.hold_waiting()
    desk.enqueue("new")
    assert [text for _, text in desk.take_waiting()] == ["new"]
    assert [one.text for one in desk.shown.queue] == ["held"]
