"""Servers download and delete models.

Bytes of Ollama 0.33 and of llama.cpp's router b11669 are as these sent them; those of LM Studio are
as its documentation of `/api/v1/models/download` has them.
"""

from __future__ import annotations

import asyncio
import json
import tracemalloc

import pytest

from lmchat.base.errors import ServerRejected, ServerUnavailable
from lmchat.base.units import breakable
from lmchat.core.servers.discovery.choose import server_for_pull
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import loopback
from lmchat.core.servers.events import PullProgress
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.products import llama_cpp, lm_studio
from lmchat.core.servers.products.native import PullSum
from tests.support import scripted_products as products
from tests.support.client_calls import endpoint_of
from tests.support.programs import until
from tests.support.scripted_products import LLAMA
from tests.support.scripted_server import Cut, Gate, Hold, body_reply, json_reply, sse

PULL = "POST /api/pull"
DELETE = "DELETE /api/delete"
DOWNLOAD = "POST /api/v1/models/download"
STATUS = "GET /api/v1/models/download/status/job_1"
MODEL = "sha256:b179c952"
TEMPLATE = "sha256:e3b2721c"
OFFLINE = (
    'pull model manifest: Get "https://registry.ollama.ai/v2/library/alder/manifests/latest": '
    "dial tcp: lookup registry.ollama.ai on 203.0.113.153:53: connect: network is unreachable"
)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(llama_cpp, "LOADING_POLL_S", 0.01)
    monkeypatch.setattr(lm_studio, "PULL_POLL_S", 0.01)


@pytest.fixture
def pull(server, client):
    """Let the scripted server of a product download a model, and keep its progress."""

    async def pull(product, name="alder", told=None):
        status = ServerStatus(endpoint=endpoint_of(server), product=product)
        return await client.models.pull(status, name, ([] if told is None else told).append)

    return pull


def lines(*values, end=()):
    rows = [value if not isinstance(value, dict) else _line(value) for value in values]
    return sse(*rows, *end, content_type="application/x-ndjson")


def _line(value):
    return json.dumps(value).encode() + b"\n"


def layer(digest, total, completed=None):
    row = {"status": f"pulling {digest[7:]}", "digest": digest, "total": total}
    return row if completed is None else row | {"completed": completed}


def amounts(told):
    return [(one.done_bytes, one.total_bytes) for one in told]


def router_event(name, event, **data):
    return {"model": name, "event": event} | ({"data": data} if data else {})


async def test_ollama_tells_the_sum_of_its_layers_and_the_model_is_listed_at_the_end(server, pull):
    products.ollama(server, "alder:latest")
    server.on(
        PULL,
        lines(
            {"status": "pulling manifest"},
            layer(MODEL, 900),
            layer(MODEL, 900, 400),
            layer(MODEL, 900, 900),
            layer(TEMPLATE, 100, 100),
            {"status": "verifying sha256 digest"},
            b'{"status":"success"}',  # without a line end
        ),
    )
    told: list[PullProgress] = []
    model = await pull("Ollama", told=told)
    assert model.model_id == "alder:latest"
    assert model.size_bytes
    assert [one.json for one in server.seen(PULL)] == [{"model": "alder"}]
    known = [amount for amount in amounts(told) if amount[1]]
    assert list(dict.fromkeys(known)) == [(0, 900), (400, 900), (900, 900), (1000, 1000)]
    assert all(one.free_bytes for one in told), "it is on this machine"
    assert told[0].text == "looking up its size …"
    words = breakable(next(one.text for one in told if one.done_bytes == 400))
    assert words.startswith("━━━━━━──────── 44 %  400 B of 900 B, ")


async def test_layers_without_number_are_added_up_one_by_one(server, pull):
    """If each of 30,000 lines added up all layers before it, this would take minutes."""
    products.ollama(server, "alder:latest")
    count = 30_000
    rows = b"".join(_line(layer(f"sha256:{at}", 9, 1)) for at in range(count))
    server.on(PULL, lines(rows, layer("sha256:0", 9, 5), {"status": "success"}))
    told: list[PullProgress] = []
    await pull("Ollama", told=told)
    assert amounts(told)[:2] == [(1, 9), (2, 18)]
    assert amounts(told)[-2:] == [(count, 9 * count), (count + 4, 9 * count)]


