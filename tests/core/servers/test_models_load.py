from __future__ import annotations

import asyncio

import pytest

from lmchat.base.errors import NoServerFound, ServerRejected, ServerUnavailable
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.servers.products import llama_cpp, product_named
from tests.support import scripted_products as products
from tests.support.client_calls import endpoint_of
from tests.support.programs import until
from tests.support.scripted_products import LLAMA
from tests.support.scripted_server import Gate, error_reply, json_reply, raw_reply, sse

LOAD = "POST /models/load"
UNLOAD = "POST /models/unload"
EVENTS = "GET /models/sse"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(llama_cpp, "LOADING_POLL_S", 0.01)


def model_at(server, name: str, product: str = "llama.cpp") -> ModelInfo:
    return ModelInfo(model_id=name, endpoint=endpoint_of(server), product=product)


def progress_event(name: str, **progress: object) -> dict:
    return {
        "model": name,
        "event": "status_change",
        "data": {"status": "loading", "progress": progress},
    }


async def test_a_router_tells_how_far_it_is_stage_by_stage(quick, server, client):
    states = {"large": "unloaded"}
    products.router(server, **states)
    gate = Gate()
    heard = []
    stages = ["text_model", "mmproj"]
    server.on(
        EVENTS,
        sse(
            b": hello\n\ndata: no json\n\n",
            progress_event("other", stages=stages, current="text_model", value=0.9),
            progress_event("large", stages=stages, current="text_model", value=0.5),
            progress_event("large", stages=stages, current="mmproj", value=0.5),
            progress_event("large", stages="odd", current=[], value="x"),
            progress_event("large", stages=stages, current="mmproj", value=7),
            gate,
        ),
    )
    server.on("GET /v1/models", products.router_rows(large="loading"))
    model = model_at(server, "large")
    lists = client.model_lists
    work = client.models.load(model)
    lists.on_change = lambda: heard.append(lists.load_of(model).fraction)
    await until(lambda: len(heard) == 3, "three shares")
    assert heard == [0.25, 0.75, 1.0]
    lists.on_change = lambda: None
    server.on("GET /v1/models", products.router_rows(large="loaded"))
    await work
    assert lists.load_of(model) is None
    gate.open()


