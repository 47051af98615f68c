from __future__ import annotations

import json
import os
import resource

import pytest

from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint, LoadState, ModelInfo
from lmchat.errors import ServerRejected
from lmchat.proxy.model_cache import ModelCache
from tests.support.proxy_calls import endpoint_of
from tests.support.scripted_products import plain
from tests.support.scripted_server import error_reply

HERE = Endpoint.parse("localhost:1234")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def model(name: str, **more) -> ModelInfo:
    return ModelInfo(model_id=name, endpoint=HERE, product=Product.JAN, **more)


async def test_a_list_is_fresh_for_its_time_and_stale_for_ever():
    clock = Clock()
    cache = ModelCache(600, clock=clock)
    await cache.put(HERE, (model("a"),))
    clock.now += 599
    assert cache.fresh_list(HERE).age_s == 599
    clock.now += 2
    assert cache.fresh_list(HERE) is None
    assert (cache.stale_list(HERE).age_s, cache.stale_list(HERE).is_stale) == (601, True)
    assert [one.model_id for one in cache.all_models().models] == ["a"]


async def test_localhost_and_its_address_are_one_server_to_the_cache():
    cache = ModelCache(600)
    await cache.put(HERE, (model("a", is_embedding=True),))
    await cache.put(Endpoint.parse("127.0.0.1:1234"), (model("a"),))
    assert [(one.model_id, one.is_embedding) for one in cache.all_models().models] == [("a", True)]


async def test_the_file_is_read_at_the_next_start(tmp_path):
    file, clock = tmp_path / "deep" / "models.json", Clock()
    await ModelCache(600, file, clock=clock).put(
        HERE, (model("a", state=LoadState.LOADED, context_max=9),)
    )
    clock.now += 30
    after = ModelCache(600, file, clock=clock)
    assert after.all_models().models == ()
    await after.read_once()
    assert after.fresh_list(HERE).models == (model("a", state=LoadState.LOADED, context_max=9),)
    assert after.fresh_list(HERE).age_s == 30
    assert [path.name for path in file.parent.iterdir()] == ["models.json"]


async def test_a_full_disk_costs_the_file_alone_and_leaves_nothing_behind(tmp_path):
    file = tmp_path / "models.json"
    cache = ModelCache(600, file)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        await cache.put(HERE, (model("a"),))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert cache.fresh_list(HERE).models == (model("a"),)
    assert list(tmp_path.iterdir()) == []


async def test_a_broken_file_is_begun_anew(tmp_path):
    for text in ("", "{", "[]", "null", '[{"endpoint": 7}]', "\ufffd", '{"a": 1}'):
        file = tmp_path / "models.json"
        file.write_text(text)
        cache = ModelCache(600, file)
        await cache.read_once()
        assert cache.all_models().models == ()
        await cache.put(HERE, (model("a"),))
        assert json.loads(file.read_text())[0]["models"][0]["model_id"] == "a"


async def test_models_come_from_the_cache_until_they_are_refreshed(server, client):
    plain(server)
    endpoint = endpoint_of(server)
    first = await client.models(endpoint)
    again = await client.models(endpoint)
    assert (first.models, again.models[0].model_id) == (again.models, "tiny")
    asked = len(server.seen("GET /v1/models"))
    await client.models(endpoint, is_refresh=True)
    assert len(server.seen("GET /v1/models")) == asked + 1
    assert (client.metrics().cache_hits, client.metrics().cache_misses) == (1, 2)
    assert client.cached_models().models == first.models


async def test_when_the_server_is_away_the_old_list_stands_in_with_its_age(server, client):
    plain(server)
    endpoint = endpoint_of(server)
    await client.models(endpoint)
    server.stop()
    stale = await client.models(endpoint, is_refresh=True)
    assert (stale.is_stale, [one.model_id for one in stale.models]) == (True, ["tiny"])


async def test_a_refusal_is_no_reason_for_an_old_list(server, client):
    plain(server)
    endpoint = endpoint_of(server)
    await client.models(endpoint)
    server.on("GET /v1/models", error_reply(401, "no"))
    with pytest.raises(ServerRejected) as caught:
        await client.models(endpoint, is_refresh=True)
    assert caught.value.kind == "auth"


async def test_the_file_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        await ModelCache(600, tmp_path / "models.json").put(HERE, (model("tiny"),))
    finally:
        os.umask(before)
    assert (tmp_path / "models.json").stat().st_mode & 0o777 == 0o600