def test_layers_without_end_do_not_take_memory_without_end():
    parts = PullSum(done="completed", total="total")
    sums = []
    for count in (50_000, 60_000):
        for at in range(count):
            parts.keep(f"{at:06}" + "x" * 1000, {"total": 9, "completed": 1})
        tracemalloc.start()
        for at in range(count, count + 1000):
            parts.keep(f"{at:06}" + "x" * 1000, {"total": 9, "completed": 1})
        kept_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert kept_bytes < 100_000
        sums.append(parts.progress.done_bytes)
    assert sums == [50_000, 50_000]


@pytest.mark.parametrize(
    "said",
    [
        "pull model manifest: file does not exist",
        OFFLINE,
        "max retries exceeded: unexpected EOF",  # ollama/ollama server/download.go
        "write /models/blobs/sha256-b179-partial: no space left on device",
        "invalid model name",  # with status 400
    ],
)
async def test_why_ollama_cannot_download_is_said_in_its_words_with_what_to_check(
    server, pull, said
):
    products.ollama(server, is_empty=True)
    reply = lines({"status": "pulling manifest"}, {"error": said})
    if said == "invalid model name":
        reply = json_reply({"error": said}, status=400)
    server.on(PULL, reply)
    with pytest.raises(ServerRejected) as failed:
        await pull("Ollama", "a b")
    assert failed.value.kind == "fetch"
    assert failed.value.message == f"Ollama says: {said}"
    for checked in ("name", "ollama.com/search", "network", "disk"):
        assert checked in failed.value.next_step


@pytest.mark.parametrize("end", [Cut(), Cut(is_reset=True)], ids=["closed", "reset"])
async def test_a_download_whose_connection_breaks_is_not_called_done(server, pull, end):
    products.ollama(server, "alder:latest")
    server.on(PULL, lines(layer(MODEL, 900, 400), end=[end]))
    with pytest.raises(ServerUnavailable) as failed:
        await pull("Ollama")
    assert failed.value.kind == "dropped"
    assert "continues where it stopped" in failed.value.next_step


async def test_cancelling_closes_the_connection_by_which_ollama_stops(server, pull):
    products.ollama(server, is_empty=True)
    server.on(PULL, lines(layer(MODEL, 900, 400), end=[Hold()]))
    told: list[PullProgress] = []
    waiting = asyncio.create_task(pull("Ollama", told=told))
    await until(lambda: told, "its progress")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    (asked,) = server.seen(PULL)
    assert await asyncio.to_thread(asked.client_left.wait, 5)


async def test_what_does_not_fit_on_the_disk_is_stopped_before_it_fills_it(server, pull):
    products.ollama(server, is_empty=True)
    server.on(PULL, lines(layer(MODEL, 10**15, 400), end=[Hold()]))
    with pytest.raises(ServerRejected) as failed:
        await pull("Ollama")
    assert failed.value.kind == "no_space"
    assert "alder needs 1000.0\u00a0TB on the disk, and " in failed.value.message


async def test_lm_studio_is_asked_how_far_its_job_is_until_it_ends(server, pull):
    products.lm_studio(server)
    job = {"job_id": "job_1", "status": "downloading", "total_size_bytes": 900}
    server.on(DOWNLOAD, json_reply(job))
    ends = json_reply(job | {"status": "completed", "downloaded_bytes": 900})
    paused = json_reply(job | {"status": "paused", "downloaded_bytes": 500})
    server.on(STATUS, json_reply(job | {"downloaded_bytes": 400}), paused, ends)
    told: list[PullProgress] = []
    assert (await pull("LM Studio", "qwen3-8b", told)).size_bytes
    assert amounts(told) == [(0, 900), (400, 900), (500, 900)]
    server.on(DOWNLOAD, json_reply({"status": "already_downloaded"}))
    assert (await pull("LM Studio", "qwen3-8b")).model_id == "qwen3-8b"
    server.on(DOWNLOAD, json_reply({"job_id": "job_1", "status": "failed"}))
    with pytest.raises(ServerRejected, match="could not download qwen3-8b"):
        await pull("LM Studio", "qwen3-8b")


def router(server, *states):
    """A router that downloads: each look at its list finds the next states."""
    products.router(server)
    server.on("POST /models", json_reply({"success": True}, headers=LLAMA))
    server.on("GET /v1/models", *(products.router_rows(**state) for state in states))


