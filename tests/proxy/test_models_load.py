from __future__ import annotations

import asyncio

import pytest

from lmchat.config.settings import ChatSettings
from lmchat.domain.event import ModelLoading
from lmchat.domain.product import Product
from lmchat.domain.request import LoadOptions
from lmchat.domain.server import LoadState, ModelInfo
from lmchat.errors import ServerRejected, ServerUnavailable
from lmchat.proxy.servers import llama_cpp
from tests.support import scripted_products as products
from tests.support.programs import until
from tests.support.proxy_calls import ask, endpoint_of, events_of
from tests.support.scripted_products import CHAT, LLAMA
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    error_reply,
    finish,
    json_reply,
    raw_reply,
    sse,
    text_reply,
)

LOAD, UNLOAD, EVENTS = "POST /models/load", "POST /models/unload", "GET /models/sse"


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(llama_cpp, "LOADING_POLL_S", 0.01)


def model_at(server, name: str, product: Product = Product.LLAMA_CPP) -> ModelInfo:
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
    gate, heard = Gate(), []
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
    work = asyncio.create_task(client.load(model_at(server, "large"), on_progress=heard.append))
    await until(lambda: len(heard) == 3, "three shares")
    assert heard == [0.25, 0.75, 1.0]
    server.on("GET /v1/models", products.router_rows(large="loaded"))
    await work
    gate.open()


async def test_a_request_for_a_model_on_the_disk_tells_how_far_its_loading_is(server, client):
    products.router(server, large="unloaded")
    gate = Gate()
    stages = ["text_model"]
    done = {"model": "large", "event": "status_change", "data": {"status": "loaded"}}
    server.on(
        EVENTS,
        sse(
            progress_event("other", stages=stages, current="text_model", value=0.9),
            progress_event("large", stages=stages, current="text_model", value=0.5),
            done,
            progress_event("large", stages=stages, current="text_model", value=0.6),
            Hold(),
        ),
    )
    server.on(CHAT, sse("Hello", finish(), DONE, before=[gate]))
    await client.models(endpoint_of(server))

    def go_on(event: object) -> None:
        if event == ModelLoading(fraction=0.5):
            gate.open()

    request = ask(server, product=Product.LLAMA_CPP, model="large")
    events, error = await events_of(client, request, on_event=go_on)
    assert error is None
    assert [one.fraction for one in events if isinstance(one, ModelLoading)] == [None, 0.5]
    assert await asyncio.to_thread(server.seen(EVENTS)[0].client_left.wait, 5)


