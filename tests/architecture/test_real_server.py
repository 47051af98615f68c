from __future__ import annotations

import httpx
import pytest

from tests.support.real_server.prepare import MODEL


def _models(url, key="none"):
    reply = httpx.get(f"{url}/v1/models", headers={"Authorization": f"Bearer {key}"}, trust_env=False)
    return [model["id"] for model in reply.raise_for_status().json()["data"]]


def test_the_real_server_lists_its_model(real_server):
    assert _models(real_server.url) == [MODEL]


def test_it_comes_back_at_the_same_address(start_real_server):
    server = start_real_server(api_key="sk-test")
    before = server.url
    server.restart()
    assert server.url == before
    assert _models(server.url, "sk-test") == [MODEL]


@pytest.mark.router
def test_the_real_router_lists_both_models(real_router):
    assert sorted(_models(real_router.url)) == sorted(real_router.models)
