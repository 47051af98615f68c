"""LM Studio: its API `/api/v1` lists and loads models since version 0.4."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from lmchat.files.disk import read_plain
from lmchat.files.paths import home_folder, lm_studio_folders
from lmchat.servers.http.json_values import (
    JsonObject,
    NotJsonError,
    count_or_none,
    decode,
    dict_or_empty,
    dicts_in,
    str_or_empty,
)
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products.dialect import Dialect, JsonMode
from lmchat.servers.products.product import (
    LM_STUDIO,
    LOAD_WITH_CONTEXT,
    SEED_AND_PENALTIES,
    Product,
    capabilities,
    same_names,
)
from lmchat.servers.products.server_api import ServerApi

_MAX_FILE_BYTES = 1024 * 1024
_MAX_PORT = 65535
_MODELS = "/api/v1/models"


class LmStudio(Product):
    """LM Studio; it answers unknown paths with status 200 and an error.

    Its window prints an error for each such request, so few paths are tried.
    """

    name = LM_STUDIO
    ports = (1234,)
    program = "lms"
    folders = ("/Applications/LM Studio.app", "Applications/LM Studio.app")
    start_arguments = "server start"
    where_to_get = "Get it at lmstudio.ai"
    start_step = "Open LM Studio: Developer, Start server"
    stop_words = "`lms server stop` stops it."
    key_step = "Use a token from LM Studio: Developer, Server settings, Manage tokens"
    model_step = "Choose a model with /model or -m; lmchat loads it"
    empty_step = "Discover tab: download a model, then load it"
    load_step = (
        "Load it in LM Studio, or send a message: LM Studio may load it on the first request"
    )
    larger_window = LOAD_WITH_CONTEXT
    refusal_hints: ClassVar = {
        "model_not_loaded": "Load it with /model, Enter; your message is then sent again. "
        "In a shell: lmchat models load {model}",
    }
    loads_on_demand = True
    slots = 4
    lists_tool_models = True
    dialect = Dialect(json_modes=(JsonMode.SCHEMA, JsonMode.WORDS))  # `json_object` is refused
    load_path = f"{_MODELS}/load"
    thought_fields = ("reasoning_content",)
    sampling_fields: ClassVar = {
        **SEED_AND_PENALTIES,
        **same_names("logit_bias", "top_k", "repeat_penalty"),
    }
    context_field = "context_length"

    def install_folders(self, home: Path) -> list[Path]:
        return lm_studio_folders(home)

    def model_folders(self, environ: Mapping[str, str], home: Path) -> list[Path]:  # noqa: ARG002 - for others
        """Return its folders of models; its settings may name another one."""
        folders: list[Path] = []
        for base in lm_studio_folders(home):
            chosen = str_or_empty(_read_settings(base / "settings.json").get("downloadsFolder"))
            if Path(chosen).is_absolute():
                folders.append(Path(chosen))
            folders.append(base / "models")
        return folders

    def last_port(self) -> int | None:
        """Return the port that LM Studio's server used last, from a file; None without one.

        Each folder of LM Studio may have the file; one that notes an error is left out.
        """
        for folder in lm_studio_folders(home_folder()):
            fields = _read_settings(folder / ".internal" / "http-server-config.json")
            port = count_or_none(fields.get("port")) or 0
            if 0 < port <= _MAX_PORT and not str_or_empty(fields.get("error")):
                return port
        return None

    def is_open(self) -> bool:
        """Whether the program runs on this machine; its server may be off (R-3)."""
        import psutil  # noqa: PLC0415 - only where its server does not answer

        names = (process.info["name"] or "" for process in psutil.process_iter(["name"]))
        return any(name.lower().startswith(("lm studio", "lm-studio")) for name in names)

    async def recognises(self, api: ServerApi) -> bool:
        """Whether the greeting of LM Studio answers, or its error for a wrong path or no token."""
        reply = await api.get("/lmstudio-greeting")
        error = str(reply.object.get("error"))  # a text, or an object with a message
        is_its_error = "Unexpected endpoint or method." in error or "LM Studio API token" in error
        return reply.object.get("lmstudio") is True or is_its_error

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the models on its disk, loaded or not; a row without a name is left out."""
        reply = api.require_good(await api.get(_MODELS))
        listed = dicts_in(reply.object.get("models"))
        return tuple(_model_of(api, row) for row in listed if str_or_empty(row.get("key")))

    def takes_effort(self, effort: str, model: ModelInfo | None) -> bool:
        """Whether the server lists the effort for this model.

        Its lists have `off` for the effort that requests call `none`.
        """
        efforts = model.efforts if model is not None else ()
        return effort in efforts or (effort == "none" and "off" in efforts)

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        """Unload all instances of a model, each of which has a name of its own.

        The names are read from the list of models. If the model has no instance there, the request
        names the model, so the server says why it cannot be unloaded.
        """
        reply = await api.get(_MODELS)
        self.require_done(api, reply, "unload")
        names: list[str] = []
        for row in dicts_in(reply.object.get("models")):
            if row.get("key") == model.model_id:
                instances = dicts_in(row.get("loaded_instances"))
                names = [str_or_empty(instance.get("id")) for instance in instances]
                break
        for name in names or [model.model_id]:
            self.require_done(
                api, await api.post(f"{_MODELS}/unload", {"instance_id": name}), "unload"
            )


def _read_settings(file: Path) -> JsonObject:
    """Return the values of a JSON file of LM Studio; empty if it is missing or not readable."""
    try:
        return dict_or_empty(decode(read_plain(file, max_bytes=_MAX_FILE_BYTES)))
    except (OSError, NotJsonError):
        return {}


def _model_of(api: ServerApi, row: JsonObject) -> ModelInfo:
    """Return the model that a row of `/api/v1/models` describes.

    If several instances are in memory, the first gives the loaded context window.
    """
    instances = dicts_in(row.get("loaded_instances"))
    abilities = dict_or_empty(row.get("capabilities"))
    options = dict_or_empty(abilities.get("reasoning")).get("allowed_options")
    efforts: tuple[str, ...] = ()
    if isinstance(options, list):
        efforts = tuple(option for option in options if isinstance(option, str) and option)
    config = dict_or_empty(instances[0].get("config")) if instances else {}
    return ModelInfo(
        model_id=str_or_empty(row.get("key")),
        endpoint=api.endpoint,
        product=LM_STUDIO,
        state=LoadState.LOADED if instances else LoadState.NOT_LOADED,
        is_embedding=str_or_empty(row.get("type")).startswith("embedding"),
        params=str_or_empty(row.get("params_string")),
        quantization=str_or_empty(dict_or_empty(row.get("quantization")).get("name")),
        context_loaded=count_or_none(config.get("context_length")),
        context_max=count_or_none(row.get("max_context_length")),
        size_bytes=count_or_none(row.get("size_bytes")),
        capabilities=capabilities(
            tools=abilities.get("trained_for_tool_use") is True,
            vision=abilities.get("vision") is True,
            reasoning=bool(options),  # a model that cannot reason has none
        ),
        is_blind=abilities.get("vision") is False,  # not blind if the row does not say
        efforts=efforts,
        owned_by=str_or_empty(row.get("publisher")),
    )