@pytest.mark.parametrize(
    "events",
    [
        text_reply("Not Found", status=404),
        raw_reply(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {", Cut()),
        raw_reply(Cut()),
    ],
)
async def test_a_router_without_a_stream_of_events_loads_too(quick, server, client, events):
    products.router(server, large="unloaded")
    server.on(EVENTS, events)
    heard = []
    await client.load(model_at(server, "large"), on_progress=heard.append)
    (large,) = (await client.models(endpoint_of(server))).models
    assert (large.state, heard) == (LoadState.LOADED, [])


@pytest.mark.parametrize("state", ["loaded", "sleeping", "loading"])
async def test_a_router_that_keeps_what_it_was_to_unload_is_not_waited_for_for_ever(
    quick, server, client, monkeypatch, state
):
    monkeypatch.setattr(llama_cpp, "UNLOAD_S", 1)
    products.router(server, small=state).on(UNLOAD, json_reply({"success": True}, headers=LLAMA))
    with pytest.raises(ServerUnavailable, match="did not unload") as caught:
        await client.unload(model_at(server, "small"))
    assert (caught.value.kind, bool(caught.value.hint)) == ("timeout", True)


async def test_what_is_not_loaded_has_been_unloaded(quick, server, client):
    products.router(server, small="unloaded")
    server.on(UNLOAD, error_reply(400, "model is not running", headers=LLAMA))
    await client.unload(model_at(server, "small"))


async def test_loading_that_is_cancelled_before_the_router_has_replied_is_stopped(
    quick, server, client
):
    """A router replies late if it has to unload another model first."""
    products.router(server, large="unloaded")
    gate = Gate()
    server.on(LOAD, json_reply({"success": True}, headers=LLAMA, before=[gate]))
    work = asyncio.create_task(client.load(model_at(server, "large")))
    assert await asyncio.to_thread(gate.reached.wait, 5)
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert [request.json for request in server.seen(UNLOAD)] == [{"model": "large"}]


async def test_what_another_has_begun_to_load_is_not_stopped(quick, server, client):
    products.router(server, large="loading")
    server.on(LOAD, error_reply(400, "model is already running", headers=LLAMA))
    work = asyncio.create_task(client.load(model_at(server, "large")))
    await until(lambda: server.seen("GET /v1/models"), "a look")
    work.cancel()
    with pytest.raises(asyncio.CancelledError):
        await work
    assert server.seen(UNLOAD) == []


FAILED = {
    "id": "large",
    "owned_by": "llamacpp",
    "status": {"value": "unloaded", "failed": True, "exit_code": 7},
}


@pytest.mark.parametrize(
    ("reply", "details"),
    [
        (json_reply({"data": [FAILED]}, headers=LLAMA), "exit code 7"),
        (products.router_rows(large="unloaded"), ""),
        (products.router_rows(other="loaded"), ""),
    ],
)
async def test_a_router_that_does_not_get_there_is_not_waited_for_for_ever(
    quick, server, client, reply, details
):
    products.router(server, large="unloaded")
    server.on("GET /v1/models", reply)
    with pytest.raises(ServerRejected) as caught:
        await client.load(model_at(server, "large"))
    assert (caught.value.kind, details in caught.value.details) == ("model_not_loaded", True)
    assert caught.value.hint


def old_lm_studio(server):
    return products.lm_studio(server, api="v0", loaded=())


CANNOT = [
    (products.llama_cpp, "tiny.gguf", Product.LLAMA_CPP, "llama-server -m MODEL.gguf"),
    (old_lm_studio, "qwen3-8b", Product.LM_STUDIO, "Load it in LM Studio"),
    (products.jan, "jan-nano", Product.JAN, "Start a model in Jan"),
    (products.vllm, "Qwen/Qwen3-8B", Product.VLLM, "vllm serve MODEL"),
    (products.plain, "tiny", Product.OPENAI_COMPATIBLE, "Use the server's own program"),
]


@pytest.mark.parametrize("verb", ["load", "unload"])
@pytest.mark.parametrize("case", CANNOT, ids=[case[2] for case in CANNOT])
async def test_who_cannot_load_on_request_says_so_and_what_helps(server, client, case, verb):
    script, name, product, step = case
    script(server)
    with pytest.raises(ServerRejected) as caught:
        await getattr(client, verb)(model_at(server, name, product))
    assert caught.value.kind == "unsupported"
    assert f"cannot {verb} models on request" in caught.value.message
    assert step in caught.value.hint
    assert "/v1" not in caught.value.hint


async def test_a_model_that_lm_studio_does_not_have_is_not_a_path_that_it_does_not_have(
    server, client
):
    products.lm_studio(server)
    refuse = error_reply(404, "Model gone not found", code="model_not_found")
    server.on("POST /api/v1/models/load", refuse)
    with pytest.raises(ServerRejected) as caught:
        await client.load(model_at(server, "gone", Product.LM_STUDIO))
    assert caught.value.kind == "model_missing"


async def test_a_newer_jan_loads_also_with_a_window_and_unloads(server, client):
    products.jan(server)
    server.on("POST /v1/models/load", json_reply({"status": "loaded"}))
    server.on("POST /v1/models/unload", json_reply({"status": "unloaded"}))
    model = model_at(server, "jan-nano", Product.JAN)
    await client.load(model)
    await client.unload(model)
    await client.load(model, options=LoadOptions(context=8192))
    assert [one.json for one in server.seen() if one.method == "POST"] == [
        *[{"model": "jan-nano"}] * 2,
        {"model": "jan-nano", "ctx_size": 8192},
    ]


async def test_lm_studio_loads_with_all_options_and_a_loaded_model_anew(server, client):
    products.lm_studio(server, loaded=[])
    model = model_at(server, "qwen3-8b", Product.LM_STUDIO)
    await client.load(model, options=LoadOptions(context=16384))
    (listed, *_) = (await client.models(model.endpoint, is_refresh=True)).models
    assert listed.state is LoadState.LOADED
    others = {"flash_attention": True, "num_experts": 4, "eval_batch_size": 512}
    await client.load(listed, options=LoadOptions(context=4096, others=others))
    posts = [
        (one.path.rpartition("/")[2], one.json) for one in server.seen() if one.method == "POST"
    ]
    assert posts == [
        ("load", {"model": "qwen3-8b", "context_length": 16384}),
        ("unload", {"instance_id": "qwen3-8b"}),
        ("load", {"model": "qwen3-8b", "context_length": 4096, **others}),
    ]


@pytest.mark.parametrize(
    ("product", "step"),
    [
        (Product.LLAMA_CPP, "llama-server -c 8192"),
        (Product.OLLAMA, "OLLAMA_CONTEXT_LENGTH=8192 ollama serve"),
        (Product.VLLM, "--max-model-len 8192"),
        (Product.SGLANG, "--context-length 8192"),
        (Product.LITELLM, "behind LiteLLM"),
        (Product.OPENAI_COMPATIBLE, "Use the server's own program"),
    ],
)
async def test_who_takes_no_window_is_asked_nothing_and_says_where_it_is_set(
    server, client, product, step
):
    with pytest.raises(ServerRejected) as caught:
        await client.load(model_at(server, "m", product), options=LoadOptions(context=8192))
    assert caught.value.kind == "unsupported"
    assert "cannot set the context window" in caught.value.message
    assert step in caught.value.hint
    assert server.requests == []


@pytest.mark.parametrize("configured", [None, 90])
async def test_ollama_is_told_how_long_a_model_stays_when_it_is_loaded(
    server, make_client, configured
):
    products.ollama(server)
    client = make_client(chat=ChatSettings(keep_loaded_s=configured))
    await client.load(model_at(server, "llama3.2:3b", Product.OLLAMA))
    assert server.seen("POST /api/generate")[0].json.get("keep_alive") == configured
