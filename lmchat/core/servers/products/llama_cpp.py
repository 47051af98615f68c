"""llama.cpp's server, with one model, or as a router: a server in front of several processes.

Only a router can load and unload models.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Mapping
from contextlib import aclosing, suppress
from http import HTTPStatus
from pathlib import Path
from urllib.parse import quote

from msgspec.structs import replace

from lmchat.base.errors import LMChatError, ServerRejected, ServerUnavailable
from lmchat.base.json_values import (
    JsonObject,
    count_or_none,
    dict_or_empty,
    number_or_none,
    str_or_empty,
)
from lmchat.base.processes.background import background_task
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.model import BUILT_IN, LoadState, ModelInfo
from lmchat.core.servers.products.native import PullSum, bool_or_none, has_word, params_text
from lmchat.core.servers.products.product import Models, Product
from lmchat.core.servers.products.server_api import OnProgress, OnPull, ServerApi
from lmchat.core.servers.request import Sampling
from lmchat.core.servers.wire.marks import opens_thoughts
from lmchat.core.servers.wire.refusal_rules import STEPS

LOADING_POLL_S = 0.2
_MAX_UNLOADED_POLLS = 25  # then loading has failed
_MAX_UNLOAD_POLLS = 150  # 30 s
_UNLOAD_AFTER_CANCEL_S = 1.0
_STATES = {
    "loaded": LoadState.LOADED,
    "sleeping": LoadState.ASLEEP,
    "loading": LoadState.LOADING,
    "unloaded": LoadState.NOT_LOADED,
}
_DOWNLOADING = "downloading"
_DONE_LOADING = (LoadState.LOADED, LoadState.ASLEEP)
"""States of a model whose process runs and can answer."""
_LOAD = "/models/load"
UNLOAD = "/models/unload"
_PROPS = "/props"  # wakes no sleeping model
_WAKE = "/tokenize"  # needs the model in memory, and costs the least of such requests
_CONTROL = "/v1/chat/completions/control"  # wakes a sleeping model
_NO_LOAD = "?autoload=false"  # a router then loads no model; other servers ignore it
_NO_THOUGHT = ("none", "0")  # efforts with which the model does not think
_DIGITS = re.compile("[0-9]{1,15}")


def model_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folder of llama.cpp's downloads, behind that of its own `LLAMA_CACHE`."""
    caches = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")
    if sys.platform == "darwin":
        caches = home / "Library" / "Caches"
    elif sys.platform == "win32":
        caches = Path(environ.get("LOCALAPPDATA") or home / "AppData" / "Local")
    usual = caches / "llama.cpp"
    chosen = Path(environ.get("LLAMA_CACHE", ""))
    return [chosen, usual] if chosen.is_absolute() else [usual]


