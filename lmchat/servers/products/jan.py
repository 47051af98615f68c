"""Jan's Local API Server: a list of running models, and an OpenAPI document that names it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.files.paths import jan_folders
from lmchat.servers.http.json_values import dict_or_empty, dicts_in, str_or_empty
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products.product import (
    LLAMA_SAMPLING,
    LOAD_WITH_CONTEXT,
    Product,
)
from lmchat.servers.products.server_api import ServerApi


class Jan(Product):
    """Jan, which runs llama.cpp or MLX behind its proxy; newer versions can load models."""

    name = "Jan"
    ports = (1337, 6767, 3928)
    program = "jan"
    folders = (
        ".local/share/Jan/data",
        "Library/Application Support/Jan/data",
        "/Applications/Jan.app",
        "Applications/Jan.app",
    )
    where_to_get = "Get it at jan.ai"
    start_step = "Open Jan: Settings, Local API Server, Start"
    key_step = "Use the API key from Jan: Settings, Local API Server"
    model_step = "Start a model in Jan"
    empty_step = "Start a model in Jan"
    load_step = "Start a model in Jan"
    host_step = "Add {host} in Jan: Settings, Local API Server, Trusted Hosts"
    larger_window = LOAD_WITH_CONTEXT
    refusal_hints: ClassVar = {
        "model_not_loaded": "Start the model in Jan, or: lmchat models load {model}",
        "upstream": "The engine stopped: restart the model in Jan.",
    }
    state = LoadState.LOADED
    can_prefill = True
    load_path = "/v1/models/load"
    unload_path = "/v1/models/unload"
    efforts = EFFORTS
    has_thinking_switch = True
    thought_fields = ("reasoning_content",)
    sampling_fields: ClassVar = LLAMA_SAMPLING
    takes_further_options = True
    context_field = "ctx_size"

    def model_folders(self, environ: Mapping[str, str], home: Path) -> list[Path]:
        return jan_folders(environ, home)

    async def recognises(self, api: ServerApi) -> bool:
        """Whether the server has Jan's OpenAPI document, which needs no key."""
        reply = await api.get("/openapi.json")
        info = dict_or_empty(reply.object.get("info"))
        return str_or_empty(info.get("title")).startswith("Jan API Server")

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the running models, and the others if this version of Jan lists them, too."""
        running = await super().models(api)
        reply = await api.get_extra("/v1/models/available")
        if reply is None:
            return running
        running_ids = {model.model_id for model in running}
        models = list(running)
        for row in dicts_in(reply.object.get("data")):
            model = self.model_from_row(api, row)
            if model.model_id and model.model_id not in running_ids:
                state = model.state if model.is_remote else LoadState.NOT_LOADED
                models.append(replace(model, state=state))
        return tuple(models)
