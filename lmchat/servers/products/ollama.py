"""Ollama: its own API lists the models, their sizes and which are in memory."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from contextlib import aclosing, suppress
from pathlib import Path
from urllib.parse import urlsplit

from msgspec.structs import replace

from lmchat.errors import ServerUnavailable
from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint, is_address, loopback
from lmchat.servers.http.json_values import (
    JsonObject,
    count_or_none,
    dict_or_empty,
    dicts_in,
    str_or_empty,
)
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products.native import has_word, pull_progress
from lmchat.servers.products.product import Models, Product, is_cloud_name
from lmchat.servers.products.refusals import refusal_in_stream
from lmchat.servers.products.server_api import OnProgress, OnPull, ServerApi

PORT = 11434
WINDOW_STEP = (
    "Set PARAMETER num_ctx TOKENS in the Modelfile of the model, "
    "or start the server with: OLLAMA_CONTEXT_LENGTH=TOKENS ollama serve"
)
_CLOUD = "ollama.com"
_NUM_CTX = re.compile(r"^num_ctx[ \t]+(\d{1,9})[ \t\r]*$", re.MULTILINE)  # in `parameters`
_DETAILS_S = 1.0  # longest wait for details; those still missing are asked for with the next list


def named_endpoint(environ: Mapping[str, str]) -> Endpoint | None:
    """Return the address in `OLLAMA_HOST`: `HOST`, `HOST:PORT`, `:PORT` or a URL.

    A host without a port gets the usual port. It may be on another machine: Ollama's own clients
    read the variable, too. Return None for a wrong value, and for the usual address, which a search
    probes anyway.
    """
    value = environ.get("OLLAMA_HOST", "").strip().rstrip("/")
    if not value:
        return None
    if value.startswith(":"):
        value = f"localhost{value}"
    has_port = value.rpartition(":")[2].isdecimal()
    url = value if has_port or "://" in value else f"{value}:{PORT}"
    if not is_address(url):
        return None
    endpoint = Endpoint.parse(url)
    return None if endpoint == loopback(PORT) else endpoint


def model_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders that may hold its models; they have no GGUF files by that name."""
    service = Path("/usr/share/ollama")  # home of the service of its installer for Linux
    folders = [folder / ".ollama" / "models" for folder in (service, home)]
    chosen = Path(environ.get("OLLAMA_MODELS", ""))
    return [chosen, *folders] if chosen.is_absolute() else folders


