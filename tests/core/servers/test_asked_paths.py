"""What each server is taken for, tells of its models, and is asked for at the first and later looks.

A case is a scripted product in a state, bytes that a product's source or documents have, or a
recording of `captures`.
"""

from __future__ import annotations

import gzip
from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

import pytest
from msgspec.structs import replace

from lmchat.core.servers.discovery.monitor import Monitor
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState
from tests.support import scripted_products as products
from tests.support.client_calls import PortMap, replay
from tests.support.recorded_server import RecordedServer
from tests.support.scripted_backend import target
from tests.support.scripted_products import LLAMA, model_list
from tests.support.scripted_server import (
    Cut,
    Reply,
    ScriptedServer,
    Seen,
    body_reply,
    error_reply,
    html_reply,
    json_reply,
    raw_reply,
    text_reply,
)

KEY = "sk-right"
UNUSUAL = 4711  # no product has this port
LIST = "/v1/models"
OF_ONE_MODEL = {"/api/show", "/props?"}  # facts of a model, not of a server: once for each model
MOST_AT_FIRST = 3
LATER_LOOKS = 2
UNKNOWN = "OpenAI-compatible"


def old_lm_studio(server: ScriptedServer) -> None:
    """Version 0.3 answers paths that it does not have with status 200 and an error."""
    products.lm_studio(server)
    for path in ("/api/v1/models", "/lmstudio-greeting"):
        words = f"Unexpected endpoint or method. (GET {path})"
        server.on(f"GET {path}", json_reply({"error": words}, headers=products.EXPRESS))
    rows = [  # lmstudio-ai/lmstudio-bug-tracker #726, #816
        {
            "id": "alder-4b",
            "type": "vlm",
            "quantization": "Q4_K_M",
            "state": "loaded",
            "loaded_context_length": 4096,
        },
        {"id": "leaf", "object": "model", "type": "embeddings", "state": "not-loaded"},
        {"object": "model", "type": "llm"},
    ]
    old = json_reply({"object": "list", "data": rows}, headers=products.EXPRESS)
    server.on("GET /api/v0/models", old)


def ollama_that_blocks(server: ScriptedServer) -> None:
    """It refuses a foreign host name with an empty body, whatever is asked for."""
    server.unknown = text_reply("", status=403)


def remote_of_ollama(server: ScriptedServer) -> None:
    products.ollama_with_remote(server, "smol", "oak:cloud", remote=["oak:cloud"], loaded=["smol"])


ALIVE = json_reply("I'm alive!")


def page(server: ScriptedServer) -> None:
    server.unknown = html_reply()


def but(script: Callable[[ScriptedServer], object], **own: object):
    """Play a product that answers some paths with another reply, or with this JSON."""

    def play(server: ScriptedServer) -> None:
        script(server)
        for path, value in own.items():
            server.on(f"GET {path}", value if isinstance(value, Reply) else json_reply(value))

    return play


def replies(listed: Reply, **own: object):
    return but(lambda _: None, **{LIST: listed, **own})


def lists(*rows: object, headers: dict[str, str] | None = None, **own: object):
    return replies(json_reply({"object": "list", "data": [*rows]}, headers=headers), **own)


def recorded(product: str, lead: str = "", **own: Reply):
    """Play what was recorded of a product, `lead` in place of its list."""

    def script(server: ScriptedServer) -> None:
        server.unknown = RecordedServer(product, *filter(None, [lead])).unknown

    return but(script, **own)


def template(**abilities: bool) -> dict[str, object]:
    """`/props` of llama.cpp about a chat template."""
    return {"chat_template_caps": abilities}


@dataclass(frozen=True)
class Case:
    """A scripted product in a state, and what shows of it."""

    script: Callable[[ScriptedServer], object]
    product: str
    word: str
    lists: tuple[str, ...] = ()  # what it is asked for at later looks, beside `LIST`
    first: int = MOST_AT_FIRST  # most requests at the first look
    key: str = ""  # of the user
    step: str = ""  # words of the next step
    models: dict[str, str] | None = None  # state, window, kind; None: of no interest here
    facts: dict[str, dict[str, object]] = field(default_factory=dict)  # more of some models
    asked: tuple[str, ...] | None = None  # the paths of the first look in order, if not None
    port: int = UNUSUAL
    path: str = ""  # base of the address
    is_listed_once: bool = False  # as its list ends a running answer


