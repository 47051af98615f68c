"""Ollama: its own API tells models, sizes and what is in memory."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from lmchat.domain.request import Sampling
from lmchat.domain.server import LoadState, ModelInfo, Product
from lmchat.proxy.json_values import mapping, rows, text, whole
from lmchat.proxy.reply import Reply
from lmchat.proxy.servers.base import Server, Tell, capabilities, seed_and_effort
from lmchat.proxy.site import Site

_CAPABILITIES = {"tools": "tools", "vision": "vision", "thinking": "reasoning"}


class Ollama(Server):
    """Loads a model with the first request for it."""

    product = Product.OLLAMA
    ports = (11434,)
    opening_path = "/api/version"
    confirm_path = "/api/version"
    loads_on_demand = True
    start_hint = "ollama serve"
    model_hint = "Choose a model with Ctrl+O: it is loaded then"
    empty_hint = "ollama pull llama3.2"
    host_hint = "Use 127.0.0.1, or OLLAMA_HOST={host} ollama serve"

    def suspects(self, reply: Reply) -> bool:
        """Its models belong to the library."""
        return any(row.get("owned_by") == "library" for row in rows(reply.object.get("data")))

    def confirms(self, reply: Reply) -> bool:
        """Only Ollama has `/api/version` in this form."""
        return reply.is_good and set(reply.object) == {"version"} and bool(text(reply.object["version"]))

    async def models(self, site: Site) -> tuple[ModelInfo, ...]:
        """What is on the disk, and what of it is in memory."""
        tags = await site.optional("/api/tags")
        if tags is None:
            return await super().models(site)
        listed = rows(site.accept(tags).object.get("models"))
        running = await site.get_if_told("/api/ps")
        loaded = {
            text(row.get("name")): whole(row.get("context_length"))
            for row in rows(running.object.get("models") if running else None)
        }
        models = tuple(self._model(site, row) for row in listed if text(row.get("name")))
        if running is None:
            return models
        return tuple(
            replace(model, state=LoadState.LOADED, context_loaded=loaded[model.model_id])
            if model.model_id in loaded
            else replace(model, state=LoadState.NOT_LOADED)
            for model in models
        )

    def _model(self, site: Site, row: dict[str, Any]) -> ModelInfo:
        details, able = mapping(row.get("details")), row.get("capabilities")
        names = [name for name in able if isinstance(name, str)] if isinstance(able, list) else []
        return ModelInfo(
            model_id=text(row.get("name")),
            endpoint=site.endpoint,
            product=self.product,
            is_embedding="embedding" in names,
            params=text(details.get("parameter_size")),
            quantization=text(details.get("quantization_level")),
            size_bytes=whole(row.get("size")),
            capabilities=capabilities(_CAPABILITIES.get(name, "") for name in names),
            owned_by="library",
        )

    def fields(self, sampling: Sampling) -> dict[str, Any]:
        """It knows seeds and efforts."""
        return seed_and_effort(sampling)

    async def load(self, site: Site, model: ModelInfo, tell: Tell) -> None:  # noqa: ARG002 - it does not say
        """A request without a prompt loads."""
        site.accept(await site.post("/api/generate", {"model": model.model_id, "stream": False}))

    async def unload(self, site: Site, model: ModelInfo) -> None:
        """One that is to be kept for no time unloads."""
        body = {"model": model.model_id, "keep_alive": 0, "stream": False}
        site.accept(await site.post("/api/generate", body))
