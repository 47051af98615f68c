"""`/set`: sampling options of one session, from the next answer on."""

from __future__ import annotations

from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.chat.next_turn import value_words
from lmchat.chat.open_sessions import OpenSessions
from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.config.settings import ChatSettings
from lmchat.errors import StoreUnavailable, WrongUse
from lmchat.servers.model import Target
from tests.support.chats import store_at
from tests.support.scripted_backend import (
    ENDPOINT,
    ScriptedBackend,
    model,
    set_options,
)

LLAMA = Target(endpoint=ENDPOINT, product="llama.cpp", model=model())


def sessions_on(store, *scripts, **chat) -> OpenSessions:
    sessions = OpenSessions(
        chat=ChatSettings(**chat), server=ScriptedBackend(*scripts), store=store
    )
    sessions.next_turn.target = LLAMA
    return sessions


async def change(sessions, typed) -> str:
    return await sessions.set_option(sessions.shown, typed)


def rows(sessions) -> list[tuple[str, str, str]]:
    options = sessions.next_turn.options_of(sessions.shown)
    return [(option.name, value_words(option), option.origin) for option in options]


async def ask(sessions, text, opened=None):
    """Ask, as the screen does, and return the options of the request, without a drawn seed."""
    opened = opened or sessions.shown
    sessions.send_now(opened, text)
    await sessions.wait(opened)
    return set_options(sessions.server.requests[-1])


async def test_an_option_is_sent_after_a_restart_until_default_takes_it_back(tmp_path):
    async with aclosing(store_at(tmp_path)) as store:
        sessions = sessions_on(store)
        await ask(sessions, "one")
        assert await change(sessions, "top_k 20") == (
            "top_k is 20 from the next answer on (session)."
        )
        await change(sessions, 'stop=["###", "ä"]')
        session_id = sessions.shown.session_id
    async with aclosing(store_at(tmp_path)) as store:
        sessions = sessions_on(store)
        sessions.show(await sessions.load(session_id))
        assert await ask(sessions, "two") == {"top_k": 20, "stop": ("###", "ä")}
        await change(sessions, "stop default")
        assert await change(sessions, "top_k default") == (
            "top_k is not sent, from the next answer on."
        )
        assert await ask(sessions, "three") == {}


async def test_options_of_a_new_session_are_saved_with_its_first_message(store):
    sessions = sessions_on(store)
    await change(sessions, "seed 7")
    assert await store.list_sessions() == ()
    saved_id = sessions.begin().session_id
    assert await ask(sessions, "one") == {"seed": 7}
    assert (await store.open_session(saved_id)).header.sampling == {"seed": 7}
    sessions.begin()
    assert await ask(sessions, "one") == {}


async def test_a_wrong_name_or_value_is_refused_and_nothing_changes(store):
    sessions = sessions_on(store)
    await change(sessions, "seed 7")
    unknown = "Unknown sampling option: temprature; did you mean temperature?"
    for typed, problem in (
        ("temprature 1", unknown),
        ("temprature", unknown),
        ("temprature default", unknown),
        ("temperature = nan", "temperature must be a number, not nan."),
        ("=", "/set needs the name of an option."),
    ):
        with pytest.raises(WrongUse) as refused:
            await change(sessions, typed)
        assert refused.value.message == problem
    assert sessions.shown.header.sampling == {"seed": 7}


async def test_an_option_that_the_server_ignores_is_refused_and_one_holds_though_the_disk_fails(
    store,
):
    sessions = sessions_on(store)
    await ask(sessions, "one")

    async def full(*_args):
        raise StoreUnavailable("full")

    store.update_session = full
    with pytest.raises(StoreUnavailable):
        await change(sessions, "xtc_probability 0.5")
    sessions.next_turn.target = replace(LLAMA, product="Ollama")
    with pytest.raises(WrongUse, match="Ollama does not take min_p") as refused:
        await change(sessions, "min_p 0.1")
    assert "temperature" in refused.value.hint
    # set before at another server: it stays for that one, and the list says that it is not sent
    assert await ask(sessions, "one") == {"xtc_probability": 0.5}  # left out by the client
    assert rows(sessions) == [("xtc_probability", "0.5", "session; not sent to Ollama")]


async def test_the_list_names_value_and_origin_and_one_name_says_what_it_may_be(store):
    sessions = sessions_on(store, temperature=0.7)
    await change(sessions, 'logit_bias {"15043": 5}')
    bias, temperature = rows(sessions)
    assert bias == ("logit_bias", '{"15043": 5}', "session")
    assert temperature[0] == "temperature"
    described = await change(sessions, "temperature")
    assert described.startswith("temperature is 0.7 (")
    assert "It may be a number (randomness, 0 to 2" in described
    assert described.endswith("or default.")
    assert "min_p is not set." in await change(sessions, "min_p")
    assert await change(sessions, "extra.x") == (
        "extra.x is not set. It may be any value, which is sent as it is, or default."
    )


async def test_what_the_command_line_or_effort_has_set_stays(store):
    layers = SamplingLayers(command_line={"temperature": 0.3}, chat={"top_p": 0.9})
    sessions = OpenSessions(
        chat=ChatSettings(), server=ScriptedBackend(), store=store, layers=layers
    )
    sessions.next_turn.target = LLAMA
    for typed in ("temperature 1", "temperature default"):
        with pytest.raises(WrongUse, match="which has priority over /set"):
            await change(sessions, typed)
    await change(sessions, "top_p 0.5")
    assert rows(sessions) == [
        ("temperature", "0.3", "command line"),
        ("top_p", "0.5", "session"),
    ]
    assert await change(sessions, "top_p default") == (
        "top_p is 0.9 from the next answer on ([chat])."
    )
    sessions.next_turn.use_effort("low")
    with pytest.raises(WrongUse, match="which has priority over /set"):
        await change(sessions, "reasoning_effort high")
    assert sessions.shown.header.sampling == {}
