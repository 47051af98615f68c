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
from lmchat.proxy.http import Reply
from lmchat.proxy.json_values import mapping, rows, text, whole
from lmchat.proxy.servers.base import Server, Tell, capabilities
from lmchat.proxy.site import Site

_AT_ONCE = 6  # most questions for single models at once


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
        return (
            reply.is_good
            and set(reply.object) == {"version"}
            and bool(text(reply.object["version"]))
        )

    async def models(self, site: Site) -> tuple[ModelInfo, ...]:
        tags = await site.optional("/api/tags")
        if tags is None:
            return await super().models(site)
        listed = [
            row for row in rows(site.accept(tags).object.get("models")) if text(row.get("name"))
        ]
        running = await site.get_if_told("/api/ps")
        loaded = {
            text(row.get("name")): whole(row.get("context_length"))
            for row in rows(running.object.get("models") if running else None)
        }
        for gone in site.facts.keys() - {_digest(row) for row in listed}:
            del site.facts[gone]
        await _ask_more(site, listed, loaded)
        models = tuple(self._model(site, row) for row in listed)
        if running is None:
            return models
        return tuple(
            replace(model, state=LoadState.LOADED, context_loaded=loaded[model.model_id])
            if model.model_id in loaded
            else replace(model, state=LoadState.NOT_LOADED)
            for model in models
        )

    def _model(self, site: Site, row: dict[str, Any]) -> ModelInfo:
        details, more = mapping(row.get("details")), site.facts.get(_digest(row), {})
        names = {*_names(row.get("capabilities")), *more.get("capabilities", ())}
        family = more.get("family") or text(details.get("family"))
        return ModelInfo(
            model_id=text(row.get("name")),
            endpoint=site.endpoint,
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

    async def load(self, site: Site, model: ModelInfo, how: LoadOptions, tell: Tell) -> None:  # noqa: ARG002 - it does not say
        """A request without a prompt loads. No window is set: chat requests name none and load again."""
        body: dict[str, Any] = {"model": model.model_id, "stream": False}
        if how.keep_loaded_s is not None:
            body["keep_alive"] = how.keep_loaded_s
        site.accept(await site.post("/api/generate", body))

    async def unload(self, site: Site, model: ModelInfo) -> None:
        body = {"model": model.model_id, "keep_alive": 0, "stream": False}
        site.accept(await site.post("/api/generate", body))


async def _ask_more(site: Site, rows: list[dict[str, Any]], loaded: Container[str]) -> None:
    """Ask once for what the list does not tell of models, as far as there are questions left.

    A health check asks only for what is in memory.
    """
    unknown = [row for row in rows if _digest(row) not in site.facts]
    wanted = [row for row in unknown if row["name"] in loaded or not site.is_quick]
    wanted.sort(key=lambda row: row["name"] not in loaded)  # those in memory first
    for first in range(0, min(len(wanted), site.questions), _AT_ONCE):
        rows_at_once = wanted[first : first + min(_AT_ONCE, site.questions)]
        await asyncio.gather(*(_ask_for(site, row) for row in rows_at_once))


async def _ask_for(site: Site, row: dict[str, Any]) -> None:
    try:
        reply = await site.post("/api/show", {"model": row["name"]})
    except ServerUnavailable:  # the list is worth having without this
        return
    shown = reply.object if reply.is_good else {}
    info = mapping(shown.get("model_info"))
    family = text(info.get("general.architecture"))
    site.facts[_digest(row)] = {
        "capabilities": _names(shown.get("capabilities")),
        "family": family,
        "context_length": whole(info.get(f"{family}.context_length")),
    }


def _digest(row: dict[str, Any]) -> str:
    return text(row.get("digest")) or text(row.get("name"))


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []
