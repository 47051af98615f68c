from __future__ import annotations

import asyncio
import os

import pytest
from msgspec.structs import replace

from lmchat.base.errors import NoServerFound
from lmchat.core.servers.discovery.model_lists import ModelLists
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import BUILT_IN, LoadState, ModelInfo
from lmchat.core.servers.target import Target
from tests.support.client_calls import endpoint_of
from tests.support.modes import is_private
from tests.support.scripted_products import LLAMA, llama_cpp, loading_llama_cpp, model_list, plain
from tests.support.scripted_server import json_reply

HERE = Endpoint.parse("localhost:1234")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def model(name: str, **more) -> ModelInfo:
    return ModelInfo(model_id=name, endpoint=HERE, product="Jan", **more)


async def test_the_file_is_read_at_the_next_start(tmp_path):
    file = tmp_path / "deep" / "models.json"
    clock = Clock()
    ended = Endpoint.parse("localhost:1")
    before = ModelLists(file, clock=clock)
    before.put(HERE, (model("a", state=LoadState.LOADED, context_max=9),))
    before.put(ended, (replace(model("b"), product=BUILT_IN),))
    umask = os.umask(0)
    await before.write()
    os.umask(umask)
    assert is_private(file), "for its owner alone"
    clock.now += 30
    after = ModelLists(file, clock=clock)
    assert after.all_models().models == ()
    await after.read_once()
    assert after.models_of(HERE) == (model("a", state=LoadState.LOADED, context_max=9),)
    assert after.all_models().age_s == 30
    assert after.models_of(ended) is None
    assert [path.name for path in file.parent.iterdir()] == ["models.json"]


async def test_a_file_that_cannot_be_written_costs_the_file_alone(tmp_path):
    (tmp_path / "file").touch()
    cache = ModelLists(tmp_path / "file" / "models.json")
    cache.put(HERE, (model("a"),))
    await cache.write()
    assert cache.models_of(HERE) == (model("a"),)


async def test_models_come_from_the_cache_until_they_are_refreshed(server, client):
    plain(server)
    endpoint = endpoint_of(server)
    first = await client.models.listed(endpoint)
    again = await client.models.listed(endpoint)
    assert (first, again[0].model_id) == (again, "tiny")
    asked = len(server.seen("GET /v1/models"))
    await client.models.listed(endpoint, is_refresh=True)
    assert len(server.seen("GET /v1/models")) == asked + 1
    assert (client.counters.metrics.cache_hits, client.counters.metrics.cache_misses) == (1, 2)
    assert client.models.cached().models == first
    assert (client.counters.metrics.cache_hits, client.counters.metrics.cache_misses) == (2, 2)
    assert any(probed.state.is_usable for probed in await client.models.detect(named=[endpoint]))
    assert (client.counters.metrics.cache_hits, client.counters.metrics.cache_misses) == (2, 3)
    await client.models.detect(named=[endpoint], is_counted=False)
    assert client.counters.metrics.cache_misses == 3, "nobody asked for the list"
    server.stop()
    with pytest.raises(NoServerFound):
        await client.models.listed(endpoint, is_refresh=True)
    assert await client.models.listed(endpoint) == first


async def test_an_ability_goes_with_the_server_that_had_it(server, make_client, tmp_path):
    def serve(*, vision: bool) -> None:
        llama_cpp(server)
        server.on("GET /props", json_reply({"modalities": {"vision": vision}}, headers=LLAMA))

    endpoint = endpoint_of(server)
    for _ in range(2):  # the second client reads the file of the first
        client = make_client(cache_file=tmp_path / "models.json")
        for vision in (False, True):
            serve(vision=vision)
            (model,) = (await client.models.check(endpoint)).models
            assert (model.capabilities, model.images) == (("vision",) * vision, vision)
        await client.aclose()


async def test_a_model_loads_until_its_last_load_has_ended_even_if_one_is_stopped_before_it_runs():
    lists = ModelLists()
    changes = []
    lists.on_change = lambda: changes.append(lists.with_load(model("a")).load_fraction)
    gate = asyncio.Event()

    async def work(load):
        lists.note_progress(load, 0.4)
        await gate.wait()

    task = lists.load(model("a"), work)
    assert lists.is_loading(Target.of(model("a")))
    assert lists.with_load(model("a")).state is LoadState.LOADING
    assert not lists.is_loading(Target.of(model("b")))
    await asyncio.sleep(0)
    gate.set()
    await task
    assert (changes, lists.is_loading(Target.of(model("a")))) == ([None, 0.4, None], False)
    gate.clear()
    first, second = lists.load(model("a"), work), lists.load(model("a"), work)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert lists.is_loading(Target.of(model("a")))
    gate.set()
    await first
    assert not lists.is_loading(Target.of(model("a")))


def test_a_server_that_has_not_named_the_model_it_loads_is_waited_for():
    lists = ModelLists()
    unnamed = Target(endpoint=HERE, product="llama.cpp")
    assert not lists.is_loading(unnamed)
    lists.note_server(HERE, is_loading=True)
    assert lists.is_loading(unnamed)
    lists.note_server(HERE, is_loading=False)
    assert not lists.is_loading(unnamed)


def empty(server) -> None:
    llama_cpp(server)
    server.on("GET /v1/models", model_list())


async def test_a_server_that_has_ended_its_load_without_a_model_is_not_loading_any_more(
    server, client
):
    endpoint = endpoint_of(server)
    unnamed = Target(endpoint=endpoint, product="llama.cpp")
    for script, is_loading in (
        (loading_llama_cpp, True),
        (empty, False),
        (loading_llama_cpp, True),
    ):
        script(server)
        found = await client.models.check(endpoint)
        assert (found.models, client.model_lists.is_loading(unnamed)) == ((), is_loading)
