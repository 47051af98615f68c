from __future__ import annotations

import asyncio
from contextlib import nullcontext

import pytest
from msgspec.structs import replace

from lmchat.base.errors import (
    NoServerFound,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
    WrongUse,
)
from lmchat.core.config.settings import EndpointSettings, Settings, TimeoutSettings
from lmchat.core.config.state import State
from lmchat.core.servers.discovery.choose import no_server_error
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.discovery.status import ServerState
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState
from tests.support.scripted_backend import ENDPOINT, model, probed


class _ScriptedBackend:
    """A backend that returns scripted detections one after the other, and then always the last."""

    def __init__(self, *detections):
        self.detections = list(detections)
        self.named = None

    async def detect(self, *, named=(), is_counted=True):
        self.named = named
        return self._next()

    async def check(self, endpoint, *, key=""):
        return self._next()[0]

    def _next(self):
        return self.detections.pop(0) if len(self.detections) > 1 else self.detections[0]


async def _find_target(*detections, settings=None, notes=None, state=None):
    note = notes.append if notes is not None else str
    backend = _ScriptedBackend(*detections)
    return await ServerFinder(
        backend, settings or Settings(), lambda: state or State()
    ).ready_model(note=note)


async def test_the_only_model_is_asked_even_if_it_is_not_in_memory():
    lone = model("a", state=LoadState.NOT_LOADED)
    embedding = model("e", kind="embedding")
    notes = []
    target = await _find_target((probed("model_not_loaded", lone, embedding),), notes=notes)
    assert (target.model_id, notes) == ("a", [])


async def test_of_several_models_none_is_guessed():
    models = [
        model(name, state=LoadState.NOT_LOADED, kind="embedding" * (name == "embed"))
        for name in ("a", "b", "embed")
    ]
    with pytest.raises(RequestInvalid, match=r"^No LM Studio model selected$") as caught:
        await _find_target((probed("model_not_loaded", *models),))
    assert caught.value.next_step == "Choose one with -m MODEL: a, b."
    used = State().with_model(ENDPOINT.url, "b").with_model("http://localhost:9", "c")
    target = await _find_target((probed("model_not_loaded", *models),), state=used)
    assert target.model_id == "b"
    named = Settings(model="embed")
    seen = probed("model_not_loaded", *models[:2], model("embed", kind="embedding"))
    with pytest.raises(WrongUse, match="embed makes embeddings and cannot chat"):
        await _find_target((seen,), settings=named)


async def test_names_of_models_are_words_of_the_command_to_paste():
    models = [model(name, state=LoadState.NOT_LOADED) for name in ("a", "$(reboot)")]
    with pytest.raises(RequestInvalid) as caught:
        await _find_target((probed("model_not_loaded", *models),))
    assert caught.value.next_step == "Choose one with -m MODEL: a, '$(reboot)'."


async def test_of_many_models_twenty_are_named_and_of_a_server_without_chat_models_none():
    many = [model(f"m{number}", state=LoadState.NOT_LOADED) for number in range(21)]
    with pytest.raises(RequestInvalid) as caught:
        await _find_target((probed("model_not_loaded", *many),))
    assert caught.value.next_step.endswith(", m18, m19 ….")
    with pytest.raises(RequestInvalid) as caught:
        await _find_target((probed("model_not_loaded", model("e", kind="embedding")),))
    assert "cannot chat. Load another one there" in caught.value.next_step


OTHERS = [replace(model(name), endpoint=Endpoint.parse("http://localhost:8080")) for name in "bc"]


async def test_models_are_named_on_any_server_and_beside_another_on_its_own_alone():
    there = Endpoint.parse("http://localhost:8080")
    here = probed("", model("a"))
    beside = probed("", *OTHERS, endpoint=there)
    finder = ServerFinder(_ScriptedBackend((here, beside), ()), Settings(), State)
    models = await finder.models_named(["a", "b"])
    assert [one.endpoint for one in models] == [ENDPOINT, there]
    assert finder.beside(models[1])("c").model_id == "c"
    with pytest.raises(WrongUse):
        finder.beside(models[0])("c")
    with pytest.raises(NoServerFound):
        await finder.models_named(["a"])


@pytest.mark.parametrize(
    ("product", "listed", "is_asked"),
    [("Ollama", "ab", False), ("Ollama", "", True), ("LiteLLM", "ab", True)],
)
async def test_a_model_that_is_not_listed_is_asked_only_where_there_may_be_more(
    product, listed, is_asked
):
    seen = probed("", *map(model, listed), product=product)
    with nullcontext() if is_asked else pytest.raises(WrongUse, match="No server has a model c"):
        assert (await _find_target((seen,), settings=Settings(model="c"))).model_id == "c"


