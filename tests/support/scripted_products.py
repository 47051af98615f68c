"""Scripts that make a `ScriptedServer` look like a known product; a chat gets "Hello there."."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.support.scripted_answers import ANSWER, CHAT, answer, echo, guarded, model_list
from tests.support.scripted_lm_studio import lm_studio
from tests.support.scripted_server import Reply, ScriptedServer, Seen, json_reply, text_reply

__all__ = ["ANSWER", "CHAT", "answer", "lm_studio", "model_list"]
LLAMA = {"Server": "llama.cpp"}


def plain(server: ScriptedServer, *ids: str, key: str | None = None) -> ScriptedServer:
    """An OpenAI-compatible server that tells nothing about itself."""
    refuse = json_reply({"error": {"message": "No key", "type": "invalid_request_error"}}, status=401)
    server.on("GET /v1/models", guarded(key, refuse, model_list(*(ids or ("tiny",)))))
    return server.on(CHAT, guarded(key, refuse, echo))


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
    server.on("GET /v1/models", guarded(key, refuse, models))
    server.on("GET /props", guarded(key, refuse, json_reply(props, headers=LLAMA)))
    server.on("GET /health", json_reply({"status": "ok"}, headers=LLAMA))
    return server.on(CHAT, guarded(key, refuse, answer(model=model)))


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
            error = {"message": f"model '{name}' not found", "type": "invalid_request_error", "code": 400}
            return json_reply({"error": error}, status=400, headers=LLAMA)
        states[name] = "loaded"
        return answer(model=name)

    server.on("GET /v1/models", models).on("GET /props", json_reply({"role": "router"}, headers=LLAMA))
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
    server.on("GET /v1/models", trusted(model_list(*(ids or ("jan-nano",)), owned_by="user", created=1)))
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
    running = [{"name": name, "model": name, "context_length": 4096} for name in loaded]
    server.on("GET /api/version", json_reply({"version": "0.12.0"}))
    server.on("GET /api/tags", json_reply({"models": rows})).on(
        "GET /api/ps", json_reply({"models": running})
    )
    server.on("POST /api/generate", json_reply({"done": True, "done_reason": "load"}))
    server.on("GET /v1/models", model_list(*names, owned_by="library"))

    def chat(seen: Seen) -> Reply:
        name = seen.json.get("model")
        if name not in names:
            error = {"message": f'model "{name}" not found, try pulling it first', "type": "not_found_error"}
            return json_reply({"error": error}, status=404)
        return echo(seen)

    return server.on(CHAT, chat)


def vllm(server: ScriptedServer, *ids: str) -> ScriptedServer:
    """Serve like vLLM."""
    server.on(
        "GET /v1/models", model_list(*(ids or ("Qwen/Qwen3-8B",)), owned_by="vllm", max_model_len=32768)
    )

    def chat(seen: Seen) -> Reply:
        name = seen.json.get("model")
        if name not in (ids or ("Qwen/Qwen3-8B",)):
            error = {"message": f"The model `{name}` does not exist.", "type": "NotFoundError", "code": 404}
            return json_reply({"error": error}, status=404)
        return echo(seen)

    return server.on(CHAT, chat)


PRODUCTS = {
    "plain": plain,
    "llama.cpp": llama_cpp,
    "router": router,
    "lm-studio": lm_studio,
    "jan": jan,
    "ollama": ollama,
    "vllm": vllm,
}
