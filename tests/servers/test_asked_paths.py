"""What each scripted product is asked for, in each state: at the first look, and at all later ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

import pytest
from msgspec.structs import replace

from lmchat.servers.discovery.monitor import Monitor
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import LoadState
from tests.support import scripted_products as products
from tests.support.client_calls import PortMap
from tests.support.scripted_backend import target
from tests.support.scripted_products import LLAMA, model_list
from tests.support.scripted_server import (
    ScriptedServer,
    Seen,
    error_reply,
    html_reply,
    json_reply,
    text_reply,
)

KEY = "sk-right"
UNUSUAL = 4711  # no product has this port
LIST = "/v1/models"
OF_ONE_MODEL = {"/api/show", "/props?"}  # facts of a model, not of a server: once for each model
MOST_AT_FIRST = 3
LATER_LOOKS = 4


def asleep(server: ScriptedServer) -> None:
    products.llama_cpp(server)
    server.on("GET /props", json_reply({"is_sleeping": True}, headers=LLAMA))


def behind_a_proxy(server: ScriptedServer) -> None:
    """A proxy drops the header that names llama.cpp, and passes its owner on."""
    server.on("GET /v1/models", model_list("tiny.gguf", owned_by="llamacpp"))
    server.on("GET /props", json_reply({"total_slots": 2}))


def sglang(server: ScriptedServer) -> None:
    server.on("GET /v1/models", model_list("qwen", owned_by="sglang", max_model_len=1000))


def litellm(server: ScriptedServer) -> None:
    rows = {"object": "list", "data": [{"id": "gpt", "owned_by": "openai", "created": 1677610602}]}
    server.on("GET /v1/models", json_reply(rows, headers={"x-litellm-version": "1.0"}))
    server.on("GET /model/info", json_reply({"data": [{"model_name": "gpt", "model_info": {}}]}))


def litellm_without_its_header(server: ScriptedServer) -> None:
    server.on("GET /v1/models", model_list("gpt", owned_by="openai", created=1677610602))
    server.on("GET /health/liveliness", json_reply("I'm alive!"))
    server.on("GET /model/info", json_reply({"data": []}))


def old_lm_studio(server: ScriptedServer) -> None:
    """Version 0.3 answers paths that it does not have with status 200 and an error."""
    products.lm_studio(server)
    for path in ("/api/v1/models", "/lmstudio-greeting"):
        words = f"Unexpected endpoint or method. (GET {path})"
        server.on(f"GET {path}", json_reply({"error": words}, headers=products.EXPRESS))
    rows = [{"id": "qwen3-8b", "type": "llm", "state": "loaded", "loaded_context_length": 4096}]
    old = json_reply({"object": "list", "data": rows}, headers=products.EXPRESS)
    server.on("GET /api/v0/models", old)


def several_of_ollama(server: ScriptedServer) -> None:
    products.ollama(server, "llama3.2:3b", "qwen3:8b", "gemma3:4b", loaded=["qwen3:8b"])


def ollama_that_blocks(server: ScriptedServer) -> None:
    """It refuses a foreign host name with an empty body, whatever is asked for."""
    server.unknown = text_reply("", status=403)


def many_of_a_router(server: ScriptedServer) -> None:
    products.router(server, small="loaded", middle="loaded", large="unloaded")


def remote_of_jan(server: ScriptedServer) -> None:
    products.jan_with_remote(server, "jan-nano", "gpt-5.1", remote=["gpt-5.1"])


def remote_of_ollama(server: ScriptedServer) -> None:
    products.ollama_with_remote(server, "smol", "oak:cloud", remote=["oak:cloud"], loaded=["smol"])


def without_models(server: ScriptedServer) -> None:
    server.on("GET /v1/models", json_reply({"object": "list", "data": []}))


def without_a_list(server: ScriptedServer) -> None:
    """Ollama for which nothing was ever pulled."""
    products.ollama(server, is_empty=True)
    server.on("GET /v1/models", json_reply({"object": "list", "data": None}))


def broken(server: ScriptedServer) -> None:
    server.unknown = error_reply(500, "out of order")


def page(server: ScriptedServer) -> None:
    server.unknown = html_reply()


@dataclass(frozen=True)
class Case:
    """A scripted product in a state, and what shows of it."""

    port: int
    script: Callable[[ScriptedServer], object]
    product: str
    word: str
    lists: tuple[str, ...] = ()  # what it may be asked for at later looks, beside `LIST`
    first: int = MOST_AT_FIRST  # most requests at the first look
    key: str = ""  # of the user


LM_STUDIO = ("/api/v1/models",)
LLAMA_CPP = ("/props",)
OLLAMA = ("/api/tags", "/api/ps")
NO_MODEL, NEEDS_KEY, REJECTED = "no model loaded", "needs key", "key rejected"
lm_studio, jan, llama_cpp, plain = (
    products.lm_studio,
    products.jan,
    products.llama_cpp,
    products.plain,
)
CASES = {
    "LM Studio, loaded": Case(1234, lm_studio, "LM Studio", "ready", LM_STUDIO),
    "LM Studio, nothing loaded": Case(
        1234, partial(lm_studio, loaded=()), "LM Studio", NO_MODEL, LM_STUDIO
    ),
    "LM Studio, without JIT": Case(
        1234, partial(lm_studio, loaded=(), has_jit=False), "LM Studio", NO_MODEL, LM_STUDIO
    ),
    "LM Studio, locked": Case(1234, partial(lm_studio, key=KEY), "LM Studio", NEEDS_KEY, LM_STUDIO),
    "LM Studio, wrong key": Case(
        1234,
        partial(lm_studio, key=KEY),
        "LM Studio",
        REJECTED,
        LM_STUDIO,
        key="sk-wrong",
    ),
    "LM Studio, opened": Case(
        1234, partial(lm_studio, key=KEY), "LM Studio", "ready", LM_STUDIO, key=KEY
    ),
    "LM Studio at another port": Case(UNUSUAL, lm_studio, "LM Studio", "ready", LM_STUDIO),
    "LM Studio 0.3": Case(1234, old_lm_studio, "LM Studio", "ready", ("/api/v0/models",)),
    "Jan, running": Case(1337, jan, "Jan", "ready"),
    "Jan, locked": Case(1337, partial(jan, key=KEY), "Jan", NEEDS_KEY),
    "Jan, opened": Case(1337, partial(jan, key=KEY), "Jan", "ready", key=KEY),
    "Jan, host blocked": Case(1337, partial(jan, trusts=set()), "Jan", "host blocked"),
    "Jan at another port": Case(UNUSUAL, jan, "Jan", "ready"),
    "Jan with remote models": Case(1337, remote_of_jan, "Jan", "ready"),
    "llama.cpp, loaded": Case(9931, llama_cpp, "llama.cpp", "ready", LLAMA_CPP),
    "llama.cpp, at its older port": Case(8080, llama_cpp, "llama.cpp", "ready", LLAMA_CPP),
    "llama.cpp, asleep": Case(9931, asleep, "llama.cpp", "ready", LLAMA_CPP),
    "llama.cpp, loading": Case(9931, products.loading_llama_cpp, "llama.cpp", "loading"),
    "llama.cpp, locked": Case(9931, partial(llama_cpp, key=KEY), "llama.cpp", NEEDS_KEY),
    "llama.cpp, opened": Case(
        9931, partial(llama_cpp, key=KEY), "llama.cpp", "ready", LLAMA_CPP, key=KEY
    ),
    "llama.cpp behind a proxy": Case(UNUSUAL, behind_a_proxy, "llama.cpp", "ready", LLAMA_CPP),
    "router": Case(9931, products.router, "llama.cpp", "ready"),
    "router with several": Case(UNUSUAL, many_of_a_router, "llama.cpp", "ready"),
    "router, nothing loaded": Case(
        9931, partial(products.router, large="unloaded"), "llama.cpp", NO_MODEL
    ),
    "Ollama, nothing loaded": Case(11434, products.ollama, "Ollama", NO_MODEL, OLLAMA),
    "Ollama, loaded": Case(11434, several_of_ollama, "Ollama", "ready", OLLAMA),
    "Ollama, nothing pulled": Case(11434, without_a_list, "Ollama", NO_MODEL, OLLAMA),
    "Ollama, nothing pulled, at another port": Case(
        UNUSUAL, without_a_list, "Ollama", NO_MODEL, OLLAMA
    ),
    "Ollama at another port": Case(UNUSUAL, several_of_ollama, "Ollama", "ready", OLLAMA),
    "Ollama with remote models": Case(11434, remote_of_ollama, "Ollama", "ready", OLLAMA),
    "Ollama, host blocked": Case(
        11434, ollama_that_blocks, "Ollama", "host blocked", ("/api/tags",)
    ),
    "vLLM": Case(8000, products.vllm, "vLLM", "ready", first=1),
    "vLLM at another port": Case(UNUSUAL, products.vllm, "vLLM", "ready", first=1),
    "SGLang": Case(30000, sglang, "SGLang", "ready", first=1),
    "LiteLLM": Case(4000, litellm, "LiteLLM", "ready", first=2),
    "LiteLLM without its header": Case(UNUSUAL, litellm_without_its_header, "LiteLLM", "ready"),
    "unknown": Case(UNUSUAL, plain, "OpenAI-compatible", "ready", first=1),
    "unknown, locked": Case(
        UNUSUAL,
        partial(plain, key=KEY),
        "OpenAI-compatible",
        NEEDS_KEY,
        first=1,
    ),
    "unknown, opened": Case(
        UNUSUAL, partial(plain, key=KEY), "OpenAI-compatible", "ready", first=1, key=KEY
    ),
    "unknown, without models": Case(
        UNUSUAL, without_models, "OpenAI-compatible", NO_MODEL, first=1
    ),
    "broken": Case(UNUSUAL, broken, "OpenAI-compatible", "server error", first=1),
    "page": Case(UNUSUAL, page, "OpenAI-compatible", "not an LLM server", first=1),
    **{
        f"unknown at {port}": Case(port, plain, "OpenAI-compatible", "ready", first=2)
        for port in (1234, 1337, 9931, 8080, 11434, 8000, 30000, 4000)
    },
}


def of_server(requests: list[Seen]) -> list[Seen]:
    """Return the requests about the server as a whole."""
    return [one for one in requests if not one.path.startswith(tuple(OF_ONE_MODEL))]


@pytest.mark.rule("R-2", "R-5")
@pytest.mark.parametrize("name", CASES)
async def test_a_server_gets_three_requests_at_most_and_then_only_those_for_its_lists(
    name, server, make_client
):
    case = CASES[name]
    case.script(server)
    endpoint = Endpoint.parse(f"localhost:{case.port}")
    client = make_client(transport=PortMap({("localhost", case.port): server}), key=case.key)
    found = await client.detect(named=[endpoint] if case.port == UNUSUAL else [])
    (row,) = [one for one in found if one.endpoint.port == case.port]
    assert (row.product, row.word) == (case.product, case.word)

    asked = of_server(server.seen())
    for has_key in (False, True):  # after a 401 the server is asked again, with the key
        tried = [one.route for one in asked if ("authorization" in one.headers) is has_key]
        assert len(tried) <= case.first, tried
        assert len(tried) == len(set(tried))
        assert tried[:1] in ([], [f"GET {LIST}"]), "this one wakes nothing and costs nothing"

    at_first = len(server.seen())
    monitor = Monitor(client.check)
    used = replace(target(), endpoint=endpoint, product=row.product)
    monitor.aim(used)
    async with aclosing(monitor.watch()) as watched:
        for _ in range(LATER_LOOKS):
            health = await anext(watched)
            assert (health.target.product, health.status.word) == (case.product, case.word)
            monitor.check_now()
    later = [(one.method, one.path) for one in of_server(server.seen()[at_first:])]
    assert set(later) <= {("GET", path) for path in (LIST, *case.lists)}
    assert Counter(later)["GET", LIST] == LATER_LOOKS
    assert max(Counter(later).values()) == LATER_LOOKS, "each list once in a look"

    facts = [(one.path, one.body) for one in server.seen() if one not in of_server(server.seen())]
    loaded = [model for model in row.models if model.state is not LoadState.REMOTE]
    assert len(facts) == len(set(facts)) <= len(loaded), "once for each model"