async def test_a_router_tells_how_far_it_is_and_lists_the_model_with_its_quantization(server, pull):
    downloading = {"org/alder": "downloading"}
    router(server, *[downloading] * 100, {"org/alder:Q4_1": "unloaded"})
    gate = Gate()
    url = "https://huggingface.co/org/alder/resolve/aaaa/alder-Q4_1.gguf"
    server.on(
        "GET /models/sse",
        sse(
            router_event("org/other", "download_progress", progress={url: {"done": 1, "total": 2}}),
            router_event(
                "org/alder", "download_progress", progress={url: {"done": 400, "total": 900}}
            ),
            gate,
        ),
    )
    told: list[PullProgress] = []
    model = await pull("llama.cpp", "org/alder", told)
    gate.open()
    assert model.model_id == "org/alder"
    assert (400, 900) in amounts(told)
    assert (1, 2) not in amounts(told)


async def test_a_name_to_which_a_router_agrees_and_that_does_not_exist_is_no_success(server, pull):
    router(server, {"org/alder:Q4_1": "unloaded"})
    with pytest.raises(ServerRejected, match="could not download org/birch"):
        await pull("llama.cpp", "org/birch")


async def test_what_a_router_downloads_is_no_model_yet(server, client):
    router(server, {"org/alder": "downloading", "org/birch:Q8_0": "unloaded"})
    models = await client.models.listed(endpoint_of(server))
    assert [model.model_id for model in models] == ["org/birch:Q8_0"]


async def test_cancelling_has_a_router_stop(server, pull):
    router(server, {"org/alder": "downloading"})
    told: list[PullProgress] = []
    waiting = asyncio.create_task(pull("llama.cpp", "org/alder", told))
    await until(lambda: told, "its progress")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [one.json for one in server.seen("POST /models/unload")] == [{"model": "org/alder"}]


@pytest.mark.parametrize(
    ("script", "product", "step"),
    [
        (products.llama_cpp, "llama.cpp", "llama-server -hf MODEL"),
        (products.lm_studio, "LM Studio", "lms get MODEL"),  # 0.3 has no such path
        (products.jan, "Jan", "Download it in Jan"),
        (products.plain, "vLLM", "vllm serve MODEL"),
        (products.plain, "Docker Model Runner", "Use: docker model pull MODEL."),
    ],
)
async def test_who_cannot_download_says_so_with_the_command_of_the_product(
    server, pull, script, product, step
):
    script(server)
    with pytest.raises(ServerRejected) as failed:
        await pull(product)
    assert failed.value.kind == "unsupported"
    assert f"{product} cannot download models on request" in failed.value.message
    assert step in failed.value.next_step


async def test_servers_delete_a_model_or_say_where_it_is_deleted(server, client):
    def model(product, name="alder:latest"):
        return ModelInfo(model_id=name, endpoint=endpoint_of(server), product=product)

    products.ollama(server, is_empty=True)
    server.on(DELETE, body_reply(b""))
    await client.models.remove(model("Ollama"))
    assert [one.json for one in server.seen(DELETE)] == [{"model": "alder:latest"}]
    server.on(DELETE, json_reply({"error": "model 'alder' not found"}, status=404))
    with pytest.raises(ServerRejected) as failed:
        await client.models.remove(model("Ollama"))
    assert failed.value.kind == "model_missing"

    products.router(server)
    server.on("DELETE /models", json_reply({"success": True}, headers=LLAMA))
    await client.models.remove(model("llama.cpp", "org/alder:Q4_1"))
    (asked,) = server.seen("DELETE /models")
    assert asked.path == "/models?model=org%2Falder%3AQ4_1"

    for product, step in (("LM Studio", "My Models"), ("Jan", "Delete it in Jan")):
        with pytest.raises(ServerRejected) as failed:
            await client.models.remove(model(product))
        assert f"{product} cannot delete models on request" in failed.value.message
        assert step in failed.value.next_step


def test_a_download_goes_to_the_server_of_the_chat_if_that_can_else_to_one_that_can():
    vllm, ollama, studio = (
        ServerStatus(endpoint=loopback(port), product=product)
        for product, port in (("vLLM", 8000), ("Ollama", 11434), ("LM Studio", 1234))
    )
    assert server_for_pull((vllm, ollama, studio), studio.endpoint) == studio
    assert server_for_pull((vllm, ollama, studio), vllm.endpoint) == ollama
    assert server_for_pull((vllm,), None) == vllm
