"""Scripts that make a `ScriptedServer` look like a known product; a chat gets "Hello there."."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lmchat.core.servers.products import PRODUCTS
from tests.support.scripted_server import (
    DONE,
    Gate,
    Reply,
    ScriptedServer,
    Seen,
    delta,
    error_reply,
    finish,
    json_reply,
    sse,
    text_reply,
    usage,
)

PRODUCT_NAMES = [product.name for product in PRODUCTS]
CHAT = "POST /v1/chat/completions"
ANSWER = ("Hello", " there", ".")


def calling(*calls: tuple[str, str]):
    """Make an answer that calls tools, each given by its name and its arguments."""
    made = [
        {
            "index": number,
            "id": f"call_{number}",
            "function": {"name": name, "arguments": arguments},
        }
        for number, (name, arguments) in enumerate(calls)
    ]
    return sse(
        "Let me see.", *(delta(tool_calls=[call]) for call in made), finish("tool_calls"), DONE
    )


def chat_reply(*texts: str, model: str = "tiny") -> Reply:
    words = (delta(text, model=model) for text in texts or ANSWER)
    return sse(*words, finish(model=model), usage(model=model), DONE)


def echo(seen: Seen) -> Reply:
    return chat_reply(model=seen.json.get("model") or "tiny")


def repeat(seen: Seen) -> Reply:
    """Answer with the prompt."""
    return chat_reply(seen.json["messages"][-1]["content"])


def model_list(*ids: str, owned_by: str = "someone", headers=None, **fields: object) -> Reply:
    base = {"object": "model", "created": 1_700_000_000, "owned_by": owned_by, **fields}
    return json_reply(
        {"object": "list", "data": [{"id": one, **base} for one in ids]}, headers=headers
    )


def guarded(key: str | None, refuse: Reply, script: Reply | Callable[[Seen], Reply]):
    def play(seen: Seen) -> Reply:
        if key and seen.headers.get("authorization") != f"Bearer {key}":
            return refuse
        return script(seen) if callable(script) else script

    return play


EXPRESS = {"X-Powered-By": "Express"}
EVERYTHING = ("qwen3-8b", "gemma-3-4b", "nomic-embed")
NO_TOKEN = {
    "message": "An LM Studio API token is required",
    "type": "invalid_request_error",
    "code": "invalid_api_key",
}
NOT_LOADED = {
    "message": "No models loaded. Please load a model in the developer page or use the 'lms load' command.",
    "type": "invalid_request_error",
    "param": "model",
    "code": "model_not_found",
}


class LmStudio:
    """What it has on the disk and in memory."""

    def __init__(self, live: list[str], *, has_jit: bool, loading: Gate | None) -> None:
        self.live = live
        self.has_jit = has_jit
        self.loading = loading
        self.coming: list[str] = []

    @property
    def told(self) -> Sequence[str]:
        """What the older lists hold: without JIT loading only what is in memory (protocol §2)."""
        return EVERYTHING if self.has_jit else self.live

    def v1(self, _: Seen) -> Reply:
        rows = [
            {
                "type": "embedding" if "embed" in name else "llm",
                "key": name,
                "display_name": name,
                "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
                "size_bytes": 4_683_073_184,
                "params_string": "8B",
                "loaded_instances": self._instances(name),
                "max_context_length": 32768,
                "capabilities": {"vision": False, "trained_for_tool_use": True},
            }
            for name in EVERYTHING
        ]
        return json_reply({"models": rows}, headers=EXPRESS)

    def _settle(self) -> None:
        """What was at the gate is in memory once the gate is open."""
        if self.loading is None or self.loading.is_open:
            self.live += self.coming
            self.coming = []

    def _instances(self, name: str) -> list[dict]:
        self._settle()
        return [
            {"id": one, "config": {"context_length": 8192}}
            for one in self.live
            if one.partition(":")[0] == name  # the second one is `NAME:2`
        ]

    def listed(self, _: Seen) -> Reply:
        return model_list(*self.told, owned_by="organization_owner", headers=EXPRESS)

    def chat(self, seen: Seen) -> Reply:
        """Answer; with JIT loading off only as what is loaded (§4.2)."""
        self._settle()
        name = seen.json.get("model")
        if name not in self.live and not self.has_jit:
            return json_reply({"error": NOT_LOADED}, status=404, headers=EXPRESS)
        if name not in self.live:
            self.live.append(name)
        return echo(seen)

    def load(self, seen: Seen) -> Reply:
        name = seen.json["model"]
        self.coming.append(name)
        self._settle()
        done = {"type": "llm", "instance_id": name, "status": "loaded"}
        return json_reply(done, before=[self.loading] if self.loading else ())

    def unload(self, seen: Seen) -> Reply:
        self.live.remove(seen.json["instance_id"])
        return json_reply({"instance_id": seen.json["instance_id"]})


def lm_studio(
    server: ScriptedServer,
    *,
    loaded: Sequence[str] = ("qwen3-8b",),
    key: str | None = None,
    has_jit: bool = True,
    loading: Gate | None = None,
) -> ScriptedServer:
    """LM Studio.

    A list given as `loaded` is its memory: the test may change it. Loading stands still at the gate.
    """
    program = LmStudio(
        loaded if isinstance(loaded, list) else list(loaded), has_jit=has_jit, loading=loading
    )
    refuse = json_reply({"error": NO_TOKEN}, status=401, headers=EXPRESS)
    routes: dict[str, Callable[[Seen], Reply]] = {
        "GET /v1/models": program.listed,
        CHAT: program.chat,
        "GET /api/v1/models": program.v1,
        "POST /api/v1/models/load": program.load,
        "POST /api/v1/models/unload": program.unload,
    }
    for route, play in routes.items():
        server.on(route, guarded(key, refuse, play))
    server.on("GET /lmstudio-greeting", json_reply({"lmstudio": True}, headers=EXPRESS))
    server.unknown = _unexpected
    return server


def _unexpected(seen: Seen) -> Reply:
    words = f"Unexpected endpoint or method. ({seen.method} {seen.path})"
    return json_reply({"error": words}, headers=EXPRESS)


LLAMA = {"Server": "llama.cpp"}


def llama_models() -> Reply:
    """The list of a llama.cpp with one model."""
    return model_list("tiny", owned_by="llamacpp", headers=LLAMA)


def plain(server: ScriptedServer, *ids: str, key: str | None = None) -> ScriptedServer:
    """An OpenAI-compatible server that tells nothing about itself."""
    refuse = error_reply(401, "No key", type="invalid_request_error")
    server.on("GET /v1/models", guarded(key, refuse, model_list(*(ids or ("tiny",)))))
    return server.on(CHAT, guarded(key, refuse, echo))


def llama_cpp(
    server: ScriptedServer, *, model: str = "tiny.gguf", key: str | None = None, n_ctx: int = 4096
):
    error = {"message": "Invalid API Key", "type": "authentication_error", "code": 401}
    refuse = json_reply({"error": error}, status=401, headers=LLAMA)
    meta = {
        "n_ctx": n_ctx,
        "n_ctx_train": 8192,
        "n_params": 134515008,
        "size": 98217216,
        "ftype": "Q4_1",
    }
    row = {"id": model, "object": "model", "created": 1, "owned_by": "llamacpp", "meta": meta}
    models = json_reply({"models": [{"name": ""}], "object": "list", "data": [row]}, headers=LLAMA)
    props = {"modalities": {"vision": False}, "chat_template_caps": {"supports_tools": True}}
    server.unknown = error_reply(
        404, "File Not Found", type="not_found_error", code=404, headers=LLAMA
    )
    server.on("GET /v1/models", guarded(key, refuse, models))
    server.on("GET /props", guarded(key, refuse, json_reply(props, headers=LLAMA)))
    server.on("GET /health", json_reply({"status": "ok"}, headers=LLAMA))
    return server.on(CHAT, guarded(key, refuse, chat_reply(model=model)))


def loading_llama_cpp(server: ScriptedServer) -> ScriptedServer:
    """A llama-server that still loads its model: every path says so (§4.2)."""
    error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
    server.forget()
    server.unknown = json_reply({"error": error}, status=503, headers=LLAMA)
    return server


def router_rows(**states: str) -> Reply:
    """The list of a router; keywords are model=state."""
    rows = [
        {
            "id": name,
            "object": "model",
            "owned_by": "llamacpp",
            "created": 1,
            "status": {"value": state, "args": ["--ctx-size", "2048"]},
            "meta": {"n_ctx": 2048, "n_ctx_train": 8192} if state == "loaded" else None,
        }
        for name, state in states.items()
    ]
    return json_reply({"object": "list", "data": rows}, headers=LLAMA)


def router(server: ScriptedServer, **states: str) -> ScriptedServer:
    """A llama-server in router mode; keywords are model=state, and loading really changes them."""
    states = states or {"small": "loaded", "large": "unloaded"}

    def models(_: Seen) -> Reply:
        return router_rows(**states)

    def change(state: str):
        def play(seen: Seen) -> Reply:
            states[seen.json["model"]] = state
            return json_reply({"success": True}, headers=LLAMA)

        return play

    def chat(seen: Seen) -> Reply:
        name = seen.json["model"]
        if name not in states:
            error = {
                "message": f"model '{name}' not found",
                "type": "invalid_request_error",
                "code": 400,
            }
            return json_reply({"error": error}, status=400, headers=LLAMA)
        states[name] = "loaded"
        return chat_reply(model=name)

    server.on("GET /v1/models", models).on(
        "GET /props", json_reply({"role": "router"}, headers=LLAMA)
    )
    server.on("GET /health", json_reply({"status": "ok"}, headers=LLAMA))
    server.on("POST /models/load", change("loaded")).on("POST /models/unload", change("unloaded"))
    return server.on(CHAT, chat)


def jan(
    server: ScriptedServer, *ids: str, key: str | None = None, trusts: set[str] | None = None
) -> ScriptedServer:
    """Jan's Local API Server; where `trusts` is given, hosts that are not in it are blocked (§1.3).

    Its document is open to every host and needs no key (§1.2).
    """
    refuse = text_reply("Invalid or missing authorization token", status=401)
    block = text_reply("Invalid host header", status=403)

    def trusted(script: Reply | Callable[[Seen], Reply]):
        inner = guarded(key, refuse, script)

        def play(seen: Seen) -> Reply:
            host = seen.headers.get("host", "").rpartition(":")[0]
            return inner(seen) if trusts is None or host in trusts else block

        return play

    server.unknown = trusted(text_reply("Not Found", status=404))
    server.on("GET /openapi.json", json_reply({"info": {"title": "Jan API Server Endpoints"}}))
    server.on(
        "GET /v1/models", trusted(model_list(*(ids or ("jan-nano",)), owned_by="user", created=1))
    )
    return server.on(CHAT, trusted(echo))


def ollama(
    server: ScriptedServer, *ids: str, loaded: Sequence[str] = (), is_empty: bool = False
) -> ScriptedServer:
    """Ollama; also one for which nothing was ever pulled."""
    names = () if is_empty else ids or ("llama3.2:3b",)
    rows = [
        {
            "name": name,
            "model": name,
            "size": 2_019_393_189,
            "details": {"parameter_size": "3.2B", "quantization_level": "Q4_K_M"},
            "capabilities": ["completion", "tools"],
        }
        for name in names
    ]
    live = {*loaded}

    def running(_: Seen) -> Reply:
        found = [{"name": name, "model": name, "context_length": 4096} for name in sorted(live)]
        return json_reply({"models": found})

    def generate(seen: Seen) -> Reply:
        """Load or unload: the requests of lmchat have no prompt."""
        is_unload = seen.json.get("keep_alive") == 0
        (live.discard if is_unload else live.add)(seen.json["model"])
        return json_reply({"done": True, "done_reason": "unload" if is_unload else "load"})

    server.on("GET /api/version", json_reply({"version": "0.12.0"}))
    server.on("GET /api/tags", json_reply({"models": rows})).on("GET /api/ps", running)
    server.on("POST /api/generate", generate)
    server.on("GET /v1/models", model_list(*names, owned_by="library"))
    return server.on(CHAT, echo)


def jan_with_remote(server: ScriptedServer, *names: str, remote: Sequence[str]) -> ScriptedServer:
    """Jan with models of providers beside its own, as `proxy.rs` of janhq/jan lists them."""
    jan(server)
    rows = [
        {
            "id": name,
            "object": "model",
            "created": 1,
            "owned_by": "remote" if name in remote else "llama.cpp",
        }
        for name in names
    ]
    return server.on("GET /v1/models", json_reply({"object": "list", "data": rows}))


def ollama_with_remote(
    server: ScriptedServer, *names: str, remote: Sequence[str], loaded: Sequence[str] = ()
) -> ScriptedServer:
    """Ollama 0.33 with models of its cloud; rows, and the name without `:latest`, as recorded."""
    ollama(server, *names, loaded=loaded)
    rows = [
        {
            "name": name,
            "model": name,
            "remote_model": "gpt-oss:120b",
            "remote_host": "https://ollama.com:11434",
            "size": 287,
            "digest": f"5649{name}",
            "details": {"family": "gptoss", "parameter_size": "120B", "context_length": 131072},
            "capabilities": ["completion", "tools", "thinking"],
        }
        if name in remote
        else {"name": name, "model": name, "size": 98_363_532, "capabilities": ["completion"]}
        for name in names
    ]
    server.on("POST /api/show", json_reply({"capabilities": ["completion"], "model_info": {}}))
    return server.on("GET /api/tags", json_reply({"models": rows}))


def localai_with_remote(
    server: ScriptedServer, *names: str, remote: Sequence[str]
) -> ScriptedServer:
    """LocalAI with models of `cloud-proxy`, all in memory, as its system.go and models.go tell it."""
    rows = [{"id": name, "object": "model"} for name in names]
    backends = {name: "cloud-proxy" if name in remote else "llama-cpp" for name in names}
    loaded = [{"id": name, "backend": backend} for name, backend in backends.items()]
    server.on("GET /v1/models", json_reply({"object": "list", "data": rows}))
    server.on("GET /system", json_reply({"backends": [], "loaded_models": loaded}))
    return server.on(CHAT, echo)


def vllm(server: ScriptedServer) -> ScriptedServer:
    models = model_list("Qwen/Qwen3-8B", owned_by="vllm", max_model_len=32768)
    return server.on("GET /v1/models", models).on(CHAT, echo)


@dataclass(frozen=True)
class Provider:
    """One of them."""

    product: str  # which
    host: str  # where it alone is
    path: str  # the base of its addresses
    stream: tuple[Any, ...]  # an answer in its own form; its text is always "Hello there."
    thought: str = ""  # what of it is thought
    calls: tuple[tuple[str, str], ...] = ()  # names and arguments of the tools that it asks for

    def url(self, port: int) -> str:
        return f"https://{self.host}:{port}{self.path}"

    def script(self, server: ScriptedServer) -> None:
        server.on(f"GET {self.path}/models", model_list("some-model", owned_by="provider"))
        server.on(f"POST {self.path}/chat/completions", sse(*self.stream))


def _tool(name: str, arguments: str, **more: object) -> dict:
    return {
        "id": f"call_{name}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    } | more


_HELLO = (delta("Hello"), delta(" there."))
_END = (finish(), usage(), DONE)

OPENAI = Provider(
    product="OpenAI",
    host="api.openai.com",
    path="/v1",
    stream=(
        delta("", role="assistant", refusal=None) | {"obfuscation": "zq7", "usage": None},
        *(
            chunk | {"obfuscation": "x" * 9, "service_tier": "default", "usage": None}
            for chunk in _HELLO
        ),
        *_END,
    ),
)

MISTRAL = Provider(
    product="Mistral",
    host="api.mistral.ai",
    path="/v1",
    stream=(
        delta("", role="assistant") | {"p": "abcdefghij"},
        delta(
            content=[
                {
                    "type": "thinking",
                    "thinking": [{"type": "text", "text": "Plan."}],
                    "closed": True,
                }
            ]
        ),
        delta(
            content=[{"type": "text", "text": "Hello"}, {"type": "reference", "reference_ids": [1]}]
        )
        | {"p": "k"},
        delta(" there."),
        finish()
        | {"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}, "p": "lmno"},
        DONE,
    ),
    thought="Plan.",
)

ANTHROPIC = Provider(
    product="Anthropic",
    host="api.anthropic.com",
    path="/v1",
    stream=(
        delta("", role="assistant"),
        *_HELLO,
        delta(tool_calls=[_tool("look", ""), _tool("read", "{}")]),
        finish("tool_calls"),
        usage(),
        DONE,
    ),
    calls=(("look", ""), ("read", "{}")),
)

GEMINI = Provider(
    product="Gemini",
    host="generativelanguage.googleapis.com",
    path="/v1beta/openai",
    stream=(
        delta("Hello", role="assistant"),
        # complete calls, all without an index; no reason for the end on the way
        delta(
            " there.", tool_calls=[_tool("look", '{"at": 1}'), _tool("look", '{"at": 2}', id="")]
        ),
        finish(),
        usage(),
        DONE,
    ),
    calls=(("look", '{"at": 1}'), ("look", '{"at": 2}')),
)

OPENROUTER = Provider(
    product="OpenRouter",
    host="openrouter.ai",
    path="/api/v1",
    stream=(
        b": OPENROUTER PROCESSING\n\n",
        b": OPENROUTER PROCESSING\n\n",
        delta(
            "",
            role="assistant",
            reasoning="Plan.",
            reasoning_details=[{"type": "reasoning.text", "text": "Plan.", "format": "unknown"}],
        )
        | {"provider": "Someone"},
        *_HELLO,
        *_END,
    ),
    thought="Plan.",
)

PROVIDERS = (OPENAI, MISTRAL, ANTHROPIC, GEMINI, OPENROUTER)