async def test_loading_that_is_cancelled_before_the_router_has_replied_is_stopped(
    quick, server, client
):
    """A router replies late if it has to unload another model first."""
    products.router(server, large="unloaded")
    gate = Gate()
    server.on(LOAD, json_reply({"success": True}, headers=LLAMA, before=[gate]))
    work = client.models.load(model_at(server, "large"))
    assert await asyncio.to_thread(gate.reached.wait, 5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [request.json for request in server.seen(UNLOAD)] == [{"model": "large"}]


@pytest.mark.parametrize("row", [[], [{"id": "large"}]], ids=["not listed", "without a status"])
async def test_loading_fails_if_the_router_tells_no_status_of_the_model(quick, server, client, row):
    products.router(server, large="unloaded")
    server.on("GET /v1/models", json_reply({"data": row}, headers=LLAMA))
    with pytest.raises(ServerRejected, match="could not be loaded"):
        async with asyncio.timeout(5):
            await client.models.load(model_at(server, "large"))


async def test_a_model_that_another_program_loads_is_waited_for_and_one_that_stays_out_is_not(
    quick, server, client
):
    products.router(server, large="unloaded")
    model = model_at(server, "large")
    server.on(LOAD, error_reply(400, "model is already loading"))
    states = [products.router_rows(large=state) for state in ("unloaded", "loading", "loaded")]
    server.on("GET /v1/models", *states)
    await client.models.load(model)
    server.on("GET /v1/models", products.router_rows(large="unloaded"))
    with pytest.raises(ServerRejected, match="could not be loaded"):
        async with asyncio.timeout(5):
            await client.models.load(model)


async def test_who_cannot_load_on_request_says_so_and_what_helps(server, client):
    for script, name, product, step in (
        (products.llama_cpp, "tiny.gguf", "llama.cpp", "llama-server -m MODEL.gguf"),
        (products.jan, "jan-nano", "Jan", "Jan loads a model with its first prompt"),
        (products.plain, "tiny", "OpenAI-compatible", "Use the server's own program"),
    ):
        server.forget()
        script(server)
        server.on("GET /v1/models", products.model_list())  # the model is not in memory
        for verb, act in (("load", client.models.load), ("unload", client.models.unload)):
            with pytest.raises(ServerRejected) as caught:
                await act(model_at(server, name, product))
            assert caught.value.kind == "unsupported"
            assert f"cannot {verb} models on request" in caught.value.message
            wanted = step if verb == "load" else "Use the server's own program"
            assert wanted in caught.value.next_step
            assert "/v1" not in caught.value.next_step
        with pytest.raises(ServerRejected, match="cannot set the context window when it loads"):
            await client.models.load(model_at(server, name, product), context=4096)


async def test_an_order_that_a_server_says_it_has_not_carried_out_is_an_error(server, client):
    _lemonade_of_nothing(server)
    refused = json_reply({"success": False, "message": "The pump is stuck"})
    server.on("POST /v1/load", refused).on("POST /v1/unload", refused)
    model = model_at(server, "alder", "Lemonade")
    for act in (client.models.load, client.models.unload):
        with pytest.raises(ServerRejected, match="Lemonade says: The pump is stuck"):
            await act(model)


async def test_lm_studio_loads_with_a_window_and_a_loaded_model_anew(server, client):
    products.lm_studio(server, loaded=[])
    model = model_at(server, "qwen3-8b", "LM Studio")
    await client.models.load(model, context=16384)
    (listed, *_) = await client.models.listed(model.endpoint, is_refresh=True)
    assert listed.state is LoadState.LOADED
    await client.models.load(listed, context=4096)
    posts = [
        (one.path.rpartition("/")[2], one.json) for one in server.seen() if one.method == "POST"
    ]
    types = {(one.method, one.headers.get("content-type")) for one in server.seen()}
    assert types == {("GET", None), ("POST", "application/json")}
    assert posts == [
        ("load", {"model": "qwen3-8b", "context_length": 16384}),
        ("unload", {"instance_id": "qwen3-8b"}),
        ("load", {"model": "qwen3-8b", "context_length": 4096}),
    ]


async def test_lm_studio_unloads_each_instance_of_the_model_and_no_other(server, client):
    products.lm_studio(server, loaded=["gemma-3-4b", "qwen3-8b", "qwen3-8b:2"])
    await client.models.unload(model_at(server, "qwen3-8b", "LM Studio"))
    unloaded = server.seen("POST /api/v1/models/unload")
    assert [one.json["instance_id"] for one in unloaded] == ["qwen3-8b", "qwen3-8b:2"]


async def test_a_model_is_loaded_once_however_many_ask_for_it(server, client):
    gate = Gate()
    products.lm_studio(server, loaded=[], has_jit=False, loading=gate)
    model = model_at(server, "qwen3-8b", "LM Studio")
    loads = [client.models.load(model) for _ in range(3)]
    other = client.models.load(model_at(server, "gemma-3-4b", "LM Studio"))
    assert await asyncio.to_thread(gate.reached.wait, 5)
    loads[0].cancel()  # the next one loads in its place, unless the server has loaded it anyway
    gate.open()
    await asyncio.gather(*loads[1:], other)
    await client.models.load(model)  # its list was older: by now, it is loaded
    await client.models.load(model, context=8192)  # the window that it has
    names = [one.json["model"] for one in server.seen("POST /api/v1/models/load")]
    assert sorted(names) == ["gemma-3-4b", "qwen3-8b"]


def _ollama_of_nothing(server):
    products.ollama(server)
    server.on("POST /api/generate", json_reply({"done": True, "done_reason": "load"}))


def _lm_studio_of_nothing(server):
    products.lm_studio(server, loaded=[])
    server.on("POST /api/v1/models/load", json_reply({"status": "loaded"}))


def _lemonade_of_nothing(server):
    row = {"id": "alder", "owned_by": "lemonade", "labels": []}
    server.on("GET /v1/models", json_reply({"object": "list", "data": [row]}))
    server.on("GET /v1/health", json_reply({"status": "ok", "all_models_loaded": []}))
    server.on("POST /v1/load", json_reply({"status": "success"}))


@pytest.mark.parametrize(
    ("product", "script", "name"),
    [
        ("Ollama", _ollama_of_nothing, "llama3.2:3b"),
        ("LM Studio", _lm_studio_of_nothing, "qwen3-8b"),
        ("Lemonade", _lemonade_of_nothing, "alder"),
    ],
)
async def test_a_load_that_has_loaded_nothing_is_not_called_loaded(
    server, client, monkeypatch, product, script, name
):
    monkeypatch.setattr("lmchat.core.servers.models.LOOK_AGAIN_S", 0)
    script(server)
    with pytest.raises(ServerRejected, match=f"{product} has not loaded {name}") as failed:
        await client.models.load(model_at(server, name, product))
    assert failed.value.kind == "model_failed"
    assert "lmchat models load" not in failed.value.next_step, "the very step that has failed"


async def test_a_server_whose_load_has_ended_it_is_not_said_to_have_loaded(server, client):
    products.ollama(server)
    model = (await client.models.listed(endpoint_of(server)))[0]
    server.on("GET /v1/models", raw_reply(b""))
    with pytest.raises((ServerUnavailable, ServerRejected, NoServerFound)):
        await client.models.load(model)


async def test_a_model_that_is_listed_a_little_late_has_been_loaded(server, client, monkeypatch):
    monkeypatch.setattr("lmchat.core.servers.models.LOOK_AGAIN_S", 0)
    products.ollama(server)
    late = [json_reply({"models": []})] + [json_reply({"models": [{"name": "llama3.2:3b"}]})] * 2
    server.on("GET /api/ps", *late)
    await client.models.load(model_at(server, "llama3.2:3b", "Ollama"))
    assert client.models.cached().models[0].state is LoadState.LOADED


async def test_a_full_router_loads_the_model_with_its_next_prompt(quick, server, client):
    products.router(server, small="loaded", large="unloaded")
    server.on(LOAD, error_reply(500, "model limit reached, try again later"))
    with pytest.raises(ServerRejected, match="model limit reached") as caught:
        await client.models.load(model_at(server, "large"))
    assert caught.value.next_step == "Its next prompt has it loaded."


async def test_the_window_of_a_model_behind_a_router_is_set_in_its_section(quick, server, client):
    products.router(server, small="loaded")
    (model,) = (await client.models.check(endpoint_of(server))).models
    with pytest.raises(ServerRejected, match="cannot set the context window") as caught:
        await client.models.load(model, context=512)
    assert caught.value.next_step.startswith("For another window: ctx-size = 512 in the section of")


async def test_localai_is_told_to_shut_a_model_down(server, client):
    server.on("POST /backend/shutdown", json_reply({}))
    await client.models.unload(model_at(server, "beans", "LocalAI"))
    assert [seen.json for seen in server.seen("POST /backend/shutdown")] == [{"model": "beans"}]


async def test_a_model_that_a_server_refuses_to_load_as_it_has_it_is_loaded(server, client):
    loaded: list[str] = []
    products.lm_studio(server, loaded=loaded)
    model = model_at(server, "qwen3-8b", "LM Studio")

    def refuse(_):
        loaded.append("qwen3-8b")  # another program was faster
        return error_reply(400, "Model qwen3-8b already exists")

    server.on("POST /api/v1/models/load", refuse)
    await client.models.load(model)
    loaded.clear()
    server.on("POST /api/v1/models/load", error_reply(400, "Model qwen3-8b already exists"))
    with pytest.raises(ServerRejected, match="already exists"):
        await client.models.load(model)


async def test_a_model_that_its_router_does_not_delete_is_not_offered_for_it(server, client):
    for value, is_offered in ((False, False), (True, True), (None, True)):
        row = {"id": "a", "object": "model", "status": {"value": "unloaded"}, "can_remove": value}
        server.on("GET /v1/models", json_reply({"data": [row]}, headers=LLAMA))
        (model,) = (await client.models.check(endpoint_of(server))).models
        assert product_named("llama.cpp").can_delete(model) is is_offered