LM_STUDIO = ("/api/v1/models",)
LLAMA_CPP = ("/props",)
OLLAMA = ("/api/tags", "/api/ps")
NO_MODEL = "no model loaded"
NEEDS_KEY = "needs key"
REJECTED = "key rejected"
lm_studio = products.lm_studio
jan = products.jan
llama_cpp = products.llama_cpp
plain = products.plain
CASES = {
    "LM Studio, loaded": Case(lm_studio, "LM Studio", "ready", LM_STUDIO, port=1234),
    "LM Studio, nothing loaded": Case(
        partial(lm_studio, loaded=()), "LM Studio", NO_MODEL, LM_STUDIO, port=1234
    ),
    "LM Studio, locked": Case(
        partial(lm_studio, key=KEY),
        "LM Studio",
        NEEDS_KEY,
        LM_STUDIO,
        step="Manage tokens",
        port=1234,
    ),
    "LM Studio, opened": Case(
        partial(lm_studio, key=KEY), "LM Studio", "ready", LM_STUDIO, key=KEY, port=1234
    ),
    "LM Studio 0.3": Case(
        old_lm_studio,
        "LM Studio",
        "ready",
        ("/api/v0/models",),
        models={"alder-4b": "loaded, 4096", "leaf": "not loaded, embedding"},
        facts={"alder-4b": {"images": True, "quantization": "Q4_K_M"}},
        port=1234,
    ),
    "Jan, host blocked": Case(partial(jan, trusts=set()), "Jan", "host blocked", port=1337),
    "llama.cpp, loaded": Case(llama_cpp, "llama.cpp", "ready", LLAMA_CPP, port=9931),
    "llama.cpp, loading": Case(products.loading_llama_cpp, "llama.cpp", "loading", port=9931),
    "llama.cpp, locked": Case(
        partial(llama_cpp, key=KEY), "llama.cpp", NEEDS_KEY, step="--api-key", port=9931
    ),
    # `/v1/models` of llama-server needs no key, `/props` does
    "llama.cpp, its list alone opened": Case(
        but(llama_cpp, **{"/props": error_reply(401, "Invalid API Key", code=401, headers=LLAMA)}),
        "llama.cpp",
        NEEDS_KEY,
        LLAMA_CPP,
        port=9931,
    ),
    "llama.cpp, nothing but its list": Case(
        but(llama_cpp, **{"/props": raw_reply(Cut())}), "llama.cpp", "ready", LLAMA_CPP, port=9931
    ),
    # which drops the header that names llama.cpp, and passes its owner on
    "llama.cpp behind a proxy": Case(
        lists({"id": "tiny.gguf", "owned_by": "llamacpp"}, **{"/props": {"total_slots": 2}}),
        "llama.cpp",
        "ready",
        LLAMA_CPP,
    ),
    "router": Case(products.router, "llama.cpp", "ready", port=9931),
    "router, nothing loaded": Case(
        partial(products.router, large="unloaded"),
        "llama.cpp",
        NO_MODEL,
        step="lmchat loads it",
        models={"large": "not loaded, 2048"},  # of its command line
        port=9931,
    ),
    "Ollama, nothing loaded": Case(products.ollama, "Ollama", NO_MODEL, OLLAMA, port=11434),
    "Ollama, nothing pulled": Case(
        but(partial(products.ollama, is_empty=True), **{LIST: {"object": "list", "data": None}}),
        "Ollama",
        NO_MODEL,
        OLLAMA,
        port=11434,
    ),
    "Ollama with remote models": Case(
        remote_of_ollama,
        "Ollama",
        "ready",
        OLLAMA,
        models={"smol": "loaded, 4096", "oak:cloud": "remote, 131072"},
        port=11434,
    ),
    "Ollama, host blocked": Case(
        ollama_that_blocks, "Ollama", "host blocked", ("/api/tags",), port=11434
    ),
    "SGLang": Case(
        lists({"id": "qwen", "owned_by": "sglang", "max_model_len": 1000}),
        "SGLang",
        "ready",
        first=1,
        models={"qwen": "loaded, 1000"},
        port=30000,
    ),
    "unknown": Case(plain, "OpenAI-compatible", "ready", first=1),
    "unknown, opened": Case(
        partial(plain, key=KEY), "OpenAI-compatible", "ready", first=1, key=KEY
    ),
    "page": Case(page, "OpenAI-compatible", "not an LLM server", first=1),
    **{
        f"unknown at {port}": Case(plain, "OpenAI-compatible", "ready", first=2, port=port)
        for port in (1234, 1337, 9931, 8080, 11434, 8000, 30000, 4000)
    },
}


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
LOCALAI = [
    {"id": name, "object": "model"} for name in ("far", "alder:4b", "birch", "far-too", "oak")
]
LOCALAI_SYSTEM = {
    "backends": ["llama-cpp", "cloud-proxy"],
    "loaded_models": [
        {"id": "far", "backend": "cloud-proxy"},
        {"id": "birch", "backend": "llama-cpp"},
        {"id": "oak"},  # as older versions say it
    ],
}
# core/http/endpoints/ollama/models.go: `:latest` behind names without a tag, the backend as family
LOCALAI_TAGS = [
    {"name": "alder:4b", "size": 7},
    {"name": "birch:latest", "details": {"format": "gguf", "family": "llama-cpp"}},
    {"name": "far-too:latest", "details": {"format": "gguf", "family": "cloud-proxy"}},
]
# core/http/endpoints/openai/list_model_capabilities_test.go
LOCALAI_CAPABILITIES = [
    {"id": "alder:4b", "object": "model", "capabilities": ["chat", "vision"]},
    {"id": "birch", "object": "model"},
    {"id": "oak", "object": "model", "capabilities": ["transcript"], "input_modalities": ["audio"]},
]
# oobabooga/text-generation-webui, modules/api/models.py
WEBUI = {"id": "alder-4b", "object": "model", "created": 0, "owned_by": "user"}
WEBUI_INFO = {"model_name": "alder-4b", "lora_names": [], "loader": "llama.cpp"}
# waybarrios/vllm-mlx, vllm_mlx/api/models.py
VLLM_MLX = {"id": "alder-4b", "object": "model", "created": 1, "owned_by": "vllm-mlx"}
# lmchat.app.cli.as_json.py
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
    {"id": "oak:1b-cloud", "owned_by": "library", "state": "loaded"},
    {"id": "oak:2b-cloud", "owned_by": "library", "state": "not loaded"},
    {"id": "oak:3b-cloud", "owned_by": "library"},
]
# nomic-ai/gpt4all, gpt4all-chat/src/server.cpp
GPT4ALL = {"id": "Alder 4B", "object": "model", "created": 0, "owned_by": "humanity"}
LITELLM_INFO = [
    {
        "model_name": "gpt",
        "model_info": {
            "max_input_tokens": 8000,
            "supports_vision": True,
            "supports_function_calling": None,
        },
    },
    {"model_name": "gpt", "model_info": {}},
    {"model_name": "leaf", "model_info": {"mode": "embedding", "max_input_tokens": "8192"}},
]
# lmstudio-ai/docs, 2_rest/list.md; `lms load alder --identifier tea`
INSTANCES = [
    {"type": "decision", "key": "gate", "loaded_instances": [{"id": "gate"}]},
    {"type": "embedding", "key": "leaf", "loaded_instances": []},
    {
        "type": "llm",
        "key": "alder",
        "loaded_instances": [
            {"id": "tea", "config": {"context_length": 2048, "parallel": 1}},
            {"id": "alder:2", "config": {"context_length": 4096}},
            {"id": "tea:2", "config": {"context_length": 1024}},
        ],
    },
    {
        "type": "vlm",
        "key": "oak",
        "loaded_instances": [{"id": "far"}],
        "capabilities": {
            "vision": True,
            "reasoning": {"allowed_options": ["off", "", None, "on"]},
        },
    },
    {"type": "llm", "loaded_instances": [{"id": "nameless"}]},
]
TINY = {"id": "tiny", "owned_by": "llamacpp", "meta": {"n_ctx": 4096, "n_ctx_train": 8192}}
OUT = {"value": "unloaded"}
OF_A_ROUTER = [
    {"id": "large", "status": {**OUT, "failed": True, "exit_code": 1}},
    {"id": "own", "status": {**OUT, "args": ["--parallel", "-1", "--ctx-size", "0"]}},
    {"id": "far", "owned_by": "remote", "status": {"value": "loaded"}},
    {"id": "judge", "status": OUT, "architecture": {"output_modalities": ["decisions"]}},
    {"id": "silent", "status": OUT, "architecture": {"output_modalities": []}},
]
ROW = {"id": "alder", "object": "model"}
VLLM = {**ROW, "owned_by": "vllm"}
NO_MODELS_TO_SEE = {"error": 'Log in to see "models"', "models": None}

