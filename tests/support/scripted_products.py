"""Scripts that make a `ScriptedServer` look like a known product; a chat gets "Hello there."."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.support.scripted_server import (
    DONE,
    Reply,
    ScriptedServer,
    Seen,
    finish,
    json_reply,
    sse,
    text_reply,
    usage,
)

CHAT = "POST /v1/chat/completions"
ANSWER = ("Hello", " there", ".")
LLAMA = {"Server": "llama.cpp"}


def answer(*texts: str, model: str = "tiny") -> Reply:
    """Make a whole good answer."""
    return sse(*(texts or ANSWER), finish(model=model), usage(model=model), DONE)


def _echo(seen: Seen) -> Reply:
    return answer(model=seen.json.get("model") or "tiny")


def model_list(*ids: str, owned_by: str = "someone", headers=None, **fields: object) -> Reply:
    """Make an OpenAI-like list of models."""
    base = {"object": "model", "created": 1_700_000_000, "owned_by": owned_by, **fields}
    return json_reply({"object": "list", "data": [{"id": one, **base} for one in ids]}, headers=headers)


def _guarded(key: str | None, refuse: Reply, script: Reply | Callable[[Seen], Reply]):
    def play(seen: Seen) -> Reply:
        if key and seen.headers.get("authorization") != f"Bearer {key}":
            return refuse
        return script(seen) if callable(script) else script

    return play


def plain(server: ScriptedServer, *ids: str, key: str | None = None) -> ScriptedServer:
    """An OpenAI-compatible server that tells nothing about itself."""
    refuse = json_reply({"error": {"message": "No key", "type": "invalid_request_error"}}, status=401)
    server.on("GET /v1/models", _guarded(key, refuse, model_list(*(ids or ("tiny",)))))
    return server.on(CHAT, _guarded(key, refuse, _echo))


def llama_cpp(server: ScriptedServer, *, model: str = "tiny.gguf", key: str | None = None, n_ctx: int = 4096):
    """A llama-server with one model."""
    error = {"message": "Invalid API Key", "type": "authentication_error", "code": 401}
    refuse = json_reply({"error": error}, status=401, headers=LLAMA)
    meta = {"n_ctx": n_ctx, "n_ctx_train": 8192, "n_params": 134515008, "size": 98217216, "ftype": "Q4_1"}
    row = {"id": model, "object": "model", "created": 1, "owned_by": "llamacpp", "meta": meta}
    models = json_reply({"models": [{"name": ""}], "object": "list", "data": [row]}, headers=LLAMA)
    props = {"modalities": {"vision": False}, "chat_template_caps": {"supports_tools": True}}
    server.unknown = json_reply(
        {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}},
        status=404,
        headers=LLAMA,
    )
    server.on("GET /v1/models", _guarded(key, refuse, models))
    server.on("GET /props", _guarded(key, refuse, json_reply(props, headers=LLAMA)))
    server.on("GET /health", json_reply({"status": "ok"}, headers=LLAMA))
    return server.on(CHAT, _guarded(key, refuse, answer(model=model)))


def router(server: ScriptedServer, **states: str) -> ScriptedServer:
    """A llama-server in router mode; keywords are model=state, and loading really changes them."""
    states = states or {"small": "loaded", "large": "unloaded"}

    def models(_: Seen) -> Reply:
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

    def change(state: str):
        def play(seen: Seen) -> Reply:
            states[seen.json["model"]] = state
            return json_reply({"success": True}, headers=LLAMA)

        return play

    def chat(seen: Seen) -> Reply:
        name = seen.json["model"]
        if name not in states:
            error = {"message": f"model '{name}' not found", "type": "invalid_request_error", "code": 400}
            return json_reply({"error": error}, status=400, headers=LLAMA)
        states[name] = "loaded"
        return answer(model=name)

    server.on("GET /v1/models", models).on("GET /props", json_reply({"role": "router"}, headers=LLAMA))
    server.on("GET /health", json_reply({"status": "ok"}, headers=LLAMA))
    server.on("POST /models/load", change("loaded")).on("POST /models/unload", change("unloaded"))
    return server.on(CHAT, chat)


def lm_studio(
    server: ScriptedServer, *, api: str = "v1", loaded: Sequence[str] = ("qwen3-8b",), key: str | None = None
):
    """LM Studio; `api` is the newest metadata that it has: "v1", "v0" or "none"."""
    express = {"X-Powered-By": "Express"}
    everything = ["qwen3-8b", "gemma-3-4b", "nomic-embed"]

    def unexpected(seen: Seen) -> Reply:
        return json_reply(
            {"error": f"Unexpected endpoint or method. ({seen.method} {seen.path})"}, headers=express
        )

    error = {
        "message": "An LM Studio API token is required",
        "type": "invalid_request_error",
        "code": "invalid_api_key",
    }
    refuse = json_reply({"error": error}, status=401, headers=express)
    live = list(loaded)

    def v1(_: Seen) -> Reply:
        rows = [
            {
                "type": "embedding" if "embed" in name else "llm",
                "key": name,
                "display_name": name,
                "quantization": {"name": "Q4_K_M", "bits_per_weight": 4},
                "size_bytes": 4_683_073_184,
                "params_string": "8B",
                "loaded_instances": [{"id": name, "config": {"context_length": 8192}}]
                if name in live
                else [],
                "max_context_length": 32768,
                "capabilities": {"vision": False, "trained_for_tool_use": True},
            }
            for name in everything
        ]
        return json_reply({"models": rows}, headers=express)

    def v0(_: Seen) -> Reply:
        rows = [
            {
                "id": name,
                "object": "model",
                "type": "embeddings" if "embed" in name else "llm",
                "quantization": "Q4_K_M",
                "state": "loaded" if name in live else "not-loaded",
                "max_context_length": 32768,
                **({"loaded_context_length": 8192} if name in live else {}),
            }
            for name in everything
        ]
        return json_reply({"data": rows, "object": "list"}, headers=express)

    def load(seen: Seen) -> Reply:
        live.append(seen.json["model"])
        return json_reply({"type": "llm", "instance_id": seen.json["model"], "status": "loaded"})

    def unload(seen: Seen) -> Reply:
        live.remove(seen.json["instance_id"])
        return json_reply({"instance_id": seen.json["instance_id"]})

    server.unknown = unexpected
    server.on("GET /lmstudio-greeting", json_reply({"lmstudio": True}, headers=express))
    if api == "v1":
        server.on("GET /api/v1/models", _guarded(key, refuse, v1))
        server.on("POST /api/v1/models/load", _guarded(key, refuse, load))
        server.on("POST /api/v1/models/unload", _guarded(key, refuse, unload))
    if api in ("v1", "v0"):
        server.on("GET /api/v0/models", _guarded(key, refuse, v0))
    server.on(
        "GET /v1/models",
        _guarded(key, refuse, model_list(*everything, owned_by="organization_owner", headers=express)),
    )
    return server.on(CHAT, _guarded(key, refuse, _echo))


def jan(server: ScriptedServer, *ids: str, key: str | None = None) -> ScriptedServer:
    """Jan's Local API Server."""
    refuse = text_reply("Invalid or missing authorization token", status=401)
    server.unknown = text_reply("Not Found", status=404)
    server.on("GET /openapi.json", json_reply({"info": {"title": "Jan API Server Endpoints"}}))
    server.on(
        "GET /v1/models",
        _guarded(key, refuse, model_list(*(ids or ("jan-nano",)), owned_by="user", created=1)),
    )
    return server.on(CHAT, _guarded(key, refuse, _echo))


def ollama(server: ScriptedServer, *ids: str, loaded: Sequence[str] = ()) -> ScriptedServer:
    """Ollama."""
    names = ids or ("llama3.2:3b",)
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
    running = [{"name": name, "model": name, "context_length": 4096} for name in loaded]
    server.on("GET /api/version", json_reply({"version": "0.12.0"}))
    server.on("GET /api/tags", json_reply({"models": rows})).on(
        "GET /api/ps", json_reply({"models": running})
    )
    server.on("POST /api/generate", json_reply({"done": True, "done_reason": "load"}))
    server.on("GET /v1/models", model_list(*names, owned_by="library"))
    return server.on(CHAT, _echo)


def vllm(server: ScriptedServer, *ids: str) -> ScriptedServer:
    """Serve like vLLM."""
    server.on(
        "GET /v1/models", model_list(*(ids or ("Qwen/Qwen3-8B",)), owned_by="vllm", max_model_len=32768)
    )
    return server.on(CHAT, _echo)


PRODUCTS = {
    "plain": plain,
    "llama.cpp": llama_cpp,
    "router": router,
    "lm-studio": lm_studio,
    "jan": jan,
    "ollama": ollama,
    "vllm": vllm,
}
