from __future__ import annotations

from contextlib import aclosing

import pytest
from msgspec.structs import replace

from lmchat.errors import EngineUnavailable, ServerRejected, StreamInterrupted
from lmchat.servers.discovery.probe_result import Verdict
from lmchat.servers.events import ModelLoading, StreamFinished, TextDelta
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.request import ChatRequest, LoadOptions
from lmchat.services.backend import Backend
from lmchat.sessions.message import Role, text_message
from tests.support.scripted_backend import (
    ADDRESS,
    ScriptedBackend,
    ScriptedEngine,
    file,
    model,
    probed,
    read,
)

BIG, SMALL = file("big"), file("small", size_bytes=10**9)
TOLD = ModelInfo(
    model_id="big",
    endpoint=ADDRESS,
    product="llama.cpp",
    state=LoadState.LOADED,
    params="8B",
    context_loaded=8192,
)
ANSWERS = probed(Verdict.READY, TOLD, endpoint=ADDRESS, product="llama.cpp")
OTHER = probed(Verdict.READY, model())


def request(name="big", endpoint=ADDRESS):
    return ChatRequest(
        endpoint=endpoint,
        product="built-in",
        model=name,
        messages=(text_message(Role.USER, "Hi"),),
    )


@pytest.fixture
def engine():
    return ScriptedEngine(BIG, SMALL)


@pytest.fixture
def inner():
    return ScriptedBackend(results=[ANSWERS, OTHER])


@pytest.fixture
def backend(inner, engine):
    return Backend(inner, engine)


async def events_of(backend, asked):
    async with aclosing(backend.stream(asked)) as events:
        return [event async for event in events]


async def test_the_engine_is_shown_as_built_in_and_offers_every_file(backend, engine, inner):
    assert await backend.detect() == inner.results  # it was not started
    await engine.start(BIG)
    first, second = await backend.detect()
    assert (first.product, first.verdict, first.is_own) == ("built-in", Verdict.READY, True)
    big, small = first.models
    assert (big.model_id, big.state, big.context_loaded) == ("big", LoadState.LOADED, 8192)
    assert (small.model_id, small.state) == ("small", LoadState.NOT_LOADED)
    assert (big.params, small.quantization) == ("8B", "Q4_K_M")
    assert {one.product for one in first.models} == {"built-in"}
    assert second == OTHER
    assert (await backend.models(ADDRESS, is_refresh=True)).models == first.models
    known = backend.cached_models().models
    assert [one.model_id for one in known if one.endpoint == ADDRESS] == ["big", "small"]
    await engine.start(file("elsewhere"))
    inner.results = (replace(ANSWERS, models=(replace(TOLD, model_id="elsewhere"),)),)
    seen = await backend.check(ADDRESS)
    assert [one.model_id for one in seen.models] == ["elsewhere", "big", "small"]


async def test_models_are_loaded_with_their_window_and_unloaded_at_the_same_address(
    backend, engine
):
    await engine.start(BIG)
    with pytest.raises(ServerRejected, match="There is no model gone"):
        await backend.load(replace(TOLD, model_id="gone"))
    await backend.load(TOLD, options=LoadOptions(context=1024))
    assert engine.contexts == [None, 1024]
    await backend.unload(TOLD)
    seen = await backend.check(ADDRESS)
    assert (seen.verdict, seen.next_step) == (Verdict.NO_MODEL, "Choose a model file")
    assert engine.endpoint == ADDRESS


async def test_a_crash_during_an_answer_is_told_and_the_next_try_starts_it_again(
    backend, engine, inner
):
    await engine.start(BIG)
    inner.scripts = [[TextDelta(text="Let"), StreamInterrupted("The connection broke.")]]
    crash = "The built-in engine crashed (signal SIGSEGV)."
    with pytest.raises(StreamInterrupted) as caught:  # noqa: PT012 - the event before it counts
        async with aclosing(backend.stream(request())) as events:
            assert await anext(events) == TextDelta(text="Let")
            engine.breaks(crash)
            await anext(events)
    error = caught.value
    assert (error.message, error.hint) == (crash, "The next request starts it again.")
    assert error.details == "the end of its log"
    seen = await backend.check(ADDRESS)
    assert (seen.verdict, seen.detail) == (Verdict.SERVER_ERROR, crash)
    assert seen.next_step
    assert {one.state for one in seen.models} == {LoadState.NOT_LOADED}
    events = await events_of(backend, request())
    assert isinstance(events[0], ModelLoading)
    assert isinstance(events[-1], StreamFinished)
    assert engine.started == ["big", "big"]
    engine.breaks("gone")
    engine.failures["big"] = EngineUnavailable("There is not enough memory for big.")
    with pytest.raises(EngineUnavailable, match="not enough memory"):
        await events_of(backend, request())


async def test_the_engine_counts_and_reads_ahead_for_the_model_that_it_serves_alone(
    backend, engine, inner
):
    inner.tokens = 7
    await engine.start(BIG)
    assert await backend.count_tokens(request("big")) == 7
    await read(backend.read_ahead(request("big")))
    for name in ("small", "big"):
        assert await backend.count_tokens(request(name)) is None
        with pytest.raises(ServerRejected):
            await read(backend.read_ahead(request(name)))
        await engine.unload()
    assert (len(inner.counts), len(inner.read_ahead_requests)) == (1, 1)
    assert engine.started == ["big"]