SOURCES = {
    "GPT4All": Case(lists(GPT4ALL), "GPT4All", "ready", models={"Alder 4B": "unknown"}),
    "TabbyAPI": Case(
        lists(*TABBY, **{"/v1/model": TABBY_LOADED}),
        "TabbyAPI",
        "ready",
        ("/v1/model",),
        models={"alder-13b": "not loaded", "birch-7b": "loaded, 8192"},
    ),
    "Lemonade": Case(
        lists(*LEMONADE, **{"/v1/health": LEMONADE_HEALTH}),
        "Lemonade",
        "ready",
        ("/v1/health",),
        models={
            "Qwen3-0.6B-GGUF": "loaded, 8192",
            "SD-Turbo": "not loaded, image",
            "fireworks.kimi-k2p5": "remote",
        },
    ),
    "LocalAI": Case(
        lists(
            *LOCALAI,
            **{
                "/system": LOCALAI_SYSTEM,
                # names that its own list and its chat do not have
                "/api/version": {"version": "0.9.0"},
                "/api/tags": {"models": LOCALAI_TAGS},
                "/v1/models/capabilities": {"data": LOCALAI_CAPABILITIES},
            },
        ),
        "LocalAI",
        "ready",
        ("/system", "/api/tags", "/v1/models/capabilities"),
        models={
            "far": "remote",
            "alder:4b": "not loaded",
            "birch": "loaded",
            "far-too": "remote",
            "oak": "loaded, other",
        },
        asked=(LIST, "/system", "/v1/models/capabilities", "/api/tags"),
        first=4,  # its list tells neither states nor what a model is for
    ),
    "text-generation-webui": Case(
        lists(WEBUI, **{"/v1/internal/model/info": WEBUI_INFO}),
        "text-generation-webui",
        "ready",
        models={"alder-4b": "loaded"},
    ),
    "vllm-mlx": Case(lists(VLLM_MLX), "vllm-mlx", "ready", models={"alder-4b": "loaded"}),
    "lmchat": Case(
        lists(*LMCHAT, headers={"Server": "lmchat"}),
        "lmchat",
        "ready",
        models={
            "alder@Ollama": "loaded, 4096",
            "oak:cloud": "remote",
            "leaf": "not loaded, embedding",
            "oak:1b-cloud": "remote",
            "oak:2b-cloud": "remote",
            "oak:3b-cloud": "remote",
        },
    ),
    # LostRuins/koboldcpp, koboldcpp.py: a header of before 1.100, and the path of its window
    "KoboldCpp": Case(
        lists(
            {"id": "koboldcpp/alder", "owned_by": "someone"},
            headers={"Server": "ConcedoLlamaForKoboldServer"},
            **{
                "/api/extra/true_max_context_length": {"value": 6144},
                "/api/version": {"version": "0.7.0"},
                "/api/tags": {"models": [{"name": "koboldcpp/other", "size": 1}]},
            },
        ),
        "KoboldCpp",
        "ready",
        ("/api/extra/true_max_context_length",),
        models={"koboldcpp/alder": "loaded, 6144"},
        asked=(LIST, "/api/extra/true_max_context_length"),
    ),
    # the same, 1.115: the name in its list if it only makes images
    "KoboldCpp without a model for text": Case(
        replies(model_list("inactive", owned_by="koboldcpp")),
        "KoboldCpp",
        NO_MODEL,
        ("/api/extra/true_max_context_length",),
        models={"inactive": "loaded, other"},
    ),
    # as Together, Xinference and Groq tell windows and kinds
    "unknown, with windows and kinds": Case(
        lists(
            {"id": "bge", "model_type": "embedding"},
            {"id": "alder", "model_type": "LLM", "max_model_len": 4096},
            {"id": "birch", "type": "chat", "context_length": 8192},
            {"id": "cedar", "context_window": 131072, "type": "none", "max_model_len": None},
            {"id": "flux", "type": "image"},
        ),
        UNKNOWN,
        "ready",
        models={
            "bge": "unknown, embedding",
            "alder": "unknown, 4096",
            "birch": "unknown, 8192",
            "cedar": "unknown, 131072",
            "flux": "unknown, image",
        },
    ),
    # a gateway that passes on the rows of another product
    "lmchat before vLLM": Case(
        lists(VLLM, VLLM, headers={"Server": "lmchat"}), "lmchat", "ready", first=1
    ),
    "LiteLLM before vLLM": Case(
        lists(VLLM, VLLM, headers={"x-litellm-version": "1.108.7"}),
        "LiteLLM",
        "ready",
        first=2,
    ),
    # a proxy writes the proof in lines
    "Ollama behind a proxy": Case(
        replies(
            model_list("alder:4b", owned_by="library"),
            **{"/api/tags": body_reply(b'{\n  "models" : [\n    {"name": "alder:4b"}]}')},
        ),
        "Ollama",
        "ready",
        OLLAMA,
    ),
    # any program made with Express may have a path of this name
    "Express with a word of the proof": Case(
        replies(
            model_list("alder", headers=products.EXPRESS),
            **{"/api/v1/models": json_reply(NO_MODELS_TO_SEE, status=401)},
        ),
        UNKNOWN,
        "ready",
        first=2,
    ),
    # Together and older versions of exo send a bare list (helixml/helix#386, exo#590)
    "bare list": Case(
        replies(json_reply([ROW, {**ROW, "id": "birch"}])),
        UNKNOWN,
        "ready",
        models={"alder": "unknown", "birch": "unknown"},
    ),
    "list without rows": Case(
        replies(json_reply({"object": "list"})), UNKNOWN, NO_MODEL, models={}
    ),
    **{
        f"no list, {number}": Case(
            replies(json_reply(value)), UNKNOWN, "not an LLM server", models={}
        )
        for number, value in enumerate(([{"id": "alder"}], [], ["alder"]))
    },
    # Ollama lists a model of which it tells nothing
    "Ollama, details of one": Case(
        replies(
            model_list("alder:4b", "birch:7b", owned_by="library"),
            **{
                "/api/tags": json_reply({"models": [{"name": "alder:4b"}, {"size": 1}]}),
                "/api/ps": json_reply({"models": [{"name": "birch:7b", "context_length": 4096}]}),
            },
        ),
        "Ollama",
        "ready",
        OLLAMA,
        models={"alder:4b": "not loaded", "birch:7b": "loaded, 4096"},
    ),
    # own lists that fail, so that there is no proof, or have a name twice
    "LM Studio, own list fails": Case(
        but(lm_studio, **{"/api/v1/models": error_reply(500, "It starts")}),
        UNKNOWN,
        "ready",
        LM_STUDIO,
        models=dict.fromkeys(("qwen3-8b", "gemma-3-4b", "nomic-embed"), "unknown"),
    ),
    "LiteLLM, a name twice": Case(
        lists(
            *({"id": name} for name in ("gpt", "leaf", "other")),
            headers={"x-litellm-version": "1.108"},
            **{"/model/info": {"data": LITELLM_INFO}},
        ),
        "LiteLLM",
        "ready",
        models={"gpt": "unknown, 8000", "leaf": "unknown, embedding", "other": "unknown"},
        facts={
            "gpt": {"context_max": 8000, "capabilities": ("vision",), "tools": None},
            "other": {"context_max": None, "capabilities": (), "images": None},
        },
    ),
    "LM Studio, instances": Case(
        replies(
            model_list("alder", headers=products.EXPRESS),
            **{"/api/v1/models": {"models": INSTANCES}},
        ),
        "LM Studio",
        "ready",
        LM_STUDIO,
        models={
            "gate": "loaded, other",
            "leaf": "not loaded, embedding",
            "alder": "loaded, 4096",
            "tea": "loaded, 2048",
            "tea:2": "loaded, 1024",
            "oak": "not loaded",
            "far": "loaded",
        },
        facts={
            "tea": {"slots": 1, "tools": None, "images": None, "reasoning": None},
            "oak": {"slots": None, "tools": None, "images": True, "efforts": ("off", "on")},
        },
    ),
    # what a router chooses itself, a model elsewhere, and some that write no text
    "router, odd models": Case(
        lists(*OF_A_ROUTER, headers=LLAMA),
        "llama.cpp",
        NO_MODEL,
        models={
            "large": "not loaded",
            "own": "not loaded",
            "far": "remote",
            "judge": "not loaded, other",
            "silent": "not loaded",
        },
        facts={
            "large": {"state_word": "failed", "load_failure": "exit code 1"},
            "own": {"slots": None},
        },
    ),
    **{
        f"llama.cpp, facts of its model, {number}": Case(
            lists({**TINY, **row}, headers=LLAMA, **{"/props": props}),
            "llama.cpp",
            "ready",
            LLAMA_CPP,
            models={"tiny": "loaded, 4096"},
            facts={"tiny": {"context_max": 8192, fact: value}},
        )
        for number, (row, props, fact, value) in enumerate(
            (
                ({"architecture": {"input_modalities": ["text"]}}, {}, "images", False),
                ({"architecture": {"input_modalities": ["text", "image"]}}, {}, "images", True),
                ({}, {"modalities": {"vision": False}}, "images", False),
                ({}, {}, "images", None),
                ({}, template(supports_reasoning_effort=False), "efforts", ("none",)),
                ({}, template(supports_reasoning_effort=True), "efforts", ()),
            )
        )
    },
    "llama-swap, aliases": Case(
        lists(
            {
                "id": "alder-4b-q4",
                "owned_by": "llama-swap",
                "meta": {"llamaswap": {"aliases": ["alder", 7, None, "", {"name": "birch"}]}},
            },
            {"id": "oak", "owned_by": "llama-swap", "status": "loaded"},
        ),
        "llama-swap",
        "ready",
        facts={"alder-4b-q4": {"aliases": ("alder",)}, "oak": {"aliases": ()}},
    ),
    # an error beside rows is none
    **{
        f"error beside {'rows' if rows else 'no rows'}, {number}": Case(
            replies(json_reply({"data": rows, "error": error})),
            UNKNOWN,
            "ready" if rows else "server error",
            models={row["id"]: "unknown" for row in rows},
        )
        for rows in ([{"id": "alder"}], [])
        for number, error in enumerate(({"code": "ok", "message": "no error"}, True))
    },
    # what cannot be read is neither silent nor "refused"
    **{
        f"unreadable, {number}": Case(
            replies(body_reply(body, status=status, headers={"Content-Encoding": "gzip"})),
            UNKNOWN,
            "server error",
            models={},
        )
        for number, (status, body) in enumerate(
            (
                (403, b""),
                (200, b"no gzip"),
                (200, gzip.compress(b'{"data": []}')[:-9]),
            )
        )
    },
    # an owner may be any JSON
    **{
        f"owner, {number}": Case(
            lists({"id": "alder", "owned_by": owner}), UNKNOWN, "ready", first=1
        )
        for number, owner in enumerate((["vllm"], {"name": "vllm"}, None))
    },
    # a hint needs its proof: the names of products without their lists
    **{
        f"imitation, {number}": Case(replies(listed), UNKNOWN, "ready", first=2)
        for number, listed in enumerate(
            (
                model_list("alder:4b", owned_by="library"),
                model_list("alder", owned_by="organization_owner"),
                model_list("alder", owned_by="user", created=1),
                model_list("alder", owned_by="user", created=0),
                model_list("alder", created=1677610602),
                json_reply({"data": [{"id": "alder", "object": "model"}]}),
                json_reply({"data": [VLLM, {"id": "b", "owned_by": "openai"}]}),
                json_reply({"data": [{"id": "alder"}]}, headers=products.EXPRESS),
                json_reply(
                    {"data": [{**ROW, "created": 1}]},
                    headers={"Server": "BaseHTTP/0.6 Python/3.11"},
                ),
                json_reply({"data": [{**ROW, "owned_by": "me"}]}, headers={"Server": "uvicorn"}),
            )
        )
    },
    # a proof that is refused is asked for once, and again if the server fails
    **{
        f"proof refused, {number}": Case(
            replies(model_list("alder:4b", owned_by="library"), **{"/api/tags": proof}),
            UNKNOWN,
            "ready",
            again,
            first=2,
        )
        for number, (proof, again) in enumerate(
            (
                (text_reply("", status=302, headers={"Location": "/login"}), ()),
                (html_reply(), ()),
                (error_reply(500, "It starts"), ("/api/tags",)),
            )
        )
    },
    # a refusal tells the product by its own words
    "LM Studio by its refusal": Case(
        replies(error_reply(401, "An LM Studio API token is required")),
        "LM Studio",
        NEEDS_KEY,
        ("/api/v0/models",),
    ),
    "LocalAI by its refusal": Case(
        replies(error_reply(401, "An authentication key is required")),
        "LocalAI",
        NEEDS_KEY,
    ),
    "TabbyAPI by its refusal": Case(
        replies(
            json_reply({"detail": "Please provide an API key"}, status=401),
            **{"/.well-known/serviceinfo": {"software": {"name": "TabbyAPI"}}},
        ),
        "TabbyAPI",
        NEEDS_KEY,
    ),
}

