"""llama.cpp's server, with one model or as a router over several."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any, ClassVar

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.domain.product import Product
from lmchat.domain.request import LoadOptions, Sampling
from lmchat.domain.server import LoadState, ModelInfo
from lmchat.errors import LMChatError, ServerRejected, ServerUnavailable
from lmchat.proxy.connections import Reply
from lmchat.proxy.json_values import mapping, number, text, whole
from lmchat.proxy.server_api import OnProgress, ServerApi, background_task
from lmchat.proxy.servers.base import Server, capabilities, has_word, lacks_word, params_text

LOADING_POLL_S = 0.2
UNLOAD_S = 30.0  # longest time to stay loaded after the order to unload
_MAX_UNLOADED_POLLS = 25  # of a model that is not loaded, after which loading has failed
_UNLOAD_AFTER_CANCEL_S = 1.0
_STATES = {
    "loaded": LoadState.LOADED,
    "sleeping": LoadState.ASLEEP,
    "loading": LoadState.LOADING,
    "downloading": LoadState.LOADING,
    "unloaded": LoadState.NOT_LOADED,
}
_RUNNING = (LoadState.LOADED, LoadState.ASLEEP)
"""States of a model whose process runs."""
_LOAD, _UNLOAD = "/models/load", "/models/unload"
_PROPS = "/props"  # wakes no sleeping model
_WAKE = "/tokenize"  # needs the model in memory, and costs the least of such requests
_COUNT = re.compile("[0-9]{1,15}")


class LlamaCpp(Server):
    """llama-server: context, timings, progress. Never poll its `/slots` (R-29)."""

    product = Product.LLAMA_CPP
    ports: ClassVar[tuple[int, ...]] = (9931, 8080)
    old_port: ClassVar[int | None] = 8080
    loads_on_demand = True
    signs_replies = True
    health_path = "/health"
    efforts = EFFORTS
    has_thinking_switch = True
    seed_field = "seed"
    count_path = "/v1/chat/completions/input_tokens"
    count_field = "input_tokens"
    start_hint = "llama-server -m MODEL.gguf"
    key_hint = "Use the API key given to llama-server --api-key"
    model_hint = "Choose a model with Ctrl+O or -m; lmchat loads it"
    load_hint = "It serves the model it was started with: llama-server -m MODEL.gguf"
    empty_hint = "llama-server -m MODEL.gguf"

    def proves(self, reply: Reply) -> bool:
        """Every reply is signed; wrappers pass the signature on with chat replies only."""
        return reply.headers.get("server", "").startswith("llama.cpp")

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """A list says nothing about sleep: a server that can sleep is always asked for it."""
        models = await super().models(api)
        has_one_loaded = len(models) == 1 and models[0].state is LoadState.LOADED
        needs_props = api.memory.tells_sleep or not api.is_quick
        if not has_one_loaded or not needs_props:
            return models
        props = await api.get_extra(_PROPS)
        if props is None or props.object.get("role") == "router":
            return models

        model = models[0]
        is_sleeping = props.object.get("is_sleeping")
        if is_sleeping is not None:
            api.memory.tells_sleep = True
        if is_sleeping is True:
            model = replace(model, state=LoadState.ASLEEP)
        return (model if api.is_quick else _described(model, props),)

    def model(self, api: ServerApi, row: dict[str, Any]) -> ModelInfo:
        meta = mapping(row.get("meta"))
        status = mapping(row.get("status"))
        architecture = mapping(row.get("architecture"))
        inputs = architecture.get("input_modalities")
        state = LoadState.LOADED
        if status:
            state = _STATES.get(text(status.get("value")), LoadState.UNKNOWN)
        context = whole(meta.get("n_ctx"))
        if context is None:
            context = _argument(status, "--ctx-size")
        return replace(
            super().model(api, row),
            state=state,
            is_decision=has_word(architecture.get("output_modalities"), "decisions"),
            params=params_text(meta.get("n_params")),
            quantization=text(meta.get("ftype")).removeprefix("(guessed) "),
            context_loaded=context,
            context_max=whole(meta.get("n_ctx_train")) or whole(row.get("context_length")),
            size_bytes=whole(meta.get("size")),
            capabilities=capabilities(vision=has_word(inputs, "image")),
            is_blind=lacks_word(inputs, "image"),
        )

    def fields(self, sampling: Sampling, model: ModelInfo | None = None) -> dict[str, Any]:
        """Progress (which also makes cancelling work at once) and timings, always (R-14)."""
        fields = super().fields(sampling, model)
        return {**fields, "return_progress": True, "timings_per_token": True}

    async def load(
        self,
        api: ServerApi,
        model: ModelInfo,
        options: LoadOptions,  # noqa: ARG002 - it takes none
        on_progress: OnProgress,
    ) -> None:
        """Load or wake a model; the router answers before that is done, so its state is polled."""
        if model.state is LoadState.ASLEEP:
            body = {"model": model.model_id, "content": "wake"}
            self.accept(api, await api.post(_WAKE, body), "load")
            return
        async with background_task(self.follow_loading(api, model.model_id, on_progress)):
            reply = await api.post(_LOAD, {"model": model.model_id})
            is_begun = "already" not in str(reply.object.get("error", ""))
            if is_begun:
                self.accept(api, reply, "load")
            try:
                await self._until_loaded(api, model)
            except asyncio.CancelledError:
                if is_begun:
                    with suppress(TimeoutError, LMChatError):
                        async with asyncio.timeout(_UNLOAD_AFTER_CANCEL_S):
                            await api.post(_UNLOAD, {"model": model.model_id})
                raise

    async def _until_loaded(self, api: ServerApi, model: ModelInfo) -> None:
        unloaded_polls = 0
        status: dict[str, Any] = {}
        async for status in self._statuses(api, model):
            state = _STATES.get(text(status.get("value")))
            if state in _RUNNING:
                return
            if state is LoadState.NOT_LOADED:
                unloaded_polls += 1
            if status.get("failed") or unloaded_polls > _MAX_UNLOADED_POLLS:
                break
        raise ServerRejected(
            "The model could not be loaded.",
            kind="model_not_loaded",
            hint="Check the server's log; a smaller model or context window may fit.",
            details=f"exit code {status.get('exit_code')}",
        )

    async def follow_loading(self, api: ServerApi, model_id: str, on_progress: OnProgress) -> None:
        async with aclosing(api.events("/models/sse")) as events:
            async for event in events:
                if event.get("model") != model_id:
                    continue
                data = mapping(event.get("data"))
                if _STATES.get(text(data.get("status"))) in _RUNNING:
                    return
                fraction = _fraction(mapping(data.get("progress")))
                if fraction is not None:
                    on_progress(fraction)

    async def unload(self, api: ServerApi, model: ModelInfo) -> None:
        """Unload a model; only a router can, and it answers before that is done."""
        reply = await api.post(_UNLOAD, {"model": model.model_id})
        if "not running" not in str(reply.object.get("error", "")):
            self.accept(api, reply, "unload")
        try:
            async with asyncio.timeout(UNLOAD_S):
                async for status in self._statuses(api, model):
                    if _STATES.get(text(status.get("value"))) not in _RUNNING:
                        return
        except TimeoutError:
            raise ServerUnavailable(
                "The server accepted the request but did not unload the model.",
                kind="timeout",
                hint="Check whether a request still uses it, and the server's log.",
            ) from None

    async def _statuses(
        self, api: ServerApi, model: ModelInfo
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the status of a model repeatedly, while it is listed."""
        while True:
            listed = await self.listed(replace(api, requests_left=1, replies={}))
            row = next((row for row in listed if row.get("id") == model.model_id), None)
            if row is None:
                return
            yield mapping(row.get("status"))
            await asyncio.sleep(LOADING_POLL_S)


