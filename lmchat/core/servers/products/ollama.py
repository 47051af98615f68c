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

from lmchat.base.errors import ServerUnavailable
from lmchat.base.json_values import JsonObject, count_or_none, dict_or_empty, dicts_in, str_or_empty
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.endpoint import Endpoint, is_address, loopback
from lmchat.core.servers.model import LoadState, ModelInfo
from lmchat.core.servers.products.native import PullSum, has_word, with_states
from lmchat.core.servers.products.product import Models, Product, is_cloud_name
from lmchat.core.servers.products.server_api import OnProgress, OnPull, ServerApi
from lmchat.core.servers.wire.refusals import refusal_in_stream

PORT = 11434
WINDOW_STEP = (
    "Set PARAMETER num_ctx TOKENS in the Modelfile of the model, "
    "or start the server with: OLLAMA_CONTEXT_LENGTH=TOKENS ollama serve"
)
_CLOUD = "ollama.com"
_NUM_CTX = re.compile(r"^num_ctx[ \t]+(\d{1,9})[ \t\r]*$", re.MULTILINE)  # in `parameters`
_DETAILS_S = 1.0
_PULL_STEP = (
    "Check the name (ollama.com/search lists the models), and the network and the disk of the "
    "server; then download it again: what it has is kept."
)


def named_endpoint(environ: Mapping[str, str]) -> Endpoint | None:
    """Read `OLLAMA_HOST`: `HOST`, `HOST:PORT`, `:PORT` or a URL, perhaps of another machine.

    None for a wrong value, and for the usual address, which a search probes anyway.
    """
    value = environ.get("OLLAMA_HOST", "").strip().strip("\"'").strip().rstrip("/")
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
    """Return folders that show which disk it uses; their files are not named as GGUF files."""
    service = Path("/usr/share/ollama")  # home of the service of its installer for Linux
    folders = [folder / ".ollama" / "models" for folder in (service, home)]
    chosen = Path(environ.get("OLLAMA_MODELS", ""))
    return [chosen, *folders] if chosen.is_absolute() else folders