SMOL = "SmolLM2-135M-Instruct.Q4_1"
OF_KOBOLDCPP = "/api/extra/true_max_context_length"
RECORDED = {
    "Ollama, recorded": Case(
        recorded("ollama"),
        "Ollama",
        "ready",
        OLLAMA,
        models={
            "smol-plain-512:latest": "not loaded",
            "smol-512:latest": "not loaded",
            "smol-plain:latest": "not loaded",
            "smol:latest": "loaded, 4096",
        },
        asked=(LIST, *OLLAMA),
    ),
    "llama-swap, recorded": Case(
        recorded("llama-swap"),
        "llama-swap",
        NO_MODEL,
        models=dict.fromkeys(("broken", "smol-big", "smol-small"), "not loaded"),
        asked=(LIST,),
    ),
    "llama-swap with a running model, recorded": Case(
        recorded("llama-swap", "own-models-running"),
        "llama-swap",
        "ready",
        models={"broken": "not loaded", "smol-big": "not loaded", "smol-small": "loaded"},
        asked=(LIST,),
    ),
    "Docker Model Runner, recorded": Case(
        recorded("docker-model-runner"),
        "Docker Model Runner",
        "ready",
        ("/engines/ps",),
        models={
            "docker.io/ai/smollm2:135M-Q4_1": "loaded, 8192",
            "docker.io/ai/smollm2-small:latest": "loaded, 512",
        },
        asked=("/engines/v1/models", "/engines/ps"),
        path="/engines/v1",
    ),
    "LiteLLM, recorded": Case(
        # litellm/proxy/health_endpoints/_health_endpoints.py
        recorded("litellm", **{"/health/liveliness": ALIVE}),
        "LiteLLM",
        "ready",
        models=dict.fromkeys(("smol", "smol-512", "switched-off", "limited"), "unknown"),
        asked=(LIST, "/health/liveliness", "/model/info"),
    ),
    "LiteLLM without a key, recorded": Case(
        recorded("litellm", "models-nokey", **{"/health/liveliness": ALIVE}),
        "LiteLLM",
        NEEDS_KEY,
        step="virtual key",
    ),
    "LiteLLM without a key and a database, recorded": Case(
        recorded("litellm", "models-nokey-prisma", **{"/health/liveliness": ALIVE}),
        "LiteLLM",
        NEEDS_KEY,
    ),
    "LiteLLM with a wrong key, recorded": Case(
        recorded("litellm", "models-badkey", **{"/health/liveliness": ALIVE}),
        "LiteLLM",
        REJECTED,
        key="sk-wrong",
        step="virtual key",
    ),
    # recorded with 1.108, with a key
    "LiteLLM, out of order": Case(
        recorded(
            "litellm",
            **{
                LIST: text_reply("Internal Server Error", status=500),
                "/health/liveliness": ALIVE,
            },
        ),
        "LiteLLM",
        "server error",
        ("/health/liveliness",),
        key="sk-master",
        step="Check the server's log",
    ),
    "KoboldCpp, recorded": Case(
        # koboldcpp.py; the number is that of its /props
        recorded("koboldcpp", **{OF_KOBOLDCPP: json_reply({"value": 2048})}),
        "KoboldCpp",
        "ready",
        (OF_KOBOLDCPP,),
        models={f"koboldcpp/{SMOL}": "loaded, 2048"},
        asked=(LIST, OF_KOBOLDCPP),
    ),
    "llama-cpp-python, recorded": Case(
        recorded("llama-cpp-python"),
        "llama-cpp-python",
        "ready",
        models={f"/srv/gguf/{SMOL}.gguf": "loaded"},
        asked=(LIST,),
        is_listed_once=True,
    ),
    # elsewhere at its host, another server may answer
    "llama-cpp-python behind a proxy": Case(
        but(
            lambda _: None,
            **{"/llama/v1/models": replay("llama-cpp-python/models")},
        ),
        "llama-cpp-python",
        "ready",
        path="/llama/v1",
        is_listed_once=True,
    ),
    "mlx_lm.server, recorded": Case(
        recorded("mlx-lm"),
        "mlx_lm.server",
        NO_MODEL,
        models={"/models/smollm2": "not loaded"},
        asked=(LIST, "/health"),
    ),
    "vLLM, recorded": Case(
        recorded("vllm"),
        "vLLM",
        "ready",
        models={"smollm2": "loaded, 2048"},
        asked=(LIST,),
    ),
    "vLLM without a key, recorded": Case(
        recorded("vllm", "error-401"), "vLLM", NEEDS_KEY, step="--api-key"
    ),
    "transformers, recorded": Case(
        recorded("transformers-serve"), UNKNOWN, NO_MODEL, models={}, asked=(LIST,)
    ),
    "Jan, recorded": Case(
        recorded("jan"),
        "Jan",
        "ready",
        models={
            "janhq/SmolLM2-135M-Instruct-Q4_1": "unknown",
            "openai/gpt-oss-local": "unknown",
            "sentence-transformer-mini": "unknown",
            "smol-small": "unknown",
            "smol-tools": "unknown",
            "gpt-5.1": "remote",
        },
        asked=(LIST,),
    ),
    # known by its proof alone
    "Jan without a model, recorded": Case(
        recorded("jan", "models-none"), "Jan", NO_MODEL, step="in Jan: Hub", port=1337
    ),
    "Jan without a key, recorded": Case(
        recorded("jan", "models-badkey"), "Jan", NEEDS_KEY, step="Local API Server"
    ),
    # a cloud row has no local figures, and an alias is loaded as its model
    "Lemonade with cloud and aliases, recorded": Case(
        recorded("lemonade", "models-cloud-alias"),
        "Lemonade",
        "ready",
        ("/v1/health",),
        models={
            "mycloud.gpt-cloud": "remote",
            "smollm2-135m-instruct": "loaded, 4096",
            "away": "remote",
            "short": "loaded, 4096",
        },
        asked=(LIST, "/v1/health"),
    ),
    "Lemonade without a model": Case(
        recorded("lemonade", **{LIST: json_reply({"object": "list", "data": []})}),
        "Lemonade",
        NO_MODEL,
        ("/v1/health",),
        step="lemonade pull MODEL",
        port=13305,
    ),
    # any server may have the words of its refusal
    "Lemonade with a key for its list alone, recorded": Case(
        recorded("lemonade", "error-401"),
        "Lemonade",
        NEEDS_KEY,
        step="LEMONADE_API_KEY",
        port=13305,
    ),
    "Lemonade with a key, recorded": Case(
        recorded("lemonade", "error-401", **{"/v1/health": replay("lemonade/error-401")}),
        UNKNOWN,
        NEEDS_KEY,
        ("/v1/health",),
        port=13305,
    ),
}
ALL = {**CASES, **SOURCES, **RECORDED}


