"""Names by which `lmchat serve` offers the models of several servers."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.app.leaves.serve.model_routes import ModelRoutes, ServerWatch
from lmchat.base.errors import WrongUse
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState
from tests.support.scripted_backend import model, probed


def lm_studio(address: str) -> ServerStatus:
    endpoint = Endpoint.parse(address)
    return probed("", replace(model(), endpoint=endpoint), endpoint=endpoint)


HERE, OTHER_PORT = map(lm_studio, ("http://localhost:1234", "http://localhost:1235"))


def test_servers_of_a_product_are_told_apart_by_port():
    routes = ModelRoutes.of([HERE, OTHER_PORT])
    assert routes.find("qwen3-8b@LM Studio:1235").endpoint == OTHER_PORT.endpoint
    assert len(routes.listed()) == 3


def test_servers_of_a_product_with_one_port_are_told_apart_by_host():
    other_host, behind_proxy = map(lm_studio, ("http://box:1234", "http://box:1234/second/v1"))
    routes = ModelRoutes.of([HERE, other_host, behind_proxy, OTHER_PORT])
    assert set(routes.listed()) == {
        "qwen3-8b",
        "qwen3-8b@LM Studio:localhost:1234",
        "qwen3-8b@LM Studio:box:1234",
        "qwen3-8b@LM Studio:box:1234/second",
        "qwen3-8b@LM Studio:1235",
    }
    assert routes.find("qwen3-8b@LM Studio:box:1234").endpoint == other_host.endpoint


def test_a_model_that_is_not_listed_is_meant_by_its_name_on_a_named_server_that_lists_none():
    for is_configured in (True, False):
        silent = probed("server_error", endpoint=OTHER_PORT.endpoint, is_configured=is_configured)
        routes = ModelRoutes.of([HERE, silent])
        assert routes.find("qwen3-8b").endpoint == HERE.endpoint
        with pytest.raises(WrongUse):
            ModelRoutes.of([replace(HERE, is_configured=True)]).find("herb-4b")
        if is_configured:
            assert routes.find("herb-4b").endpoint == OTHER_PORT.endpoint
            assert ModelRoutes.of([silent]).find("herb-4b").model_id == "herb-4b"
        else:
            with pytest.raises(WrongUse):
                routes.find("herb-4b")


async def test_a_server_that_has_moved_to_another_port_is_a_change():
    places = iter([(HERE,), (HERE,), (OTHER_PORT,)])

    async def find() -> tuple[ServerStatus, ...]:
        return next(places)

    watch = ServerWatch(find, lambda _: None)
    assert [await watch.look() for _ in range(3)] == [True, False, True]


def test_a_remote_model_is_listed_last_and_meant_by_its_whole_name_alone():
    away = replace(
        model("gpt-oss:120b-cloud"), state=LoadState.REMOTE, endpoint=OTHER_PORT.endpoint
    )
    ollama = probed("", away, endpoint=OTHER_PORT.endpoint, product="Ollama")
    routes = ModelRoutes.of([ollama, HERE])
    assert list(routes.listed()) == ["qwen3-8b", "gpt-oss:120b-cloud"]
    assert routes.find("gpt-oss:120b-cloud").is_remote
    assert routes.find("gpt-oss:120b-cloud@Ollama").is_remote
    for part in ("gpt-oss", "120b", "GPT-OSS:120B-CLOUD", "gpt-oss:120b", "gpt-oss:120b-cloud@Jan"):
        with pytest.raises(WrongUse):
            routes.find(part)
