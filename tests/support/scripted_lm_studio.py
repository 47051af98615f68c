"""LM Studio as a scripted server: its three lists of models, loading, JIT loading, tokens."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tests.support.scripted_answers import CHAT, echo, guarded, model_list
from tests.support.scripted_server import Gate, Reply, ScriptedServer, Seen, json_reply

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
        return [{"id": name, "config": {"context_length": 8192}}] if name in self.live else []

    def v0(self, _: Seen) -> Reply:
        rows = [
            {
                "id": name,
                "object": "model",
                "type": "embeddings" if "embed" in name else "llm",
                "quantization": "Q4_K_M",
                "state": "loaded" if name in self.live else "not-loaded",
                "max_context_length": 32768,
                **({"loaded_context_length": 8192} if name in self.live else {}),
            }
            for name in self.told
        ]
        return json_reply({"data": rows, "object": "list"}, headers=EXPRESS)

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
    api: str = "v1",
    loaded: Sequence[str] = ("qwen3-8b",),
    key: str | None = None,
    has_jit: bool = True,
    loading: Gate | None = None,
) -> ScriptedServer:
    """LM Studio; `api` is the newest metadata that it has: "v1", "v0" or "none".

    A list given as `loaded` is its memory: the test may change it. Loading stands still at the gate.
    """
    program = LmStudio(loaded if isinstance(loaded, list) else list(loaded), has_jit=has_jit, loading=loading)
    refuse = json_reply({"error": NO_TOKEN}, status=401, headers=EXPRESS)
    routes: dict[str, Callable[[Seen], Reply]] = {"GET /v1/models": program.listed, CHAT: program.chat}
    if api == "v1":
        routes["GET /api/v1/models"] = program.v1
        routes["POST /api/v1/models/load"] = program.load
        routes["POST /api/v1/models/unload"] = program.unload
    if api in ("v1", "v0"):
        routes["GET /api/v0/models"] = program.v0
    for route, play in routes.items():
        server.on(route, guarded(key, refuse, play))
    server.on("GET /lmstudio-greeting", json_reply({"lmstudio": True}, headers=EXPRESS))
    server.unknown = _unexpected
    return server


def _unexpected(seen: Seen) -> Reply:
    words = f"Unexpected endpoint or method. ({seen.method} {seen.path})"
    return json_reply({"error": words}, headers=EXPRESS)
