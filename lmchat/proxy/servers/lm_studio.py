"""LM Studio: native metadata and loading since 0.4, an older form since 0.3.6."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from lmchat.domain.product import Product
from lmchat.domain.request import Sampling
from lmchat.domain.server import LoadState, ModelInfo
from lmchat.files import read_plain
from lmchat.machine.other_programs import lm_studio_folders
from lmchat.proxy.connections import Reply
from lmchat.proxy.dialect import Dialect, JsonMode
from lmchat.proxy.json_values import NotJsonError, decode, mapping, rows, text, whole
from lmchat.proxy.server_api import ServerApi
from lmchat.proxy.servers.base import Server, capabilities, has_word

_V1 = "/api/v1/models"
_V0 = "/api/v0/models"
_STATES = {
    "loaded": LoadState.LOADED,
    "loading": LoadState.LOADING,
    "not-loaded": LoadState.NOT_LOADED,
}


class LmStudio(Server):
    """LM Studio; answers unknown paths with status 200 and an error, so ask it little."""

    product = Product.LM_STUDIO
    ports = (1234,)
    opening_path = "/lmstudio-greeting"
    confirm_path = "/lmstudio-greeting"
    loads_on_demand = True
    dialect = Dialect(json_modes=(JsonMode.SCHEMA, JsonMode.WORDS))  # `json_object` is refused
    seed_field = "seed"
    load_path = f"{_V1}/load"
    context_field = "context_length"
    start_hint = "Open LM Studio: Developer, Start server"
    off_hint = "Open its Developer tab, then Start server"
    key_hint = "Use a token from Server settings, Manage tokens"
    model_hint = "Choose a model with Ctrl+O or -m; lmchat loads it"
    load_hint = (
        "Load it in LM Studio, or send a message: LM Studio may load it on the first request"
    )
    empty_hint = "Discover tab: download a model, then load it"

    def last_port(self) -> int | None:
        return next(_ports("http-server-config.json"), None)

    def proves(self, reply: Reply) -> bool:
        error = reply.object.get("error")
        words = text(error) + text(mapping(error).get("message"))
        return "Unexpected endpoint or method." in words or "LM Studio API token" in words

    def suspects(self, reply: Reply) -> bool:
        """It is an Express program."""
        return reply.headers.get("x-powered-by", "") == "Express"

    def confirms(self, reply: Reply) -> bool:
        return reply.object.get("lmstudio") is True or self.proves(reply)

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the newest form of the list; after a refusal, no older one is asked for."""
        newest = await api.get_optional(_V1)
        if newest is not None:
            listed = rows(api.accept(newest).object.get("models"))
            return tuple(_from_v1(api, row) for row in listed if text(row.get("key")))
        older = await api.get_optional(_V0)
        if older is not None:
            listed = rows(api.accept(older).object.get("data"))
            return tuple(_from_v0(api, row) for row in listed if text(row.get("id")))
        return await super().models(api)

    def fields(self, sampling: Sampling, model: ModelInfo | None = None) -> dict[str, Any]:
        fields = super().fields(sampling, model)
        if sampling.keep_loaded_s is not None:
            fields["ttl"] = sampling.keep_loaded_s
        return fields

    def takes_effort(self, effort: str, model: ModelInfo | None) -> bool:
        """Newer versions take those that they name for a model, and call no thinking `off`."""
        named = model.efforts if model is not None else ()
        return effort in named or (effort == "none" and "off" in named)

    def _effort_note(self, effort: str, model: ModelInfo | None) -> str:
        if model is None or not model.efforts:
            return (
                "LM Studio lists no reasoning efforts for this model; set reasoning in LM Studio."
            )
        return super()._effort_note(effort, model)

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        reply = await api.get(_V1)
        self.accept(api, reply, "unload")
        listed = rows(reply.object.get("models"))
        row = next((row for row in listed if row.get("key") == model.model_id), {})
        names = [text(instance.get("id")) for instance in rows(row.get("loaded_instances"))]
        for name in names or [model.model_id]:
            self.accept(api, await api.post(f"{_V1}/unload", {"instance_id": name}), "unload")


def _from_v1(api: ServerApi, row: dict[str, Any]) -> ModelInfo:
    instances = rows(row.get("loaded_instances"))
    able = mapping(row.get("capabilities"))
    options = mapping(able.get("reasoning")).get("allowed_options")
    efforts = tuple(filter(text, options)) if isinstance(options, list) else ()
    config = mapping(instances[0].get("config")) if instances else {}
    return ModelInfo(
        model_id=text(row.get("key")),
        endpoint=api.endpoint,
        product=Product.LM_STUDIO,
        state=LoadState.LOADED if instances else LoadState.NOT_LOADED,
        is_embedding=text(row.get("type")).startswith("embedding"),
        params=text(row.get("params_string")),
        quantization=text(mapping(row.get("quantization")).get("name")),
        context_loaded=whole(config.get("context_length")),
        context_max=whole(row.get("max_context_length")),
        size_bytes=whole(row.get("size_bytes")),
        capabilities=capabilities(
            tools=able.get("trained_for_tool_use") is True,
            vision=able.get("vision") is True,
            reasoning=options,
        ),
        is_blind=able.get("vision") is False,
        efforts=efforts,
        owned_by=text(row.get("publisher")),
    )


def _from_v0(api: ServerApi, row: dict[str, Any]) -> ModelInfo:
    kind = text(row.get("type"))
    return ModelInfo(
        model_id=text(row.get("id")),
        endpoint=api.endpoint,
        product=Product.LM_STUDIO,
        state=_STATES.get(text(row.get("state")), LoadState.UNKNOWN),
        is_embedding=kind.startswith("embedding"),
        quantization=text(row.get("quantization")),
        context_loaded=whole(row.get("loaded_context_length")),
        context_max=whole(row.get("max_context_length")),
        capabilities=capabilities(
            tools=has_word(row.get("capabilities"), "tool_use"), vision=kind == "vlm"
        ),
        is_blind=kind == "llm",
        owned_by=text(row.get("publisher")),
    )


APP_PORTS = (41343, 52993, 16141, 39414, 22931)
"""Ports of the program itself, also while its server is off."""
_MAX_BYTES = 1 << 20
_MAX_PORT = 65535


def app_ports() -> tuple[int, ...]:
    """Return the ports at which the program itself may answer."""
    return (*islice(_ports("http-server.json"), 1), *APP_PORTS)


def _ports(name: str) -> Iterator[int]:
    """Yield the ports in the files of this name; of several folders, the first is in use."""
    with suppress(RuntimeError):  # no home is known
        for folder in lm_studio_folders(Path.home()):
            with suppress(OSError, NotJsonError):
                value = mapping(
                    decode(read_plain(folder / ".internal" / name, max_bytes=_MAX_BYTES))
                )
                port = whole(value.get("port"))
                if port and port <= _MAX_PORT and not text(value.get("error")):
                    yield port