async def test_a_server_that_needs_a_key_may_have_the_missing_model():
    # none of its models is known before it has the key
    locked = probed("auth", product="Jan")
    found = (probed("", model("a")), locked)
    with pytest.raises(WrongUse, match="No server has a model c") as caught:
        await _find_target(found, settings=Settings(model="c"))
    assert caught.value.next_step.startswith(
        f"Jan at {ENDPOINT.url} answers, but needs an API key."
    )


async def test_a_server_is_waited_for_as_long_as_the_first_token_may_take():
    settings = Settings(timeouts=TimeoutSettings(first_token_s=0.1))
    notes = []
    with pytest.raises(ServerUnavailable, match=r"no token arrived within 0\.1 s"):
        async with asyncio.timeout(5):
            await _find_target((probed("loading"),), settings=settings, notes=notes)
    assert notes == ["LM Studio is loading its model …"]


async def test_a_server_that_goes_away_while_loading_is_told():
    with pytest.raises(NoServerFound):
        await _find_target((probed("loading"),), (probed("offline"),))


async def test_a_server_that_cannot_be_used_says_why():
    for verdict, kind in [
        ("auth", "auth"),
        ("key_rejected", "auth"),
        ("host_blocked", "host_blocked"),
        ("not_an_llm", "not_an_llm"),
        ("server_error", "server_error"),
    ]:
        with pytest.raises(ServerRejected) as caught:
            await _find_target((probed(verdict, is_configured=True, next_step="Do this."),))
        assert caught.value.kind == kind
        or_name = " If it only lacks a list of models, name a model with -m MODEL."
        may_have_models = verdict in ("not_an_llm", "server_error")
        assert caught.value.next_step == f"Do this.{or_name * may_have_models}"
        assert caught.value.exit_code == 1


def test_a_stranger_on_a_known_port_does_not_hide_that_there_is_no_server():
    error = no_server_error((probed("not_an_llm"), probed("offline")))
    assert error.kind == "no_server"


def test_a_server_that_wants_a_key_goes_before_strangers():
    error = no_server_error((probed("not_an_llm"), probed("auth")))
    assert error.kind == "auth"


async def test_a_named_server_is_the_only_one_looked_at_and_used_also_after_a_search():
    away = probed("offline", is_configured=True)
    backend = _ScriptedBackend((away,), (away, probed("", *OTHERS)))
    finder = ServerFinder(backend, Settings(endpoint=ENDPOINT.url), State)
    assert len(await finder.look()) == 1
    assert backend.named is None
    await finder.search()
    assert finder.choice().state is ServerState.AWAY


async def test_configured_servers_are_looked_at_first():
    own = EndpointSettings(name="n", url="localhost:5")
    backend = _ScriptedBackend(())
    await ServerFinder(backend, Settings(endpoints=(own,)), State).look()
    assert backend.named == (Endpoint.parse("http://localhost:5"),)


async def test_requests_at_the_same_time_share_one_look_also_if_it_finds_nothing():
    for found in (probed("", model()), probed("timeout")):
        backend = _ScriptedBackend((found,))
        gate = asyncio.Event()
        looks = []
        detect = backend.detect

        async def slow(gate=gate, looks=looks, detect=detect, **more):
            looks.append(1)
            await gate.wait()
            return await detect(**more)

        backend.detect = slow
        finder = ServerFinder(backend, Settings(), State)
        asked = [asyncio.create_task(finder.ready_model()) for _ in range(5)]
        await asyncio.sleep(0)
        gate.set()
        ended = await asyncio.gather(*asked, return_exceptions=True)
        assert len(looks) == 1
        assert len({str(one) for one in ended}) == 1


async def test_a_model_whose_name_is_known_does_not_wait_for_one_that_loads():
    loading = probed("loading", is_configured=True)
    finder = ServerFinder(_ScriptedBackend((loading,)), Settings(), State)
    waiting = asyncio.create_task(finder.ready_model())
    await asyncio.sleep(0)
    assert (await finder.ready_model("tiny")).model_id == "tiny"
    assert not waiting.done()
    waiting.cancel()


async def test_a_typed_place_is_looked_at_once_and_one_that_is_looked_at_anyway_stays():
    own = Endpoint.parse("http://gpu-box:8000")
    typed = Endpoint.parse("http://localhost:8081")
    backend = _ScriptedBackend((probed("", model()),))
    settings = Settings(endpoints=(EndpointSettings(name="box", url=own.url),))
    finder = ServerFinder(backend, settings, State)
    await finder.search()
    for endpoint in (ENDPOINT, typed, typed):
        finder.add(endpoint)
    await finder.search()
    assert backend.named == (typed, own)