class LlamaCpp(Product, frozen=True, kw_only=True):
    """llama-server; it reports window, timings and progress. Never poll its `/slots` (R-29)."""

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Read `/props`, too: in newer versions it says whether the model sleeps."""
        models = await super().models(api)
        if any(model.has_own_slots for model in models):
            asked = (self._with_router_facts(api, model) for model in models)
            return tuple(await asyncio.gather(*asked))
        if len(models) != 1 or models[0].state is not LoadState.LOADED:
            return models
        try:
            props = await api.get(_PROPS)
        except ServerUnavailable:
            return models
        if props.status == HTTPStatus.UNAUTHORIZED:  # the list needs no key, all else does
            api.require_good(props)
        if not props.is_good or props.object.get("role") == "router":
            return models
        return (_with_props(models[0], props.object),)

    async def _with_router_facts(self, api: ServerApi, model: ModelInfo) -> ModelInfo:
        """Ask for facts once in each load, and again if the model cannot answer yet."""
        facts = api.memory.model_facts
        if model.state is not LoadState.LOADED:
            facts.pop(model.model_id, None)
            return model
        if model.model_id not in facts:
            path = f"{_PROPS}{_NO_LOAD}&model={quote(model.model_id, safe='')}"
            try:
                reply = await api.get(path)
            except ServerUnavailable:
                return model
            if reply.status == HTTPStatus.SERVICE_UNAVAILABLE:
                return model
            facts[model.model_id] = reply.object
        return _with_props(model, facts[model.model_id])

    async def read_records(self, api: ServerApi) -> list[JsonObject]:
        """Leave out models that a router is downloading."""
        records = await super().read_records(api)
        return [
            record
            for record in records
            if dict_or_empty(record.get("status")).get("value") != _DOWNLOADING
        ]

    def model_from_record(self, api: ServerApi, record: JsonObject) -> ModelInfo:
        """Read state and command line, too; only a router writes them.

        Its models have slots of their own.
        """
        meta = dict_or_empty(record.get("meta"))
        status = dict_or_empty(record.get("status"))
        architecture = dict_or_empty(record.get("architecture"))
        outputs = architecture.get("output_modalities")
        state = LoadState.LOADED
        if status:
            state = _STATES.get(str_or_empty(status.get("value")), LoadState.UNKNOWN)
        trained_context = count_or_none(meta.get("n_ctx_train"))
        context = count_or_none(meta.get("n_ctx"))
        if context is None:
            context = _command_line_number(status, "--ctx-size")
        model = super().model_from_record(api, record)
        is_failed = state is LoadState.NOT_LOADED and bool(status.get("failed"))
        return replace(
            model,
            load_failure=f"exit code {status.get('exit_code')}" if is_failed else "",
            state=model.state if model.is_remote else state,
            params=params_text(meta.get("n_params")),
            # llama.cpp puts "(guessed)" before a type that the file of the model does not name
            quantization=str_or_empty(meta.get("ftype")).removeprefix("(guessed) "),
            context_loaded=context,
            context_max=trained_context or count_or_none(record.get("context_length")),
            size_bytes=count_or_none(meta.get("size")),
            kind="other" if outputs and has_word(outputs, "text") is False else "",
            images=has_word(architecture.get("input_modalities"), "image"),
            slots=_command_line_number(status, "--parallel"),
            has_own_slots=bool(status),
            has_own_window=bool(status),
            can_remove=record.get("can_remove") is not False,
        )

    def request_fields(self, sampling: Sampling, model: ModelInfo | None = None) -> JsonObject:
        """Ask for progress, too: then the server also stops at once when it is cancelled (R-14).

        `reasoning_control` is for `end_thought`; older versions ignore it.
        """
        fields = super().request_fields(sampling, model)
        fields |= {"return_progress": True, "timings_per_token": True}
        if sampling.reasoning_effort not in _NO_THOUGHT:
            fields["reasoning_control"] = True
        return fields

    async def end_thought(self, api: ServerApi, model_id: str, answer_id: str) -> bool:
        """Name the model, as a router would load any other one."""
        order = {"model": model_id, "id": answer_id, "action": "reasoning_end"}
        return (await api.post(_CONTROL, order)).object.get("success") is True

    def can_load_or_unload(self, model: ModelInfo) -> bool:
        # a router can, a sleeping model can be woken, and lmchat itself starts the built-in engine
        is_asleep = model.state is LoadState.ASLEEP
        return model.has_own_slots or is_asleep or self.name == BUILT_IN

    async def load(
        self,
        api: ServerApi,
        model: ModelInfo,
        context: int | None,  # noqa: ARG002 - it takes none
        on_progress: OnProgress,
    ) -> None:
        """Load a model, or wake it; cancelling stops that.

        A router answers at once, so the state is polled.
        """
        if model.state is LoadState.ASLEEP:
            body = {"model": model.model_id, "content": "wake"}
            self.require_done(api, await api.post(_WAKE, body), "load")
            return

        async with background_task(self.follow_loading(api, model.model_id, on_progress)):
            try:
                reply = await api.post(_LOAD, {"model": model.model_id})
                # one that is "already" loading or loaded is waited for
                if "already" not in str(reply.object.get("error", "")):
                    self.require_done(api, reply, "load")
                await self._wait_until_loaded(api, model)
            except asyncio.CancelledError:
                await self._stop(api, model.model_id)
                raise

    async def _wait_until_loaded(self, api: ServerApi, model: ModelInfo) -> None:
        """Raise `ServerRejected` if loading fails; a few polls may come before it starts."""
        unloaded_polls = 0
        while True:
            status = await self._status(api, model.model_id)
            state = _STATES.get(str_or_empty(status.get("value")))
            if state in _DONE_LOADING:
                return
            if state is LoadState.NOT_LOADED:
                unloaded_polls += 1
            if not status or status.get("failed") or unloaded_polls > _MAX_UNLOADED_POLLS:
                raise ServerRejected(
                    "The model could not be loaded.",
                    kind="model_failed",
                    next_step=STEPS["model_failed"],
                    details=f"exit code {status.get('exit_code')}",
                )
            await asyncio.sleep(LOADING_POLL_S)

    async def follow_loading(self, api: ServerApi, model_id: str, on_progress: OnProgress) -> None:
        """Return at the end of the stream, too."""
        last_percent = -1
        async with aclosing(api.events("/models/sse")) as events:
            async for event in events:
                if event.get("model") != model_id:
                    continue
                data = dict_or_empty(event.get("data"))
                if _STATES.get(str_or_empty(data.get("status"))) in _DONE_LOADING:
                    return
                fraction = _loaded_fraction(dict_or_empty(data.get("progress")))
                if fraction is None:
                    continue
                percent = int(fraction * 100)
                if percent != last_percent:  # smaller changes are not visible
                    last_percent = percent
                    on_progress(fraction)

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        """Wait up to 30 s until the process has ended: the router answers before that."""
        await super().unload(api, model)
        for _ in range(_MAX_UNLOAD_POLLS):
            status = await self._status(api, model.model_id)
            state = _STATES.get(str_or_empty(status.get("value")))
            is_in_memory = state in (*_DONE_LOADING, LoadState.LOADING)
            if not is_in_memory:
                return
            await asyncio.sleep(LOADING_POLL_S)

    def can_pull(self, models: Models) -> bool:
        # only a router can; it may have no model yet
        return all(model.has_own_slots for model in models) and self.name != BUILT_IN

    async def pull(self, api: ServerApi, name: str, on_pull: OnPull) -> None:
        """Download `USER/MODEL` or `USER/MODEL:QUANT` of Hugging Face.

        The router answers when the download has started, so the state is polled. It also agrees to
        names that do not exist, and adds the quantization to the name of what it has.
        """
        files = PullSum(done="done", total="total")

        async def follow() -> None:
            async with aclosing(api.events("/models/sse")) as events:
                async for event in events:
                    if event.get("model") == name:
                        progress = dict_or_empty(dict_or_empty(event.get("data")).get("progress"))
                        for file, part in progress.items():
                            files.keep(file, part)

        async with background_task(follow()):
            self.require_done(api, await api.post("/models", {"model": name}), "download")
            try:
                while (await self._status(api, name)).get("value") == _DOWNLOADING:
                    on_pull(files.progress)
                    await asyncio.sleep(LOADING_POLL_S)
            except (asyncio.CancelledError, LMChatError):
                await self._stop(api, name)
                raise
        listed = [str_or_empty(record["id"]) for record in await self._records_now(api)]
        if not any(f"{one}:".casefold().startswith(f"{name}:".casefold()) for one in listed):
            raise ServerRejected(
                f"llama.cpp could not download {safe_line(name)}.",
                kind="fetch",
                next_step="Check its name on huggingface.co (USER/MODEL or USER/MODEL:QUANT), and "
                "the server's network and disk; its log says why.",
            )

    async def remove(self, api: ServerApi, model: ModelInfo) -> None:
        """Delete a model that the router has downloaded; it refuses any other."""
        reply = await api.delete(f"/models?model={quote(model.model_id, safe='')}")
        self.require_done(api, reply, "delete")

    async def _stop(self, api: ServerApi, name: str) -> None:
        """End a load or a download that was cancelled, if possible."""
        with suppress(TimeoutError, LMChatError):
            async with asyncio.timeout(_UNLOAD_AFTER_CANCEL_S):
                await api.post(UNLOAD, {"model": name})

    async def _records_now(self, api: ServerApi) -> list[JsonObject]:
        """Use another API, as one returns the same reply for the same path."""
        return await super().read_records(replace(api, replies={}))

    async def _status(self, api: ServerApi, name: str) -> JsonObject:
        """Return {} if the model is not listed."""
        for record in await self._records_now(api):
            if record.get("id") == name:
                return dict_or_empty(record.get("status"))
        return {}


def _with_props(model: ModelInfo, props: JsonObject) -> ModelInfo:
    template = str_or_empty(props.get("chat_template"))
    abilities = dict_or_empty(props.get("chat_template_caps"))
    images = bool_or_none(dict_or_empty(props.get("modalities")).get("vision"))
    settings = dict_or_empty(props.get("default_generation_settings"))
    # a template that ignores levels of effort may still have a switch for the thought
    has_no_levels = abilities.get("supports_reasoning_effort") is False
    return replace(
        model,
        tools=bool_or_none(abilities.get("supports_tools")),
        images=model.images or (model.images if images is None else images),
        efforts=("none",) if has_no_levels else (),
        state=LoadState.ASLEEP if props.get("is_sleeping") is True else model.state,
        slots=count_or_none(props.get("total_slots")) or model.slots,
        context_loaded=model.context_loaded or count_or_none(settings.get("n_ctx")),
        opens_thoughts=opens_thoughts(template) if template else None,
        keeps_thoughts=abilities.get("supports_preserve_reasoning") is True,
    )


def _loaded_fraction(progress: JsonObject) -> float | None:
    """Return 0.75 for `{"stages": ["load", "warm up"], "current": "warm up", "value": 0.5}`."""
    stages = progress.get("stages")
    current_stage = progress.get("current")
    done_of_stage = number_or_none(progress.get("value"))
    if not isinstance(stages, list) or current_stage not in stages or done_of_stage is None:
        return None
    fraction = (stages.index(current_stage) + done_of_stage) / len(stages)
    return min(max(fraction, 0.0), 1.0)


def _command_line_number(status: JsonObject, option: str) -> int | None:
    """Return None also for 0, which means the default of the model."""
    arguments = status.get("args")
    if not isinstance(arguments, list) or option not in arguments[:-1]:  # a value must follow
        return None
    value = str_or_empty(arguments[arguments.index(option) + 1])
    if _DIGITS.fullmatch(value) is None:
        return None
    return int(value) or None
