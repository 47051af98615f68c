from __future__ import annotations

import httpx
import pytest
from msgspec.structs import replace

from lmchat.domain.candidate import can_be_allowed
from lmchat.domain.server import Endpoint, Product, Verdict
from lmchat.errors import RequestInvalid
from lmchat.proxy.servers import SERVERS
from tests.support.proxy_calls import ask, events_of
from tests.support.scripted_products import answer, model_list
from tests.support.scripted_server import ScriptedServer, json_reply

ADDRESSES = {
    Product.OPENAI: "https://api.openai.com/v1",
    Product.MISTRAL: "https://api.mistral.ai/v1",
    Product.ANTHROPIC: "https://api.anthropic.com/v1",
    Product.GEMINI: "https://generativelanguage.googleapis.com/v1beta/openai",
    Product.OPENROUTER: "https://openrouter.ai/api/v1",
}


class Elsewhere(httpx.AsyncBaseTransport):
    """Leads every host to one scripted server, and notes who was meant."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.meant: list[str] = []
        self._inner = httpx.AsyncHTTPTransport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.meant.append(f"{request.url.scheme}://{request.url.host}")
        url = request.url.copy_with(scheme="http", host=self.server.host, port=self.server.port)
        moved = httpx.Request(request.method, url, headers=request.headers, stream=request.stream)
        return await self._inner.handle_async_request(moved)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.fixture
def reach(server, make_client):
    """Return the endpoint of a provider, a client that may talk to it, and where it was led."""

    def begin(product: Product, *, key: str | None = "sk-1"):
        endpoint, there = Endpoint.parse(ADDRESSES[product]), Elsewhere(server)
        for path in ("/v1", "/v1beta/openai", "/api/v1"):
            server.on(f"GET {path}/models", model_list("some-model"))
            server.on(f"POST {path}/chat/completions", answer())
        return endpoint, make_client(transport=there, key=key, allowed_hosts=(endpoint.host,)), there

    return begin


def test_a_provider_is_told_by_its_host_alone():
    hosts = [host for server in SERVERS for host in server.hosts]
    assert sorted(hosts) == sorted({Endpoint.parse(url).host for url in ADDRESSES.values()})


@pytest.mark.parametrize("product", ADDRESSES)
async def test_a_provider_is_asked_for_its_models_and_nothing_else(server, reach, product):
    endpoint, client, there = reach(product)
    for _ in range(2):
        found = await client.check(endpoint)
        assert (found.product, found.verdict) == (product, Verdict.READY)
    await client.models(endpoint, is_refresh=True)
    (found, *_) = await client.detect(expected=(endpoint,))
    assert (found.product, found.verdict) == (product, Verdict.READY)
    asked = {one.path for one in server.seen() if one.headers["host"].startswith(endpoint.host)}
    assert asked == {f"{endpoint.path}/models"}
    assert f"https://{endpoint.host}" in there.meant


@pytest.mark.parametrize("product", ADDRESSES)
async def test_a_provider_is_never_asked_in_plain_text(server, reach, product):
    endpoint, client, there = reach(product)
    plain = replace(endpoint, scheme="http", port=80)
    _, error = await events_of(client, ask(plain, product=product))
    assert isinstance(error, RequestInvalid)
    assert error.kind == "insecure"
    assert error.hint == f"Write https://{endpoint.host} in the address."
    found = next(one for one in await client.detect(expected=(plain,)) if one.endpoint == plain)
    assert (found.next_step, can_be_allowed(found)) == (error.hint, False)
    assert f"http://{endpoint.host}" not in there.meant


@pytest.mark.parametrize("product", ADDRESSES)
async def test_no_provider_is_looked_for_unasked(server, reach, product):
    endpoint, client, there = reach(product)
    found = await client.detect()
    assert product not in {one.product for one in found}
    assert f"https://{endpoint.host}" not in there.meant


@pytest.mark.parametrize(
    ("product", "fields"),
    [
        (Product.OPENAI, {"max_completion_tokens": 9, "seed": 7, "reasoning_effort": "low"}),
        (Product.MISTRAL, {"max_tokens": 9, "random_seed": 7, "reasoning_effort": "low"}),
        (Product.ANTHROPIC, {"max_tokens": 9}),
        (Product.GEMINI, {"max_tokens": 9, "reasoning_effort": "low"}),
        (Product.OPENROUTER, {"max_tokens": 9, "seed": 7, "reasoning": {"effort": "low"}}),
    ],
)
async def test_each_provider_gets_the_fields_that_it_knows(server, reach, product, fields):
    endpoint, client, _ = reach(product)
    request = ask(endpoint, product=product, max_tokens=9, seed=7, reasoning_effort="low")
    _, error = await events_of(client, request)
    sent = server.seen()[-1].json
    common = {"model", "messages", "stream", "stream_options"}
    assert (error, {name: value for name, value in sent.items() if name not in common}) == (None, fields)
    assert ("stream_options" in sent) is (product is not Product.MISTRAL)


@pytest.mark.parametrize("product", ADDRESSES)
@pytest.mark.parametrize("key", [None, "sk-wrong"])
async def test_a_refused_key_is_told_with_where_to_make_one(server, reach, product, key):
    endpoint, client, _ = reach(product, key=key)
    words = (
        "Missing or invalid Authorization header." if key is None else "API key not valid. Please pass one."
    )
    status = 400 if product is Product.GEMINI else 401
    refuse = json_reply([{"error": {"code": status, "message": words}}], status=status)
    server.on(f"GET {endpoint.path}/models", refuse)
    found = await client.check(endpoint)
    assert found.verdict is (Verdict.NEEDS_KEY if key is None else Verdict.KEY_REJECTED)
    assert found.next_step.startswith("Create an API key at ")


async def test_mistral_tells_windows_and_abilities(server, reach):
    endpoint, client, _ = reach(Product.MISTRAL)
    can = {"completion_chat": True, "function_calling": True, "vision": False}
    data = [
        {"id": "small", "max_context_length": 131072, "capabilities": can},
        {"id": "embed", "max_context_length": 8192, "capabilities": can | {"completion_chat": False}},
        {"id": "odd", "max_context_length": "many", "capabilities": []},
    ]
    server.on("GET /v1/models", json_reply({"object": "list", "data": data}))
    small, embed, odd = (await client.models(endpoint)).models
    assert (small.context_max, small.capabilities, small.is_embedding) == (131072, ("tools",), False)
    assert embed.is_embedding
    assert (odd.context_max, odd.capabilities, odd.is_embedding) == (None, (), False)
    assert (small.is_blind, odd.is_blind) == (True, False)


async def test_openrouter_tells_windows_and_abilities(server, reach):
    endpoint, client, _ = reach(Product.OPENROUTER)
    both = {"input_modalities": ["text", "image"], "output_modalities": ["text"]}
    data = [
        {
            "id": "a/chat",
            "context_length": 200000,
            "architecture": both,
            "supported_parameters": ["tools", "reasoning", 7],
        },
        {"id": "b/embed", "context_length": None, "architecture": {"output_modalities": ["embeddings"]}},
        {"id": "c/odd", "architecture": "text", "supported_parameters": {"tools": 1}},
    ]
    server.on("GET /api/v1/models", json_reply({"data": data}))
    chat, embed, odd = (await client.models(endpoint)).models
    assert (chat.context_max, chat.capabilities) == (200000, ("tools", "vision", "reasoning"))
    assert (embed.is_embedding, embed.context_max) == (True, None)
    assert (odd.is_embedding, odd.capabilities) == (False, ())
