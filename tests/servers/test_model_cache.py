from __future__ import annotations

import os
import resource

from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.model_cache import ModelCache
from tests.support.proxy_calls import endpoint_of
from tests.support.scripted_products import plain

HERE = Endpoint.parse("localhost:1234")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def model(name: str, **more) -> ModelInfo:
    return ModelInfo(model_id=name, endpoint=HERE, product="Jan", **more)


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


async def test_the_file_is_for_its_owner_alone_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        await ModelCache(600, tmp_path / "models.json").put(HERE, (model("tiny"),))
    finally:
        os.umask(before)
    assert (tmp_path / "models.json").stat().st_mode & 0o777 == 0o600
