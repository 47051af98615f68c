from __future__ import annotations

from lmchat.config.settings import Profile
from tests.support.chat_turns import ChatTurns


async def test_a_profile_changes_what_it_names_and_a_second_one_inherits_nothing_from_it(store):
    sessions = ChatTurns(store, temperature=0.7, system_prompt="Be kind.").sessions
    cold, short = Profile(temperature=0.0, system_prompt=""), Profile(max_tokens=50)
    sessions.turn_options.use_profile("cold", {"cold": cold})
    assert (
        sessions.turn_options.settings({}).sampling.temperature,
        sessions.turn_options.chat_settings.system_prompt,
    ) == (0.0, "")
    sessions.turn_options.use_profile("short", {"short": short})
    sampling = sessions.turn_options.settings({}).sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.7, 50)
    assert sessions.turn_options.chat_settings.system_prompt == "Be kind."