class Ollama(Product, frozen=True, kw_only=True):
    """Ollama; it loads a model with the first request for it."""

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the listed models with what `/api/tags` says of them.

        `/api/ps` tells which models are in memory, and `/api/show` the details of one model.
        Details are asked for once: `_read_details` keeps them in `api.memory`, where
        `_model_from_tag` finds them.
        """
        names = [str_or_empty(row["id"]) for row in await self.read_rows(api)]
        tags = await api.get_extra("/api/tags")
        if tags is None:
            return await super().models(api)
        tag_of = {str_or_empty(row.get("name")): row for row in dicts_in(tags.object.get("models"))}
        listed = [tag_of.get(name, {"name": name}) for name in dict.fromkeys(names)]
        running = await api.get_extra("/api/ps")
        running_rows = dicts_in(running.object.get("models")) if running is not None else []
        running_contexts = {
            str_or_empty(row.get("name")): count_or_none(row.get("context_length"))
            for row in running_rows
        }
        # Not of remote models: Ollama would ask another machine for some of these.
        await _read_details(api, [row for row in listed if not _is_remote(row)])
        models: list[ModelInfo] = []
        for row in listed:
            model = self._model_from_tag(api, row)
            if (
                running is not None and not model.is_remote
            ):  # else the state of all models stays unknown
                is_running = model.model_id in running_contexts
                model = replace(
                    model,
                    state=LoadState.LOADED if is_running else LoadState.NOT_LOADED,
                    context_loaded=running_contexts.get(model.model_id) or model.context_loaded,
                )
            models.append(model)
        return tuple(models)

    def _model_from_tag(self, api: ServerApi, row: JsonObject) -> ModelInfo:
        """Return the model of a row of `/api/tags`, with what `/api/show` said of it, if anything.

        If nothing tells its abilities, a model of the family BERT counts as one for embeddings.
        """
        details = dict_or_empty(row.get("details"))
        shown = api.memory.model_facts.get(_digest(row), {})
        info = dict_or_empty(shown.get("model_info"))
        family = str_or_empty(info.get("general.architecture") or details.get("family"))
        # older versions name none: an empty list says nothing, too
        abilities = shown.get("capabilities") or row.get("capabilities") or None
        # an older Ollama names the other host only among the details
        is_remote = _is_remote(row) or _is_remote(shown)
        # In a GGUF file, the names of such facts begin with the architecture.
        context_max = count_or_none(info.get(f"{family}.context_length"))
        if is_remote:
            context_max = context_max or count_or_none(details.get("context_length"))
        own_window = _NUM_CTX.search(str_or_empty(shown.get("parameters")))
        context = min(int(own_window[1]), context_max or sys.maxsize) if own_window else None
        return ModelInfo(
            model_id=str_or_empty(row.get("name")),
            endpoint=api.endpoint,
            product=self.name,
            state=LoadState.REMOTE if is_remote else LoadState.UNKNOWN,
            runs_at=_host_of(row) or _host_of(shown) or _CLOUD if is_remote else "",
            kind="embedding"
            if has_word(abilities, "embedding") or (not abilities and family.endswith("bert"))
            else "",
            params=str_or_empty(details.get("parameter_size")),
            quantization=str_or_empty(details.get("quantization_level")),
            context_loaded=context_max if is_remote else context,
            context_max=context_max,
            has_own_window=own_window is not None,
            # of a remote model, the file only says where it is
            size_bytes=None if is_remote else count_or_none(row.get("size")),
            tools=has_word(abilities, "tools"),
            images=has_word(abilities, "vision"),
            reasoning=has_word(abilities, "thinking"),
            owned_by="library",  # as Ollama says of all models in its OpenAI-like list
        )

    def unlisted_model(self, endpoint: Endpoint, name: str) -> ModelInfo:
        model = super().unlisted_model(endpoint, name)
        if not is_cloud_name(name):
            return model
        return replace(model, state=LoadState.REMOTE, runs_at=_CLOUD)

    def can_load_or_unload(self, model: ModelInfo) -> bool:  # noqa: ARG002 - it always can
        return True

    async def load(
        self,
        api: ServerApi,
        model: ModelInfo,
        context: int | None,  # noqa: ARG002 - it would be lost: see the docstring
        on_progress: OnProgress,  # noqa: ARG002 - it reports none
    ) -> None:
        """Load a model by a request without a prompt.

        No context window is set. Chat requests name none, so Ollama would load the model again with
        its default window at the next request.
        """
        body: JsonObject = {"model": model.model_id, "stream": False}
        api.require_good(await api.post("/api/generate", body))

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        """Unload a model by a request without a prompt."""
        # `keep_alive`: seconds for which the model stays in memory after this request
        body = {"model": model.model_id, "keep_alive": 0, "stream": False}
        api.require_good(await api.post("/api/generate", body))

    def can_pull(self, models: Models) -> bool:  # noqa: ARG002 - it always can
        return True

    async def pull(self, api: ServerApi, name: str, on_pull: OnPull) -> None:
        """Download the layers of a model; Ollama stops when the connection is closed.

        It keeps what it has, and continues from there. It reports each layer by its digest.
        """
        layers: dict[str, JsonObject] = {}
        async with aclosing(api.events("/api/pull", {"model": name})) as events:
            async for event in events:
                if event.get("status") == "success":
                    return
                if "error" in event:
                    raise refusal_in_stream(event, api.facts)
                layers[str_or_empty(event.get("digest"))] = event
                on_pull(pull_progress(layers.values(), done="completed", total="total"))
        raise ServerUnavailable(
            f"Ollama closed the connection before it had {safe_line(name)}.",
            kind="dropped",
            hint="Check its log, then download it again: it continues where it stopped.",
        )

    async def remove(self, api: ServerApi, model: ModelInfo) -> None:
        self.require_done(api, await api.delete("/api/delete", {"model": model.model_id}), "delete")


async def _read_details(api: ServerApi, listed: list[JsonObject]) -> None:
    """Ask for the details of models within `_DETAILS_S`, and keep them in `api.memory`.

    `listed` are rows of `/api/tags`. Details are kept by `_digest`, which changes if a name gets
    another model. Only models whose details are not known are asked for. A model that the server
    refuses to show is not asked for again.
    """
    unknown = [row for row in listed if _digest(row) not in api.memory.model_facts]
    with suppress(TimeoutError, ServerUnavailable):  # a list without details is worth having
        async with asyncio.timeout(_DETAILS_S):
            await asyncio.gather(*(_read_details_of(api, row) for row in unknown))


async def _read_details_of(api: ServerApi, row: JsonObject) -> None:
    """Ask for the details of one model; a refusal is kept as a model without details."""
    reply = await api.post("/api/show", {"model": row["name"]})
    shown = reply.object if reply.is_good else {}
    api.memory.model_facts[_digest(row)] = {
        name: shown.get(name)
        for name in ("capabilities", "model_info", "parameters", "remote_model", "remote_host")
    }


def _is_remote(row: JsonObject) -> bool:
    """Whether a row of `/api/tags`, or the details of a model, are of one that runs elsewhere."""
    name = str_or_empty(row.get("name"))
    has_remote_fields = bool(row.get("remote_host") or row.get("remote_model"))
    return has_remote_fields or is_cloud_name(name)


def _host_of(row: JsonObject) -> str:
    """Return the host in `remote_host`, which is a URL; the whole text if it is none."""
    address = str_or_empty(row.get("remote_host"))
    try:
        return urlsplit(address).hostname or address
    except ValueError:  # such as a wrong IPv6 address
        return address


def _digest(row: JsonObject) -> str:
    """Return what identifies the content of a model: its digest, or its name if it has none."""
    return str_or_empty(row.get("digest")) or str_or_empty(row.get("name"))
