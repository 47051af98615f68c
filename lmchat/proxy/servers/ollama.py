"""Ollama: its own API tells models, sizes and what is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Container
from typing import Any

from msgspec.structs import replace

from lmchat.domain.product import Product
from lmchat.domain.request import LoadOptions
from lmchat.domain.server import LoadState, ModelInfo
from lmchat.errors import ServerUnavailable
from lmchat.proxy.connections import Reply
from lmchat.proxy.json_values import mapping, rows, text, whole
from lmchat.proxy.server_api import OnProgress, ServerApi
from lmchat.proxy.servers.base import Server, capabilities

_AT_ONCE = 6  # most requests for single models at once


class Ollama(Server):
    """Loads a model with the first request for it."""

    product = Product.OLLAMA
    ports = (11434,)
    opening_path = "/api/version"
    confirm_path = "/api/version"
    loads_on_demand = True
    efforts = ("none", "low", "medium", "high", "max")
    seed_field = "seed"
    start_hint = "ollama serve"
    model_hint = "Choose a model with Ctrl+O or -m; lmchat loads it"
    empty_hint = "ollama pull llama3.2"
    host_hint = "Use 127.0.0.1, or OLLAMA_HOST={host} ollama serve"

    def suspects(self, reply: Reply) -> bool:
        return any(row.get("owned_by") == "library" for row in rows(reply.object.get("data")))

    def confirms(self, reply: Reply) -> bool:
        """Only Ollama has `/api/version` in this form."""
        has_version_alone = set(reply.object) == {"version"} and text(reply.object["version"])
        return reply.is_good and bool(has_version_alone)

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        tags = await api.get_optional("/api/tags")
        if tags is None:
            return await super().models(api)
        listed = rows(api.accept(tags).object.get("models"))
        listed = [row for row in listed if text(row.get("name"))]
        running = await api.get_extra("/api/ps")
        contexts = _loaded_contexts(running)
        for removed in api.memory.model_facts.keys() - set(map(_digest, listed)):
            del api.memory.model_facts[removed]
        await _read_details(api, listed, contexts)

        models: list[ModelInfo] = []
        for row in listed:
            model = self._tagged_model(api, row)
            if model.model_id in contexts:
                context = contexts[model.model_id]
                model = replace(model, state=LoadState.LOADED, context_loaded=context)
            elif running is not None:
                model = replace(model, state=LoadState.NOT_LOADED)
            models.append(model)
        return tuple(models)

    def _tagged_model(self, api: ServerApi, row: dict[str, Any]) -> ModelInfo:
        details = mapping(row.get("details"))
        more = api.memory.model_facts.get(_digest(row), {})
        names = {*_names(row.get("capabilities")), *more.get("capabilities", ())}
        family = more.get("family") or text(details.get("family"))
        return ModelInfo(
            model_id=text(row.get("name")),
            endpoint=api.endpoint,
            product=self.product,
            is_embedding="embedding" in names or (not names and family.endswith("bert")),
            params=text(details.get("parameter_size")),
            quantization=text(details.get("quantization_level")),
            context_max=more.get("context_length"),
            size_bytes=whole(row.get("size")),
            capabilities=capabilities(
                tools="tools" in names, vision="vision" in names, reasoning="thinking" in names
            ),
            is_blind=bool(names) and "vision" not in names,
            owned_by="library",
        )

    async def load(
        self,
        api: ServerApi,
        model: ModelInfo,
        options: LoadOptions,
        on_progress: OnProgress,  # noqa: ARG002 - it reports none
    ) -> None:
        """Load a model by a request without a prompt.

        No window is set: chat requests name none, and would load the model again.
        """
        body: dict[str, Any] = {"model": model.model_id, "stream": False}
        if options.keep_loaded_s is not None:
            body["keep_alive"] = options.keep_loaded_s
        api.accept(await api.post("/api/generate", body))

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        body = {"model": model.model_id, "keep_alive": 0, "stream": False}
        api.accept(await api.post("/api/generate", body))


def _loaded_contexts(running: Reply | None) -> dict[str, int | None]:
    """Return the context windows of the models in memory, by their names."""
    contexts: dict[str, int | None] = {}
    for row in rows(running.object.get("models")) if running else []:
        contexts[text(row.get("name"))] = whole(row.get("context_length"))
    return contexts


async def _read_details(
    api: ServerApi, listed: list[dict[str, Any]], loaded: Container[str]
) -> None:
    """Ask once for facts of models that the list lacks, as long as requests are left.

    A health check asks only for the models in memory.
    """
    unknown = [row for row in listed if _digest(row) not in api.memory.model_facts]
    wanted = [row for row in unknown if row["name"] in loaded or not api.is_quick]
    wanted.sort(key=lambda row: row["name"] not in loaded)  # those in memory first
    for first in range(0, min(len(wanted), api.requests_left), _AT_ONCE):
        rows_at_once = wanted[first : first + min(_AT_ONCE, api.requests_left)]
        await asyncio.gather(*(_read_details_of(api, row) for row in rows_at_once))


async def _read_details_of(api: ServerApi, row: dict[str, Any]) -> None:
    try:
        reply = await api.post("/api/show", {"model": row["name"]})
    except ServerUnavailable:  # the list is worth having without this
        return
    shown = reply.object if reply.is_good else {}
    info = mapping(shown.get("model_info"))
    family = text(info.get("general.architecture"))
    api.memory.model_facts[_digest(row)] = {
        "capabilities": _names(shown.get("capabilities")),
        "family": family,
        "context_length": whole(info.get(f"{family}.context_length")),
    }


def _digest(row: dict[str, Any]) -> str:
    return text(row.get("digest")) or text(row.get("name"))


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
