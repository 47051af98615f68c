from __future__ import annotations

from lmchat.chat.open_sessions import OpenSessions
from lmchat.config.settings import ChatSettings, Profile
from lmchat.errors import ServerUnavailable
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
