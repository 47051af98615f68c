"""LM Studio: its API `/api/v1` lists and loads models since version 0.4."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from msgspec import structs

from lmchat.base.errors import ServerRejected, ServerUnavailable
from lmchat.base.files.disk import read_plain
from lmchat.base.files.paths import home_folder, lm_studio_folders
from lmchat.base.json_values import (
    JsonObject,
    NotJsonError,
    count_or_none,
    decode,
    dict_or_empty,
    dicts_in,
    str_or_empty,
)
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.servers.products.native import PullSum, bool_or_none
from lmchat.core.servers.products.product import LM_STUDIO, Models, Product, records_in
from lmchat.core.servers.products.server_api import OnPull, ServerApi

MODELS = "/api/v1/models"
_DOWNLOAD = f"{MODELS}/download"
PULL_POLL_S = 0.5
_OLD_MODELS = "/api/v0/models"
_MAX_FILE_BYTES = 1024 * 1024
_MAX_PORT = 65535
_PROGRAMS = ("lm studio", "lm-studio", "llmster", "bionic")
"""Beginnings of names of processes; all have the same server."""
_CHAT_TYPES = ("", "llm", "vlm")  # "" if the record does not tell


class LmStudio(Product, frozen=True, kw_only=True):
    """LM Studio; it answers unknown paths with status 200 and an error.

    Its window prints an error for each such request, so few paths are tried.
    """

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Read the older list of version 0.3; without that, and after a failure, only the names."""
        if not api.memory.has_old_api:
            try:
                reply = await api.get(MODELS)
            except ServerUnavailable:
                return await super().models(api)
            if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                return await super().models(api)
            if not reply.is_unknown_path:
                records = dicts_in(api.require_good(reply).object.get("models"))
                return tuple(model for record in records for model in _models_of(api, record))
            api.memory.has_old_api = True
        old_list = await api.get_extra(_OLD_MODELS)
        if old_list is None:
            return await super().models(api)
        return tuple(_model_of_old_list(api, record) for record in records_in(old_list) or ())

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        """Unload all instances, each by its name; without one, the server says why it cannot."""
        reply = await api.get(MODELS)
        self.require_done(api, reply, "unload")
        names: list[str] = []
        for record in dicts_in(reply.object.get("models")):
            if record.get("key") == model.model_id:
                instances = dicts_in(record.get("loaded_instances"))
                names = [str_or_empty(instance.get("id")) for instance in instances]
                break
        for name in names or [model.model_id]:
            reply = await api.post(self.acts.unload_path, {"instance_id": name})
            self.require_done(api, reply, "unload")

    def can_pull(self, models: Models) -> bool:  # noqa: ARG002 - since version 0.4
        return True

    async def pull(self, api: ServerApi, name: str, on_pull: OnPull) -> None:
        """Wait for a download, which nothing stops."""
        reply = await api.post(_DOWNLOAD, {"model": name})
        self.require_done(api, reply, "download")
        job = reply.object
        path = f"{_DOWNLOAD}/status/{quote(str_or_empty(job.get('job_id')), safe='')}"
        files = PullSum(done="downloaded_bytes", total="total_size_bytes")
        while job.get("status") in ("downloading", "paused"):
            files.keep("", job)
            on_pull(files.progress)
            await asyncio.sleep(PULL_POLL_S)
            # an API keeps its replies
            job = api.require_good(await structs.replace(api, replies={}).get(path)).object
        if job.get("status") not in ("completed", "already_downloaded"):
            raise ServerRejected(
                f"LM Studio could not download {safe_line(name)}.",
                kind="fetch",
                next_step="Its window says why, under Downloads.",
            )


def model_folders(environ: Mapping[str, str], home: Path) -> list[Path]:  # noqa: ARG001 - as others
    """Return also the folder that its settings name."""
    folders: list[Path] = []
    for base in lm_studio_folders(home):
        chosen = str_or_empty(_read_settings(base / "settings.json").get("downloadsFolder"))
        if Path(chosen).is_absolute():
            folders.append(Path(chosen))
        folders.append(base / "models")
    return folders


