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
from lmchat.proxy.http import Reply
from lmchat.proxy.json_values import mapping, number, text, whole
from lmchat.proxy.servers.base import Server, Tell, capabilities, params_text
from lmchat.proxy.site import SLEEP, Site, background_task

LOADING_POLL_S = 0.2
_LOOKS_IN_VAIN = 25  # looks at a model that is not loaded, after which loading has failed
UNLOAD_S = 30.0  # longest time to stay loaded after the order to go
_GIVE_UP_S = 1.0
_STATES = {
    "loaded": LoadState.LOADED,
    "sleeping": LoadState.ASLEEP,
    "loading": LoadState.LOADING,
    "downloading": LoadState.LOADING,
    "unloaded": LoadState.NOT_LOADED,
}
_RUNNING = (LoadState.LOADED, LoadState.ASLEEP)
"""States of a model whose process runs."""
_PROPS = "/props"  # wakes no sleeping model
_WAKE = "/tokenize"  # needs the model in memory, and costs the least of such requests


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

    async def models(self, site: Site) -> tuple[ModelInfo, ...]:
        """A list says nothing about sleep: a server that can sleep is asked with every look."""
        models = await super().models(site)
        if len(models) != 1 or models[0].state is not LoadState.LOADED:
            return models
        if site.is_quick and SLEEP not in site.traits:
            return models
        props = await site.get_if_told(_PROPS)
        if props is None or props.object.get("role") == "router":
            return models
        model, is_sleeping = models[0], props.object.get("is_sleeping")
        if is_sleeping is not None:
            site.traits.add(SLEEP)
        if is_sleeping is True:
            model = replace(model, state=LoadState.ASLEEP)
        return (model if site.is_quick else _described(model, props),)

    def model(self, site: Site, row: dict[str, Any]) -> ModelInfo:
        meta, status = mapping(row.get("meta")), mapping(row.get("status"))
        architecture = mapping(row.get("architecture"))
        inputs = architecture.get("input_modalities")
        outputs = architecture.get("output_modalities")
        state = (
            _STATES.get(text(status.get("value")), LoadState.UNKNOWN)
            if status
            else LoadState.LOADED
        )
        context = whole(meta.get("n_ctx"))
        return replace(
            super().model(site, row),
            state=state,
            is_decision=isinstance(outputs, list) and "decisions" in outputs,
            params=params_text(meta.get("n_params")),
            quantization=text(meta.get("ftype")).removeprefix("(guessed) "),
            context_loaded=_argument(status, "--ctx-size") if context is None else context,
            context_max=whole(meta.get("n_ctx_train")) or whole(row.get("context_length")),
            size_bytes=whole(meta.get("size")),
            capabilities=capabilities(vision=isinstance(inputs, list) and "image" in inputs),
            is_blind=isinstance(inputs, list) and "image" not in inputs,
        )

    def fields(self, sampling: Sampling, model: ModelInfo | None = None) -> dict[str, Any]:
        """Progress (which also makes cancelling work at once) and timings, always (R-14)."""
        return {
            **super().fields(sampling, model),
            "return_progress": True,
            "timings_per_token": True,
        }

    async def load(self, site: Site, model: ModelInfo, how: LoadOptions, tell: Tell) -> None:  # noqa: ARG002 - it takes nothing
        """The router answers before the model is loaded: look until it is. A sleeping one is woken."""
        if model.state is LoadState.ASLEEP:
            body = {"model": model.model_id, "content": "wake"}
            self.accept(site, await site.post(_WAKE, body), "load")
            return
        async with background_task(self.follow_loading(site, model.model_id, tell)):
            reply = await site.post("/models/load", {"model": model.model_id})
            is_begun = "already" not in str(reply.object.get("error", ""))
            if is_begun:
                self.accept(site, reply, "load")
            try:
                await self._until_loaded(site, model)
            except asyncio.CancelledError:
                if is_begun:  # wait only briefly
                    with suppress(TimeoutError, LMChatError):
                        async with asyncio.timeout(_GIVE_UP_S):
                            await site.post("/models/unload", {"model": model.model_id})
                raise

    async def _until_loaded(self, site: Site, model: ModelInfo) -> None:
        looks_in_vain, status = 0, {}
        async for status in self._statuses(site, model):
            state = _STATES.get(text(status.get("value")))
            if state in _RUNNING:
                return
            looks_in_vain += state is LoadState.NOT_LOADED
            if status.get("failed") or looks_in_vain > _LOOKS_IN_VAIN:
                break
        raise ServerRejected(
            "The model could not be loaded.",
            kind="model_not_loaded",
            hint="Check the server's log; a smaller model or context window may fit.",
            details=f"exit code {status.get('exit_code')}",
        )

    async def follow_loading(self, site: Site, model_id: str, tell: Tell) -> None:
        async with aclosing(site.events("/models/sse")) as events:
            async for event in events:
                if event.get("model") != model_id:
                    continue
                told = mapping(event.get("data"))
                if _STATES.get(text(told.get("status"))) in _RUNNING:
                    return
                fraction = _fraction(mapping(told.get("progress")))
                if fraction is not None:
                    tell(fraction)

    async def unload(self, site: Site, model: ModelInfo) -> None:
        """Only a router can; it too answers before it is done."""
        reply = await site.post("/models/unload", {"model": model.model_id})
        if "not running" not in str(reply.object.get("error", "")):
            self.accept(site, reply, "unload")
        try:
            async with asyncio.timeout(UNLOAD_S):
                async for status in self._statuses(site, model):
                    if _STATES.get(text(status.get("value"))) not in _RUNNING:
                        return
        except TimeoutError:
            raise ServerUnavailable(
                "The server accepted the request but did not unload the model.",
                kind="timeout",
                hint="Check whether a request still uses it, and the server's log.",
            ) from None

    async def _statuses(self, site: Site, model: ModelInfo) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the status of a model again and again, while it is listed."""
        while True:
            listed = await self.listed(replace(site, questions=1, replies={}))
            row = next((row for row in listed if row.get("id") == model.model_id), None)
            if row is None:
                return
            yield mapping(row.get("status"))
            await asyncio.sleep(LOADING_POLL_S)


def _described(model: ModelInfo, props: Reply) -> ModelInfo:
    """Return a model with what only `/props` tells of it."""
    can = mapping(props.object.get("chat_template_caps"))
    sees = mapping(props.object.get("modalities"))
    settings = mapping(props.object.get("default_generation_settings"))
    has_vision = "vision" in model.capabilities or sees.get("vision") is True
    return replace(
        model,
        capabilities=capabilities(tools=can.get("supports_tools") is True, vision=has_vision),
        is_blind=not has_vision and (model.is_blind or sees.get("vision") is False),
        context_loaded=model.context_loaded or whole(settings.get("n_ctx")),
        keeps_thoughts=can.get("supports_preserve_reasoning") is True,
    )


def _fraction(progress: dict[str, Any]) -> float | None:
    stages, share, current = (
        progress.get("stages"),
        number(progress.get("value")),
        progress.get("current"),
    )
    if not isinstance(stages, list) or share is None:
        return None
    done = stages.index(current) if current in stages else 0
    return min(max((done + share) / max(len(stages), 1), 0.0), 1.0)


def _argument(status: dict[str, Any], name: str) -> int | None:
    words = status.get("args")
    if not isinstance(words, list) or name not in words[:-1]:
        return None
    value = text(words[words.index(name) + 1])
    return int(value) or None if re.fullmatch("[0-9]{1,15}", value) else None


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
