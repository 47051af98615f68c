"""Products whose replies are read from their sources; each source is named beside its bytes."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from lmchat.config.settings import TimeoutSettings
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import LoadState
from lmchat.sessions.message import Role, text_message
from tests.support.client_calls import answered, ask, endpoint_of, text_of
from tests.support.scripted_products import CHAT, chat_reply, model_list
from tests.support.scripted_server import (
    Cut,
    Hold,
    error_reply,
    json_reply,
    raw_reply,
    text_reply,
)

LOADED, NOT_LOADED, REMOTE = LoadState.LOADED, LoadState.NOT_LOADED, LoadState.REMOTE


def rows(*data: dict[str, Any], **headers: str):
    return json_reply({"object": "list", "data": list(data)}, headers=headers)


# theroyallab/tabbyAPI, endpoints/core/types/model.py and router.py: all folders, to an admin key
TABBY = [
    {"id": name, "object": "model", "created": 1, "owned_by": "tabbyAPI", "parameters": None}
    for name in ("alder-13b", "birch-7b")
]
TABBY_LOADED = {
    **TABBY[1],
    "parameters": {"max_seq_len": 8192, "max_batch_size": 2, "use_vision": False},
}
# lemonade-sdk/lemonade, docs/api/openai.md and lemonade.md
LEMONADE = [
    {
        "id": "Qwen3-0.6B-GGUF",
        "created": 1744173590,
        "object": "model",
        "owned_by": "lemonade",
        "checkpoint": "unsloth/Qwen3-0.6B-GGUF:Q4_0",
        "recipe": "llamacpp",
        "size": 0.38,
        "max_context_window": 40960,
        "context_length": 8192,
        "labels": ["reasoning"],
    },
    {"id": "SD-Turbo", "owned_by": "lemonade", "recipe": "sd-cpp", "labels": ["image"]},
    {"id": "fireworks.kimi-k2p5", "owned_by": "lemonade", "recipe": "cloud", "labels": []},
]
LEMONADE_HEALTH = {"status": "ok", "all_models_loaded": [{"model_name": "Qwen3-0.6B-GGUF"}]}
# mudler/LocalAI, core/http/endpoints/localai/system.go and its documentation
LOCALAI = [{"id": "alder-4b", "object": "model"}, {"id": "birch", "object": "model"}]
LOCALAI_SYSTEM = {"backends": ["llama-cpp"], "loaded_models": [{"id": "birch"}]}
# oobabooga/text-generation-webui, modules/api/models.py
WEBUI = {"id": "alder-4b", "object": "model", "created": 0, "owned_by": "user"}
WEBUI_INFO = {"model_name": "alder-4b", "lora_names": [], "loader": "llama.cpp"}
# waybarrios/vllm-mlx, vllm_mlx/api/models.py
VLLM_MLX = {"id": "alder-4b", "object": "model", "created": 1, "owned_by": "vllm-mlx"}
# lmchat/servers/as_json.py
LMCHAT = [
    {
        "id": "alder@Ollama",
        "owned_by": "library",
        "type": "llm",
        "state": "loaded",
        "context_loaded": 4096,
        "capabilities": ["tools"],
    },
    {"id": "oak:cloud", "owned_by": "library", "state": "remote", "runs_at": "ollama.com"},
    {"id": "leaf", "owned_by": "library", "type": "embedding", "state": "not loaded"},
]
# nomic-ai/gpt4all, gpt4all-chat/src/server.cpp
GPT4ALL = {"id": "Alder 4B", "object": "model", "created": 0, "owned_by": "humanity"}
TOLD = {
    "GPT4All": (
        {"GET /v1/models": rows(GPT4ALL)},
        [("Alder 4B", LoadState.UNKNOWN, None, "")],
    ),
    "TabbyAPI": (
        {"GET /v1/models": rows(*TABBY), "GET /v1/model": json_reply(TABBY_LOADED)},
        [("alder-13b", NOT_LOADED, None, ""), ("birch-7b", LOADED, 8192, "")],
    ),
    "Lemonade": (
        {"GET /v1/models": rows(*LEMONADE), "GET /v1/health": json_reply(LEMONADE_HEALTH)},
        [
            ("Qwen3-0.6B-GGUF", LOADED, 8192, ""),
            ("SD-Turbo", NOT_LOADED, None, "image"),
            ("fireworks.kimi-k2p5", REMOTE, None, ""),
        ],
    ),
    "LocalAI": (
        {
            "GET /v1/models": rows(*LOCALAI),
            "GET /system": json_reply(LOCALAI_SYSTEM),
            # names that its own list and its chat do not have
            "GET /api/version": json_reply({"version": "0.9.0"}),
            "GET /api/tags": json_reply({"models": [{"name": "alder-4b:latest", "size": 7}]}),
        },
        [("alder-4b", NOT_LOADED, None, ""), ("birch", LOADED, None, "")],
    ),
    "text-generation-webui": (
        {"GET /v1/models": rows(WEBUI), "GET /v1/internal/model/info": json_reply(WEBUI_INFO)},
        [("alder-4b", LOADED, None, "")],
    ),
    "vllm-mlx": ({"GET /v1/models": rows(VLLM_MLX)}, [("alder-4b", LOADED, None, "")]),
    "lmchat": (
        {"GET /v1/models": rows(*LMCHAT, Server="lmchat")},
        [
            ("alder@Ollama", LOADED, 4096, ""),
            ("oak:cloud", REMOTE, None, ""),
            ("leaf", NOT_LOADED, None, "embedding"),
        ],
    ),
    # LostRuins/koboldcpp, koboldcpp.py: a header of before 1.100, and the path of its window
    "KoboldCpp": (
        {
            "GET /v1/models": rows(
                {"id": "koboldcpp/alder", "owned_by": "someone"},
                Server="ConcedoLlamaForKoboldServer",
            ),
            "GET /api/extra/true_max_context_length": json_reply({"value": 6144}),
            "GET /api/version": json_reply({"version": "0.7.0"}),
            "GET /api/tags": json_reply({"models": [{"name": "koboldcpp/other", "size": 1}]}),
        },
        [("koboldcpp/alder", LOADED, 6144, "")],
    ),
}


@pytest.mark.rule("R-2")
@pytest.mark.parametrize("product", TOLD)
async def test_a_product_is_told_by_its_list_and_tells_its_facts(product, server, client):
    routes, expected = TOLD[product]
    for route, reply in routes.items():
        server.on(route, reply)
    for looks in range(1, 4):
        probed = await client.check(endpoint_of(server))
        assert (probed.product, probed.word) == (product, "ready")
        told = [
            (model.model_id, model.state, model.context_loaded, model.kind)
            for model in probed.models
        ]
        assert told == expected
        paths = [one.path for one in server.seen()]
        assert len(paths) <= 3 + 2 * (looks - 1), "then only the lists"
    assert not {"/lmstudio-greeting", "/openapi.json", "/api/version"} & set(paths)


async def test_what_only_imitates_a_product_is_openai_compatible(server, make_client):
    """A hint needs its proof: the names of Ollama, LM Studio and Jan without their lists."""
    for listed in (
        model_list("alder:4b", owned_by="library"),
        model_list("alder", owned_by="organization_owner"),
        model_list("alder", owned_by="user", created=1),
        model_list("alder", owned_by="user", created=0),
        model_list("alder", created=1677610602),
        rows({"id": "alder", "object": "model"}),
        rows({"id": "a", "owned_by": "vllm"}, {"id": "b", "owned_by": "openai"}),
        rows({"id": "alder"}, **{"X-Powered-By": "Express"}),
    ):
        server.forget()
        server.on("GET /v1/models", listed)
        server.unknown = text_reply("Not Found", status=404)
        before = len(server.seen())
        client = make_client()
        for looks in range(1, 4):
            probed = await client.check(endpoint_of(server))
            assert (probed.product, probed.word) == ("OpenAI-compatible", "ready")
            assert len(server.seen()) - before <= 1 + looks, "the proof is asked for once"


async def test_a_refusal_tells_the_product_by_its_own_words(server, make_client):
    for reply, proof, product in (
        (error_reply(401, "An LM Studio API token is required"), None, "LM Studio"),
        (text_reply("Missing authorization header", status=401), None, "Jan"),
        (error_reply(401, "An authentication key is required"), None, "LocalAI"),
        (
            json_reply({"detail": "Please provide an API key"}, status=401),
            ("/.well-known/serviceinfo", {"software": {"name": "TabbyAPI"}}),
            "TabbyAPI",
        ),
        (json_reply({"detail": "Unauthorized"}, status=401), None, "OpenAI-compatible"),
    ):
        server.forget()
        server.on("GET /v1/models", reply)
        server.unknown = text_reply("Not Found", status=404)
        if proof is not None:
            path, value = proof
            server.on(f"GET {path}", json_reply(value))
        probed = await make_client().check(endpoint_of(server))
        assert (probed.product, probed.word) == (product, "needs key")


LLAMA_CPP_PYTHON = {  # recorded with 0.3.36
    "id": "/srv/gguf/SmolLM2-135M-Instruct.Q4_1.gguf",
    "object": "model",
    "owned_by": "me",
    "permissions": [],
}
LIST, SIGN_OF_LIFE = "GET /v1/models", "HEAD /"


@pytest.mark.rule("R-5")
async def test_a_server_whose_answers_end_when_it_is_looked_at_is_asked_once(
    server, make_client, tmp_path
):
    """Its list interrupts the running answer, also that of another client."""

    async def look(client, *, times: int = 1) -> list[int]:
        for _ in range(times):
            probed = await client.check(endpoint_of(server))
            assert (probed.product, probed.word) == ("llama-cpp-python", "ready")
            assert [model.model_id for model in probed.models] == [LLAMA_CPP_PYTHON["id"]]
        return [len(server.seen(route)) for route in (LIST, SIGN_OF_LIFE)]

    server.on(LIST, rows(LLAMA_CPP_PYTHON, server="uvicorn"))
    server.on(SIGN_OF_LIFE, text_reply("", status=404))
    screen = make_client(cache_file=tmp_path / "models.json")
    assert await look(screen, times=60) == [1, 59], "five minutes of an idle screen"
    assert await screen.models(endpoint_of(server)), "its list is kept"
    shell = make_client(cache_file=tmp_path / "models.json")
    assert await look(shell, times=2) == [1, 61], "another run reads the list on the disk"
    screen.forget_lists()  # the user asks
    assert await look(screen, times=3) == [2, 63]
    server.stop()
    assert (await screen.check(endpoint_of(server))).word == "refused"
    server.start()
    assert await look(screen, times=2) == [3, 64], "another model may run now"


@pytest.mark.rule("R-5")
@pytest.mark.parametrize(
    ("sign", "verdict"),
    [
        (text_reply("", status=405, headers={"server": "uvicorn"}), "ready"),
        (raw_reply(Cut()), "ready"),
        (raw_reply(Cut(is_reset=True)), "ready"),
        (raw_reply(Hold()), "timed out"),
    ],
)
async def test_a_list_that_disturbs_is_not_asked_for_because_of_an_odd_sign_of_life(
    sign, verdict, server, make_client
):
    """A server that is busy with a prompt may be silent, too."""
    server.on(LIST, rows(LLAMA_CPP_PYTHON, server="uvicorn"))
    server.on(SIGN_OF_LIFE, sign)
    client = make_client(timeouts=TimeoutSettings(health_s=0.2))
    assert (await client.check(endpoint_of(server))).word == "ready"
    assert (await client.check(endpoint_of(server))).word == verdict
    assert len(server.seen(LIST)) == 1


async def test_the_sign_of_life_is_asked_for_below_the_prefix_of_the_address(server, client):
    """Elsewhere at its host, another server may answer."""
    endpoint = Endpoint.parse(f"{server.url}/llama/v1")
    server.on("GET /llama/v1/models", rows(LLAMA_CPP_PYTHON, server="uvicorn"))
    server.on("HEAD /llama/", text_reply("", status=404, headers={"server": "uvicorn"}))
    server.on(SIGN_OF_LIFE, text_reply("", headers={"server": "Caddy"}))
    for _ in range(3):
        assert (await client.check(endpoint)).product == "llama-cpp-python"
    assert len(server.seen("GET /llama/v1/models")) == 1


async def test_a_kept_list_is_not_that_of_another_server(server, make_client, tmp_path):
    """llama.cpp was started where llama-cpp-python had been, within the time that its list counts."""
    server.on(LIST, rows(LLAMA_CPP_PYTHON, server="uvicorn"))
    file = tmp_path / "models.json"
    await make_client(cache_file=file).check(endpoint_of(server))
    server.on(LIST, rows({"id": "alder", "owned_by": "llamacpp"}, server="llama.cpp"))
    server.on(SIGN_OF_LIFE, text_reply("", status=404, headers={"server": "llama.cpp"}))
    probed = await make_client(cache_file=file).check(endpoint_of(server))
    assert (probed.product, [one.model_id for one in probed.models]) == ("llama.cpp", ["alder"])


@pytest.mark.rule("R-31")
async def test_a_server_that_does_not_stream_is_asked_for_the_whole_answer(server, make_client):
    """GPT4All takes neither streams nor most options, and answers with 16 tokens by itself."""

    def chat(seen):
        known = {"model", "messages", "stream", "max_tokens", "temperature"}
        for name in seen.json:
            if name not in known or (name == "stream" and seen.json[name]):
                return error_reply(400, f"'{name}' is not supported", type="invalid_request_error")
        message = {"role": "assistant", "content": "In May."}
        return json_reply({"choices": [{"message": message, "finish_reason": "stop"}]})

    server.on(CHAT, chat)
    for product, refused in (("GPT4All", 0), ("OpenAI-compatible", 1)):
        client = make_client()
        for round_number in range(2):
            before = len(server.seen(CHAT))
            events = await answered(client, ask(server, product=product))
            assert text_of(events) == "In May."
            asked = len(server.seen(CHAT)) - before
            assert asked == 1 + (refused if round_number == 0 else 0), "the form is remembered"
    assert server.seen(CHAT)[0].json["max_tokens"] == 4096


async def test_vllm_and_sglang_continue_a_text_by_their_own_fields(server, client):
    """Tried with vLLM 0.32: without the fields it begins a new answer."""
    server.on(CHAT, chat_reply(" high."))
    begun = (text_message(Role.USER, "Hi"), text_message(Role.ASSISTANT, "Peas climb"))
    for product, fields in (
        ("vLLM", {"continue_final_message": True, "add_generation_prompt": False}),
        ("SGLang", {"continue_final_message": True}),
        ("llama.cpp", {}),
    ):
        request = ask(server, product=product)
        await answered(client, request)
        await answered(client, replace(request, messages=begun))
        asked, continued = (one.json for one in server.seen(CHAT)[-2:])
        assert continued["messages"][-1] == {"role": "assistant", "content": "Peas climb"}
        assert {name: continued[name] for name in _PREFILL & set(continued)} == fields
        assert not _PREFILL & set(asked), "a prompt is no text to continue"


_PREFILL = {"continue_final_message", "add_generation_prompt"}
