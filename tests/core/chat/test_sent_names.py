"""Names of models that reach a server: only those of its list, whatever else it says of itself."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmchat.base.errors import LMChatError
from lmchat.core.config.settings import Settings
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.products import llama_cpp
from lmchat.core.servers.target import Target
from tests.support import scripted_products as products
from tests.support.chat_turns import ChatTurns
from tests.support.client_calls import NO_CERTIFICATES, ask, endpoint_of
from tests.support.programs import until
from tests.support.recorded_server import RecordedServer
from tests.support.scripted_products import CHAT, echo, model_list
from tests.support.scripted_server import ScriptedServer, Seen, json_reply

LIST = "/v1/models"
CONTEXT = 4096
NAMES_OF_MODELS = ("model", "model_name", "name", "instance_id")


def localai(server: ScriptedServer) -> None:
    """Its paths of Ollama name models that its chat refuses (mudler/LocalAI)."""
    rows = [{"id": "alder", "object": "model"}, {"id": "birch", "object": "model"}]
    server.on("GET /v1/models", json_reply({"object": "list", "data": rows})).on(CHAT, echo)
    server.on("GET /system", json_reply({"loaded_models": [{"id": "birch"}, {"id": "hazel"}]}))
    server.on("GET /api/tags", json_reply({"models": [{"name": "alder:latest"}, {"name": "elm"}]}))


def lemonade(server: ScriptedServer) -> None:
    server.on("GET /v1/models", model_list("alder", "birch", owned_by="lemonade")).on(CHAT, echo)
    loaded = {"all_models_loaded": [{"model_name": "birch"}, {"model_name": "hazel"}]}
    server.on("GET /v1/health", json_reply(loaded))
    for path in ("/v1/load", "/v1/unload"):
        server.on(f"POST {path}", json_reply({"status": "success"}))


def tabbyapi(server: ScriptedServer) -> None:
    server.on("GET /v1/models", model_list("alder", owned_by="tabbyAPI")).on(CHAT, echo)
    server.on("GET /v1/model", json_reply({"id": "hazel", "parameters": {"max_seq_len": CONTEXT}}))


def busy_ollama(server: ScriptedServer) -> None:
    """Its own list is older than the other: a model is gone there, and another one is new."""
    products.ollama(server, "alder:8b", "birch:8b", "elm:8b", loaded=["alder:8b", "elm:8b"])
    server.on("GET /v1/models", model_list("alder:8b", "birch:8b", owned_by="library"))


SCRIPTS: dict[str, Callable[[ScriptedServer], object]] = {
    "LM Studio": products.lm_studio,
    "LM Studio, loaded": partial(products.lm_studio, loaded=("qwen3-8b", "gemma-3-4b")),
    "llama.cpp": products.llama_cpp,
    "router": products.router,
    "Ollama": partial(products.ollama, loaded=("llama3.2:3b",)),
    "Ollama, changed": busy_ollama,
    "TabbyAPI": tabbyapi,
    "Lemonade": lemonade,
    "LocalAI": localai,
    "unknown": products.plain,
}
BESIDE_THE_LIST = {
    "LM Studio": set(products.EVERYTHING),  # its keys
    "LM Studio, loaded": set(products.EVERYTHING),
}
RECORDED = (
    "ollama",
    "llama-swap",
    "litellm",
    "llama-cpp-python",
    "koboldcpp",
    "mlx-lm",
    "vllm",
    "jan",
)


def names_in(seen: Seen) -> set[str]:
    """Return the names of models in a request."""
    named = set(parse_qs(urlsplit(seen.path).query).get("model", ()))
    if seen.method == "POST" and seen.body:
        named |= {seen.json[field] for field in NAMES_OF_MODELS if field in seen.json}
    if seen.path.startswith("/api/models/unload/"):
        named.add(seen.path.rpartition("/")[2])
    return named


def listed_by(server: ScriptedServer) -> set[str]:
    value = httpx.get(f"{server.url}{LIST}", verify=NO_CERTIFICATES).json()
    return {row["id"] for row in value["data"]}


@pytest.fixture
def quick(monkeypatch) -> None:
    monkeypatch.setattr(llama_cpp, "LOADING_POLL_S", 0.01)


async def use_everything(client: HttpServerClient, store, server: ScriptedServer) -> None:
    """Load each model that lmchat lists, chat with it, let it write a title, unload it."""
    probed = await client.models.check(endpoint_of(server))
    models = [*await client.models.listed(probed.endpoint, is_refresh=True)]
    assert models
    for model in models:
        with suppress(LMChatError):  # not all products load on request
            await client.models.load(model)
        target = Target(endpoint=model.endpoint, product=probed.product, model=model)
        chat = ChatTurns(store, server=client, target=target, auto_title=True)
        chats = len(server.seen(CHAT)) + 2
        await chat.send("Hi")
        if not chat.ends[-1].has_failed:  # a gateway may list a model that fails
            await until(lambda chats=chats: len(server.seen(CHAT)) == chats, "a title")
        request = ask(server, product=probed.product, model=model.model_id)
        for look in (client.count_tokens, client.prepare):
            with suppress(LMChatError):
                await look(request)
        with suppress(LMChatError):
            await client.models.unload(model)
    await client.models.check(probed.endpoint)
    assert len(server.seen(CHAT)) > len(models), "titles, too"


@pytest.mark.parametrize("name", SCRIPTS)
async def test_each_name_that_is_sent_is_in_the_list_of_the_server(name, quick, client, store):
    with ScriptedServer() as server:
        SCRIPTS[name](server)
        allowed = listed_by(server) | BESIDE_THE_LIST.get(name, set())
        await use_everything(client, store, server)
        sent = [(seen.route, names_in(seen)) for seen in server.seen()]
    assert [one for one in sent if not one[1] <= allowed] == []
    assert set().union(*(names for route, names in sent if route == CHAT)) <= allowed


@pytest.mark.parametrize("product", RECORDED)
async def test_each_name_that_a_recorded_server_gets_is_in_its_list(product, client, store):
    with RecordedServer(product) as server:
        allowed = listed_by(server)
        await use_everything(client, store, server)
        sent = set().union(*map(names_in, server.seen()))
    assert sent <= allowed


NATIVE: dict[str, Callable[[list[str]], object]] = {
    "/engines/ps": lambda names: [{"model_name": name} for name in names],
    "/api/tags": lambda names: {"models": [{"name": name, "model": name} for name in names]},
    "/api/ps": lambda names: {"models": [{"name": name} for name in names]},
    "/system": lambda names: {"loaded_models": [{"id": name} for name in names]},
    "/v1/health": lambda names: {"all_models_loaded": [{"model_name": name} for name in names]},
    "/model/info": lambda names: {"data": [{"model_name": name} for name in names]},
    "/v1/model": lambda names: {"id": names[0] if names else "", "parameters": {}},
    "/v1/internal/model/info": lambda names: {"model_name": names[0] if names else "None"},
    "/running": lambda names: {"running": [{"model": name} for name in names]},
    "/props": lambda names: {"model_alias": names[0] if names else "", "total_slots": 1},
}


def response(value: object, status: int = 200) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        yield json.dumps(value).encode()

    return httpx.Response(status, content=body())


OWNERS = ("llamacpp", "library", "vllm", "sglang", "koboldcpp", "tabbyAPI", "lemonade", "docker")
OWNERS += ("llama-swap", "vllm-mlx", "user", "me", "someone", "")
NAMES = st.lists(st.text("ab:/-. é", min_size=1, max_size=4), max_size=4, unique=True)


@settings(max_examples=80)
@given(NAMES, NAMES, st.sampled_from(OWNERS), st.sampled_from([0, 1, 1677610602]))
async def test_no_list_beside_the_usual_one_adds_a_name(listed, others, owner, created):
    """LM Studio is the exception; nothing here leads to it."""

    def answer(request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == LIST:
            row = {"object": "model", "created": created} | ({"owned_by": owner} if owner else {})
            rows = [{"id": name, **row} for name in listed]
            return response({"object": "list", "data": rows})
        native = NATIVE.get(path)
        return (
            response({"detail": "Not Found"}, 404) if native is None else response(native(others))
        )

    client = HttpServerClient(Settings(), transport=httpx.MockTransport(answer))
    try:
        for _ in range(2):
            probed = await client.models.check(Endpoint.parse("http://localhost:9"))
            told = [model.model_id for model in probed.models]
            assert probed.state.is_usable, probed.detail
            assert set(told) <= set(listed), probed.product
            assert len(told) == len(set(told))
    finally:
        await client.aclose()