class Ollama(Product, frozen=True, kw_only=True):
    """Ollama; it loads a model with the first request for it."""

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """List by `/api/tags`, with states by `/api/ps`, and details by `/api/show`, once."""
        names = [str_or_empty(record["id"]) for record in await self.read_records(api)]
        # without it, a remote model looks like one of this machine
        tags = api.require_good(await api.get("/api/tags"))
        tag_of = {
            str_or_empty(record.get("name")): record
            for record in dicts_in(tags.object.get("models"))
        }
        listed = [tag_of.get(name, {"name": name}) for name in dict.fromkeys(names)]
        running = await api.get_extra("/api/ps")
        # not of remote ones: Ollama would ask another machine
        await _read_details(api, [record for record in listed if not _is_remote(record)])
        models = tuple(self._model_from_tag(api, record) for record in listed)
        if running is None:  # the state of all models stays unknown
            return models
        contexts = {
            str_or_empty(record.get("name")): count_or_none(record.get("context_length"))
            for record in dicts_in(running.object.get("models"))
        }
        return tuple(
            replace(model, context_loaded=contexts.get(model.model_id) or model.context_loaded)
            for model in with_states(models, contexts)
        )

    def _model_from_tag(self, api: ServerApi, record: JsonObject) -> ModelInfo:
        """Take a model of the family BERT as one for embeddings if nothing tells its abilities."""
        details = dict_or_empty(record.get("details"))
        shown = api.memory.model_facts.get(_digest(record), {})
        info = dict_or_empty(shown.get("model_info"))
        family = str_or_empty(info.get("general.architecture") or details.get("family"))
        # an empty list of older versions says nothing
        abilities = shown.get("capabilities") or record.get("capabilities") or None
        # an older Ollama names the other host only among the details
        is_remote = _is_remote(record) or _is_remote(shown)
        # such names start with the architecture
        context_max = count_or_none(info.get(f"{family}.context_length"))
        if is_remote:
            context_max = context_max or count_or_none(details.get("context_length"))
        own_window = _NUM_CTX.search(str_or_empty(shown.get("parameters")))
        context = min(int(own_window[1]), context_max or sys.maxsize) if own_window else None
        return ModelInfo(
            model_id=str_or_empty(record.get("name")),
            endpoint=api.endpoint,
            product=self.name,
            state=LoadState.REMOTE if is_remote else LoadState.UNKNOWN,
            runs_at=_host_of(record) or _host_of(shown) or _CLOUD if is_remote else "",
            kind="embedding"
            if has_word(abilities, "embedding") or (not abilities and family.endswith("bert"))
            else "",
            params=str_or_empty(details.get("parameter_size")),
            quantization=str_or_empty(details.get("quantization_level")),
            context_loaded=context_max if is_remote else context,
            context_max=context_max,
            has_own_window=own_window is not None,
            # of a remote model, the file only says where it is
            size_bytes=None if is_remote else count_or_none(record.get("size")),
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
        """Set no window: the next chat request names none, so Ollama would load it again."""
        body: JsonObject = {"model": model.model_id, "stream": False}
        api.require_good(await api.post("/api/generate", body))

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        # `keep_alive`: seconds in memory after this request
        body = {"model": model.model_id, "keep_alive": 0, "stream": False}
        api.require_good(await api.post("/api/generate", body))

    def can_pull(self, models: Models) -> bool:  # noqa: ARG002 - it always can
        return True

    async def pull(self, api: ServerApi, name: str, on_pull: OnPull) -> None:
        """Close the connection to stop it; Ollama then continues from there the next time."""
        layers = PullSum(done="completed", total="total")
        async with aclosing(api.events("/api/pull", {"model": name})) as events:
            async for event in events:
                if event.get("status") == "success":
                    return
                if "error" in event:
                    error = refusal_in_stream(event, api.refusal_context)
                    error.kind, error.next_step = "fetch", _PULL_STEP
                    raise error
                layers.keep(str_or_empty(event.get("digest")), event)
                on_pull(layers.progress)
        raise ServerUnavailable(
            f"Ollama closed the connection before it had {safe_line(name)}.",
            kind="dropped",
            next_step="Check its log, then download it again: it continues where it stopped.",
        )

    async def remove(self, api: ServerApi, model: ModelInfo) -> None:
        self.require_done(api, await api.delete("/api/delete", {"model": model.model_id}), "delete")


async def _read_details(api: ServerApi, listed: list[JsonObject]) -> None:
    """Ask about records of `/api/tags`; what takes over `_DETAILS_S` waits for the next list."""
    unknown = [record for record in listed if _digest(record) not in api.memory.model_facts]
    with suppress(TimeoutError, ServerUnavailable):  # a list without details is worth having
        async with asyncio.timeout(_DETAILS_S):
            await asyncio.gather(*(_read_details_of(api, record) for record in unknown))


async def _read_details_of(api: ServerApi, record: JsonObject) -> None:
    """Keep a refusal as a model without details."""
    reply = await api.post("/api/show", {"model": record["name"]})
    shown = reply.object if reply.is_good else {}
    api.memory.model_facts[_digest(record)] = {
        name: shown.get(name)
        for name in ("capabilities", "model_info", "parameters", "remote_model", "remote_host")
    }


def _is_remote(record: JsonObject) -> bool:
    """Read a record of `/api/tags`, or details."""
    name = str_or_empty(record.get("name"))
    has_remote_fields = bool(record.get("remote_host") or record.get("remote_model"))
    return has_remote_fields or is_cloud_name(name)


def _host_of(record: JsonObject) -> str:
    """Return the whole text if `remote_host` is no URL."""
    address = str_or_empty(record.get("remote_host"))
    try:
        return urlsplit(address).hostname or address
    except ValueError:  # such as a wrong IPv6 address
        return address


def _digest(record: JsonObject) -> str:
    """Return the digest, else the name."""
    return str_or_empty(record.get("digest")) or str_or_empty(record.get("name"))