def of_server(requests: list[Seen]) -> list[Seen]:
    """Return the requests about the server as a whole."""
    return [one for one in requests if not one.path.startswith(tuple(OF_ONE_MODEL))]


@pytest.mark.rule("R-2", "R-5")
@pytest.mark.parametrize("name", ALL)
async def test_a_server_is_recognised_by_few_requests_and_then_asked_only_for_its_lists(
    name, server, make_client
):
    case = ALL[name]
    case.script(server)
    endpoint = Endpoint.parse(f"localhost:{case.port}{case.path}")
    listed = f"{endpoint.path}/models"
    client = make_client(transport=PortMap({("localhost", case.port): server}), key=case.key)
    found = await client.models.detect(named=[endpoint] if case.port == UNUSUAL else [])
    (row,) = [one for one in found if one.endpoint.port == case.port]
    assert (row.product, row.word) == (case.product, case.word)
    assert bool(row.next_step) is (case.word != "ready")
    assert case.step in row.next_step
    if case.models is not None:
        facts = {one.model_id: (one.state, one.context_loaded, one.kind) for one in row.models}
        told = [(name, ", ".join(map(str, filter(None, each)))) for name, each in facts.items()]
        assert told == [*case.models.items()]
        assert len(told) == len(row.models)
    for model_id, facts in case.facts.items():
        (model,) = [one for one in row.models if one.model_id == model_id]
        assert {fact: getattr(model, fact) for fact in facts} == facts

    asked = of_server(server.seen())
    for has_key in (False, True):  # after a 401 the server is asked again, with the key
        tried = [one.route for one in asked if ("authorization" in one.headers) is has_key]
        assert len(tried) <= case.first, tried
        assert len(tried) == len(set(tried))
        assert tried[:1] in ([], [f"GET {listed}"]), "this one wakes nothing and costs nothing"

    if case.asked is not None:
        assert [one.path for one in asked] == [*case.asked], "and for nothing else"
    at_first = len(server.seen())
    monitor = Monitor(client.models.check)
    used = replace(target(), endpoint=endpoint, product=row.product)
    monitor.aim(used)
    async with aclosing(monitor.watch()) as watched:
        for _ in range(LATER_LOOKS):
            health = await anext(watched)
            assert (health.target.product, health.status.word) == (case.product, case.word)
            monitor.check_now()
    later = [(one.method, one.path) for one in of_server(server.seen()[at_first:])]
    alive = ("HEAD", f"{endpoint.path.removesuffix('v1')}")
    sign_of_life = alive if case.is_listed_once else ("GET", listed)
    assert set(later) == {sign_of_life, *(("GET", path) for path in case.lists)}
    assert Counter(later)[sign_of_life] == LATER_LOOKS
    assert max(Counter(later).values()) == LATER_LOOKS, "each list once in a look"

    facts = [(one.path, one.body) for one in server.seen() if one not in of_server(server.seen())]
    loaded = [model for model in row.models if model.state is not LoadState.REMOTE]
    assert len(facts) == len(set(facts)) <= len(loaded), "once for each model"
