"""`/set`: sampling options of one session, from the next answer on."""

from __future__ import annotations

from unittest.mock import AsyncMock

import pytest

from lmchat.base.errors import StoreUnavailable, WrongUse
from lmchat.core.chat.settings import SamplingLayers
from tests.support.chat_turns import ChatTurns
from tests.support.scripted_backend import set_options


async def change(chat: ChatTurns, typed: str) -> str:
    return await chat.sessions.turn_options.set_typed(chat.session, typed)


def rows(chat: ChatTurns) -> list[tuple[str, str, str]]:
    return chat.sessions.turn_options.option_rows(chat.session)


async def ask(chat: ChatTurns, text: str) -> dict[str, object]:
    """Ask, and return the options of the request, without a drawn seed."""
    await chat.send(text)
    return set_options(chat.server.requests[-1])


async def test_an_option_is_sent_after_a_restart_until_default_takes_it_back(store):
    chat = ChatTurns(store)
    await ask(chat, "one")
    assert await change(chat, "top_k 20") == "top_k is 20 from the next answer on (session)."
    await change(chat, 'stop=["###", "ä"]')
    again = ChatTurns(store)
    await again.open(chat.session.session_id)
    assert await ask(again, "two") == {"top_k": 20, "stop": ("###", "ä")}
    await change(again, "stop default")
    assert await change(again, "top_k default") == "top_k is not sent, from the next answer on."
    assert await ask(again, "three") == {}


async def test_options_of_a_new_session_are_saved_with_its_first_message(store):
    chat = ChatTurns(store)
    await change(chat, "seed 7")
    assert await store.list_sessions() == ()
    saved_id = chat.sessions.open_sessions.switch_to_new().session_id
    assert await ask(chat, "one") == {"seed": 7}
    assert (await store.open_session(saved_id)).header.sampling == {"seed": 7}
    chat.sessions.open_sessions.switch_to_new()
    assert await ask(chat, "one") == {}


async def test_a_typed_field_is_sent_until_the_end_of_the_run_wherever_its_session_is_shown(store):
    chat = ChatTurns(store)
    await change(chat, "extra.top_a 0.5")
    assert await ask(chat, "one") == {"extra.top_a": 0.5}
    first = chat.session
    fork = await chat.sessions.open_sessions.fork(first, chat.path[-1].message_id)
    chat.sessions.open_sessions.switch_to_new()
    assert await ask(chat, "two") == {}
    for session_id in (fork.header.session_id, first.session_id):
        await chat.open(session_id)
        await chat.edit(chat.path[0], "three")
        assert set_options(chat.server.requests[-1]) == {"extra.top_a": 0.5}
    again = ChatTurns(store)
    await again.open(first.session_id)
    await change(again, "temperature 1")
    unsent = ("stored.extra.top_a", "0.5", "session; not sent to llama.cpp")
    assert rows(again) == [unsent, ("temperature", "1.0", "session")]
    assert "extra.top_a is not set." in await change(again, "extra.top_a")
    await change(again, "extra.top_a 0.5")
    assert await ask(again, "four") == {"extra.top_a": 0.5, "temperature": 1}
    last = ChatTurns(store)
    await last.open(first.session_id)
    await change(last, "extra.top_a default")
    assert (await store.open_session(first.session_id)).header.sampling == {"temperature": 1}


async def test_a_wrong_name_or_value_is_refused_and_nothing_changes(store):
    chat = ChatTurns(store)
    await change(chat, "seed 7")
    unknown = "Unknown sampling option: temprature; did you mean temperature?"
    for typed, problem in (
        ("temprature 1", unknown),
        ("temprature", unknown),
        ("temp", "Unknown sampling option: temp; did you mean temperature?"),
        ("system Be brief.", "system is no sampling option."),
        ("nothink", "nothink is no sampling option."),
        ("temperature = nan", "temperature must be a number from 0 to 2, not nan."),
        ("=", "/set needs the name of an option."),
    ):
        with pytest.raises(WrongUse) as refused:
            await change(chat, typed)
        assert refused.value.message == problem
    assert chat.session.header.sampling == {"seed": 7}


async def test_an_option_that_the_server_ignores_is_refused_and_one_holds_though_the_disk_fails(
    store,
):
    chat = ChatTurns(store)
    await ask(chat, "one")
    store.update_session = AsyncMock(side_effect=StoreUnavailable("full"))
    await change(chat, "xtc_probability 0.5")  # it is written when the disk can be used again
    assert chat.sessions.save_queue.warning is not None
    chat.use("Ollama")
    with pytest.raises(WrongUse, match="Ollama does not take min_p") as refused:
        await change(chat, "min_p 0.1")
    assert "temperature" in refused.value.next_step
    # set before at another server: it stays for that one, and the list says that it is not sent
    assert await ask(chat, "one") == {"xtc_probability": 0.5}  # left out by the proxy
    assert rows(chat) == [("xtc_probability", "0.5", "session; not sent to Ollama")]


async def test_the_list_names_value_and_origin_and_one_name_says_what_it_may_be(store):
    chat = ChatTurns(store, temperature=0.7)
    await change(chat, 'logit_bias {"15043": 5}')
    bias, temperature = rows(chat)
    assert bias == ("logit_bias", '{"15043": 5}', "session")
    assert temperature[0] == "temperature"
    described = await change(chat, "temperature")
    assert described.startswith("temperature is 0.7 (")
    assert "It may be a number from 0 to 2 (randomness; unset" in described
    assert described.endswith("or default.")
    assert "min_p is not set." in await change(chat, "min_p")
    assert await change(chat, "extra.x") == (
        "extra.x is not set. It may be any value, which is sent as it is, or default."
    )


async def test_what_the_command_line_or_effort_has_set_stays(store):
    chat = ChatTurns(store)
    chat.sessions.turn_options.layers = SamplingLayers(
        command_line={"temperature": 0.3}, chat={"top_p": 0.9}
    )
    for typed in ("temperature 1", "temperature default"):
        with pytest.raises(WrongUse, match="which has priority over /set"):
            await change(chat, typed)
    await change(chat, "top_p 0.5")
    assert rows(chat) == [("temperature", "0.3", "command line"), ("top_p", "0.5", "session")]
    assert await change(chat, "top_p default") == "top_p is 0.9 from the next answer on ([chat])."
    chat.sessions.turn_options.use_effort("low")
    with pytest.raises(WrongUse, match="which has priority over /set"):
        await change(chat, "reasoning_effort high")
    assert chat.session.header.sampling == {}