def last_port() -> int | None:
    """Return the port in a file of it or of Bionic; one that notes an error is left out."""
    homes = lm_studio_folders(home_folder())
    for folder in (*homes, *(home / "apps" / "bionic" for home in homes)):
        fields = _read_settings(folder / ".internal" / "http-server-config.json")
        port = count_or_none(fields.get("port")) or 0
        if 0 < port <= _MAX_PORT and not str_or_empty(fields.get("error")):
            return port
    return None


def is_open() -> bool:
    """Whether the program runs on this machine; its server may be off (R-3)."""
    import psutil  # noqa: PLC0415 - only where its server does not answer

    names = (process.info["name"] or "" for process in psutil.process_iter(["name"]))
    return any(name.lower().startswith(_PROGRAMS) for name in names)


def _read_settings(file: Path) -> JsonObject:
    """Return {} if the file is missing or not readable."""
    try:
        return dict_or_empty(decode(read_plain(file, max_bytes=_MAX_FILE_BYTES)))
    except (OSError, NotJsonError):
        return {}


def _models_of(api: ServerApi, record: JsonObject) -> list[ModelInfo]:
    """Return the model, and one for each instance that was loaded under a name of its own."""
    name = str_or_empty(record.get("key"))
    instances: dict[str, list[JsonObject]] = {name: []} if name else {}
    for instance in dicts_in(record.get("loaded_instances")):
        own_name = str_or_empty(instance.get("id")) or name
        is_numbered = own_name.startswith(f"{name}:")  # the model was loaded several times
        instances.setdefault(name if is_numbered else own_name, []).append(instance)
    return [_model_of(api, record, *one) for one in instances.items() if name]


def _model_of(
    api: ServerApi, record: JsonObject, name: str, instances: list[JsonObject]
) -> ModelInfo:
    """Take the window of the first of several instances in memory."""
    abilities = record.get("capabilities")  # not in all versions
    known = dict_or_empty(abilities)
    options = dict_or_empty(known.get("reasoning")).get("allowed_options")
    efforts: tuple[str, ...] = ()
    if isinstance(options, list):
        efforts = tuple(option for option in options if isinstance(option, str) and option)
    config = dict_or_empty(instances[0].get("config")) if instances else {}
    return ModelInfo(
        model_id=name,
        endpoint=api.endpoint,
        product=LM_STUDIO,
        state=LoadState.LOADED if instances else LoadState.NOT_LOADED,
        kind=_kind_of(str_or_empty(record.get("type"))),
        params=str_or_empty(record.get("params_string")),
        quantization=str_or_empty(dict_or_empty(record.get("quantization")).get("name")),
        context_loaded=count_or_none(config.get("context_length")),
        context_max=count_or_none(record.get("max_context_length")),
        size_bytes=count_or_none(record.get("size_bytes")),
        tools=bool_or_none(known.get("trained_for_tool_use")),
        images=bool_or_none(known.get("vision")),
        # a model that cannot reason has no options
        reasoning=bool(options) if isinstance(abilities, dict) else None,
        efforts=efforts,
        slots=count_or_none(config.get("parallel")),
        has_own_slots=True,
        owned_by=str_or_empty(record.get("publisher")),
    )


def _kind_of(type_name: str) -> str:
    if type_name in _CHAT_TYPES:
        return ""
    return "embedding" if type_name.startswith("embedding") else "other"


def _model_of_old_list(api: ServerApi, record: JsonObject) -> ModelInfo:
    kind = str_or_empty(record.get("type"))
    is_loaded = record.get("state") == "loaded"
    return ModelInfo(
        model_id=str_or_empty(record.get("id")),
        endpoint=api.endpoint,
        product=LM_STUDIO,
        state=LoadState.LOADED if is_loaded else LoadState.NOT_LOADED,
        kind=_kind_of(kind),
        quantization=str_or_empty(record.get("quantization")),
        context_loaded=count_or_none(record.get("loaded_context_length")),
        context_max=count_or_none(record.get("max_context_length")),
        images=kind == "vlm" if kind in ("llm", "vlm") else None,
        has_own_slots=True,
        owned_by=str_or_empty(record.get("publisher")),
    )
