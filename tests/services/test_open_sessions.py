from __future__ import annotations

import asyncio

import pytest

from lmchat.config.settings import ChatSettings, Profile
from lmchat.errors import RequestInvalid, ServerUnavailable, StoreUnavailable
from lmchat.servers.events import RequestSent, StreamFinished, TextDelta
from lmchat.services.open_sessions import OpenSessions
from lmchat.sessions.message import AnswerState
from tests.support.scripted_backend import ScriptedBackend, answer_steps, read, target


def make(store, *scripts, **chat) -> OpenSessions:
    sessions = OpenSessions(
        chat=ChatSettings(**chat), backend=ScriptedBackend(*scripts), store=store
    )
    sessions.next_turn.target = target()
    return sessions


async def run(opened, sessions, text: str) -> None:
    """Ask, as the screen does, and read to the end."""
    await read(opened.conversation.send(text, sessions.next_turn.settings()))


async def test_without_server_or_model_asking_is_refused_with_the_next_step(store):
    sessions = make(store)
    sessions.next_turn.target = None
    with pytest.raises(RequestInvalid, match="No model server") as refused:
        sessions.next_turn.settings()
    assert "F5" in refused.value.hint
    sessions.next_turn.target = type(target())(endpoint=target().endpoint, product=target().product)
    with pytest.raises(RequestInvalid, match=r"^No LM Studio model selected"):
        sessions.next_turn.settings()


async def test_a_running_session_is_fetched_live_and_its_queue_with_it(store):
    gate = asyncio.Event()
    sessions = make(
        store, [RequestSent(), TextDelta(text="Let"), gate, StreamFinished(reason="stop")]
    )
    first = sessions.shown
    task = asyncio.create_task(run(first, sessions, "one"))
    await sessions._backend.asked.wait()
    sessions.shown.queue.append("two")
    sessions.begin()
    session_id = first.conversation.header.session_id
    assert sessions.streaming == {session_id}
    assert await sessions.load(session_id) is first
    stored = await store.open_session(session_id)
    assert sessions.show_path(stored) is first
    assert first.queue == ["two"]
    gate.set()
    await task
    assert [m.text for m in first.conversation.messages] == ["one", "Let"]


async def test_an_ended_session_is_read_from_the_disk_again_and_unread_till_it_is_shown(store):
    sessions = make(store)
    first = sessions.shown
    sessions.begin()
    await run(first, sessions, "one")
    sessions.mark_unread(first)
    assert sessions.unread == {first.session_id}
    again = sessions.show(await sessions.load(first.session_id))
    assert sessions.unread == set()
    assert again is not first
    assert [m.text for m in again.conversation.messages] == ["one", "Lettuce does well."]


async def test_a_session_that_is_not_on_the_disk_is_kept_open(store):
    sessions = make(store)
    first = sessions.shown

    async def full(*_args):
        raise StoreUnavailable("full")

    real, store.append, store.finish = (store.append, store.finish), full, full
    await run(first, sessions, "one")
    sessions.begin()
    assert await sessions.load(first.conversation.header.session_id) is first
    assert [one.session_id for one in sessions.unsaved()] == [first.conversation.header.session_id]
    store.append, store.finish = real
    await sessions.save_all()
    assert sessions.unsaved() == []
    assert len((await store.open_session(first.conversation.header.session_id)).messages) == 2


async def test_the_queue_goes_out_in_order_after_a_good_end_and_stays_after_a_bad_one(store):
    sessions = make(store, answer_steps("A"), [ServerUnavailable("away")], answer_steps("B"))
    opened = sessions.shown
    await run(opened, sessions, "one")
    sessions.shown.queue.append("two")
    sessions.shown.queue.append("three")
    assert opened.pop_next_prompt() == "two"
    await run(opened, sessions, "two")
    assert opened.conversation.turn.state is AnswerState.FAILED
    assert opened.pop_next_prompt() is None
    assert opened.queue == ["three"]
    await run(opened, sessions, "four")
    assert opened.pop_next_prompt() == "three"


async def test_a_profile_changes_what_it_names_and_a_second_one_inherits_nothing_from_it(store):
    sessions = make(store, temperature=0.7, system_prompt="Be kind.")
    cold, short = Profile(temperature=0.0, system_prompt=""), Profile(max_tokens=50)
    sessions.next_turn.use_profile("cold", {"cold": cold})
    assert (
        sessions.next_turn.settings().sampling.temperature,
        sessions.next_turn.options.chat.system_prompt,
    ) == (0.0, "")
    sessions.next_turn.use_profile("short", {"short": short})
    sampling = sessions.next_turn.settings().sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.7, 50)
    assert sessions.next_turn.options.chat.system_prompt == "Be kind."


async def test_a_refused_first_prompt_leaves_no_session_and_no_title(store):
    sessions = make(store, system_prompt="Be kind.", auto_truncate=False)
    sessions.next_turn.target = target(context_loaded=100)
    with pytest.raises(RequestInvalid, match="tokens") as refused:
        await run(sessions.shown, sessions, "word " * 400 + "\n")
    assert refused.value.kind == "context_overflow"
    assert sessions.shown.conversation.messages == ()
    assert await store.list_sessions() == ()
    assert sessions.shown.conversation.header.title == ""
