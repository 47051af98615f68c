from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.config.settings import Profile, SamplingSettings
from tests.support.chat_turns import ChatTurns


async def test_a_profile_changes_what_it_names_and_a_second_one_inherits_nothing_from_it(store):
    sessions = ChatTurns(store, temperature=0.7, system_prompt="Be kind.").sessions
    cold = Profile(temperature=0.0, system_prompt="")
    short = Profile(max_tokens=50)
    sessions.turn_options.use_profile("cold", {"cold": cold})
    assert (
        sessions.turn_options.settings({}).sampling.temperature,
        sessions.turn_options.chat_settings.system_prompt,
    ) == (0.0, "")
    sessions.turn_options.use_profile("short", {"short": short})
    sampling = sessions.turn_options.settings({}).sampling
    assert (sampling.temperature, sampling.max_tokens) == (0.7, 50)
    assert sessions.turn_options.chat_settings.system_prompt == "Be kind."


async def test_an_effort_that_was_typed_comes_before_the_configuration_until_it_is_taken_back(
    store,
):
    options = ChatTurns(store, reasoning_effort="high", temperature=0.7).sessions.turn_options
    options.layers = replace(options.layers, models={"qwen3*": SamplingSettings(temperature=0.1)})
    for typed, effort in (("", "high"), ("low", "low"), ("default", "")):
        if typed:
            options.use_effort(typed)
        sampling = options.settings({}).sampling
        assert (sampling.reasoning_effort, sampling.temperature) == (effort, 0.1)
        shown = {one.name: one.value for one in options.options_with_origin({})}
        assert (shown.get("reasoning_effort", ""), shown["temperature"]) == (effort, 0.1)
    options.target = None
    assert options.options_with_origin({})[-1].value == 0.7, "of no model"