def _described(model: ModelInfo, props: Reply) -> ModelInfo:
    """Return a model with the facts that only `/props` has."""
    template = mapping(props.object.get("chat_template_caps"))
    vision = mapping(props.object.get("modalities")).get("vision")
    settings = mapping(props.object.get("default_generation_settings"))
    has_vision = "vision" in model.capabilities or vision is True
    has_tools = template.get("supports_tools") is True
    return replace(
        model,
        capabilities=capabilities(tools=has_tools, vision=has_vision),
        is_blind=not has_vision and (model.is_blind or vision is False),
        context_loaded=model.context_loaded or whole(settings.get("n_ctx")),
        keeps_thoughts=template.get("supports_preserve_reasoning") is True,
    )


def _fraction(progress: dict[str, Any]) -> float | None:
    """Return how much of all stages is done."""
    stages, current = progress.get("stages"), progress.get("current")
    share = number(progress.get("value"))
    if not isinstance(stages, list) or share is None:
        return None
    stages_done = stages.index(current) if current in stages else 0
    return min(max((stages_done + share) / max(len(stages), 1), 0.0), 1.0)


def _argument(status: dict[str, Any], name: str) -> int | None:
    """Return a number from the command line of a model."""
    words = status.get("args")
    if not isinstance(words, list) or name not in words[:-1]:
        return None
    value = text(words[words.index(name) + 1])
    return int(value) or None if _COUNT.fullmatch(value) else None


class BuiltIn(LlamaCpp):
    """llama.cpp's server as a child of lmchat."""

    product = Product.BUILT_IN
    ports = ()
    old_port = None
    loads_on_demand = False
    start_hint = "lmchat --local"
    key_hint = "Start lmchat again: each start makes a new API key"
    model_hint = "Choose a model file"

    def proves(self, reply: Reply) -> bool:  # noqa: ARG002 - no reply could
        return False
