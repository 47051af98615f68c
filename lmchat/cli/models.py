"""`lmchat models`, `lmchat health` and `lmchat detect`."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.output import rounded, table, timestamp
from lmchat.cli.target import find_candidates, own_endpoints
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.domain.model_names import find_model, unknown_model
from lmchat.domain.server import (
    Candidate,
    Endpoint,
    LoadState,
    ModelInfo,
    ModelList,
    Verdict,
    is_address,
)
from lmchat.domain.target_choice import NOTHING_FOUND, choose, choose_at, why_unusable
from lmchat.errors import LMChatError

_MINUTE_S = 60


async def list_models(context: Context) -> int:
    """Print the models of the server or of all; with `--local` those of this disk."""
    if context.is_local:
        from lmchat.cli.local import list_files

        return await list_files(context)
    async with open_runtime(context) as runtime:
        listed = await list_of_models(runtime, is_refresh=context.options.refresh)
    if listed.is_stale:
        minutes = int(listed.age_s / _MINUTE_S)
        age = f"{minutes} min old" if minutes else "cached"
        context.output.note(f"lmchat: no server answers; this list is {age}.")
    models = tuple(sorted(listed.models, key=lambda model: not model.can_chat))
    return context.output.listing(
        [model_json(model) for model in models],
        lambda: _table(models),
        "The server has no models. Download one there.",
    )


async def load(context: Context) -> int:
    """Load a model and wait until it is loaded."""
    async with open_runtime(context) as runtime:
        model = model_named(
            context.options.model_id, await list_of_models(runtime, is_refresh=True)
        )
        if not context.output.is_json:
            context.output.note(f"Loading {model.model_id} …")
        try:
            await runtime.backend.load(
                model,
                context=context.options.context,
                on_progress=lambda fraction: context.output.live(f"{fraction:.0%}"),
            )
        finally:
            context.output.live("")
    return _report(context, model, LoadState.LOADED)


async def unload(context: Context) -> int:
    """Unload a model."""
    async with open_runtime(context) as runtime:
        model = model_named(
            context.options.model_id, await list_of_models(runtime, is_refresh=True)
        )
        await runtime.backend.unload(model)
    return _report(context, model, LoadState.NOT_LOADED)


def model_json(model: ModelInfo) -> dict[str, object]:
    """Return a model as OpenAI's API lists it, with lmchat's own fields."""
    more = (
        "product",
        "state",
        "context_loaded",
        "context_max",
        "size_bytes",
        "capabilities",
        "efforts",
    )
    return {
        "id": model.model_id,
        "object": "model",
        "created": model.created or 0,
        "owned_by": model.owned_by,
        "endpoint": model.endpoint.url,
        "type": _kind(model) or "llm",
        "params": model.params or None,
        "quantization": model.quantization or None,
        **{name: getattr(model, name) for name in more},
    }


async def list_of_models(runtime: Runtime, *, is_refresh: bool) -> ModelList:
    """Ask each usable server; without one, return the cached list."""
    candidates = await find_candidates(runtime.backend, runtime.settings)
    usable = [candidate for candidate in candidates if candidate.verdict.is_usable]
    if usable:
        asked = (
            runtime.backend.models(
                one.endpoint, is_refresh=is_refresh or not all(map(_is_told, one.models))
            )
            for one in usable
        )
        lists = await asyncio.gather(*asked)
        return ModelList(
            models=tuple(model for listed in lists for model in listed.models),
            age_s=max(listed.age_s for listed in lists),
            is_stale=any(listed.is_stale for listed in lists),
        )
    known, error = runtime.backend.cached_models(), why_unusable(candidates)
    if not known.models or is_refresh or runtime.settings.endpoint or error.kind != "no_server":
        raise error
    models = tuple(replace(model, state=LoadState.UNKNOWN) for model in known.models)
    return replace(known, models=models, is_stale=True)


def _is_told(model: ModelInfo) -> bool:
    """Whether more than the name is known of a model; a scan asks for no more."""
    return bool(model.capabilities or model.context or not model.can_chat)


def _kind(model: ModelInfo) -> str:
    """Return "embedding" or "decision"; empty for a model that can chat."""
    return model.only_for.removesuffix("s")


def model_named(model_id: str, listed: ModelList) -> ModelInfo:
    """Return a model by its name; raises `WrongUse`."""
    if (found := find_model(model_id, listed.models)) is None:
        raise unknown_model(model_id, listed.models)
    return found


def _report(context: Context, model: ModelInfo, state: LoadState) -> int:
    return context.output.result(model_json(model) | {"state": state}, f"{model.model_id}: {state}")


def _table(models: tuple[ModelInfo, ...]) -> str:
    from lmchat.tui import formatting

    rows = [
        (
            "" if model.state is LoadState.UNKNOWN else model.state,
            model.model_id,
            model.params,
            model.quantization,
            formatting.window(model.context),
            formatting.size(model.size_bytes).replace(formatting.GAP, " "),
            _kind(model) or " ".join(model.capabilities),
            f"{model.product} {model.endpoint.netloc}",
        )
        for model in models
    ]
    return table(("STATE", "MODEL", "PARAMS", "QUANT", "CONTEXT", "SIZE", "CAN", "SERVER"), rows)


async def health(context: Context) -> int:
    """Print whether the server can answer; exit 1 if it cannot."""
    candidate, model, reason, code = None, None, "", 0
    try:
        async with open_runtime(context) as runtime:
            candidates = await find_candidates(runtime.backend, runtime.settings)
        candidate = _best(candidates, runtime)
        if candidate is None or not candidate.verdict.is_usable:
            reason, code = why_unusable(candidates).message, 1
        elif target := choose_at(
            candidate, model=runtime.settings.model, remembered=runtime.remembered
        ).target:
            model = target.model
    except LMChatError as error:
        reason, code = error.message, error.exit_code
    url = context.loaded.settings.endpoint
    configured = Endpoint.parse(url).url if is_address(url) else None
    is_unknown = model is not None and model.state is LoadState.UNKNOWN
    is_loaded = model is not None and model.state is LoadState.LOADED
    is_loaded |= is_unknown and candidate is not None and candidate.verdict is Verdict.READY
    status = "ok" if is_loaded else "degraded"
    context.output.document(
        {
            "healthy": not reason,
            "endpoint": candidate.endpoint.url if candidate else configured,
            "models": len(candidate.models) if candidate else 0,
            "error": reason or None,
            "status": "error" if reason else status,
            "llm_available": not reason,
            "model": model.model_id if model else None,
            "model_loaded": is_loaded,
            "model_state": model.state if model else None,
            "orchestrator_ready": not context.loaded.problems,
            "timestamp": timestamp(),
        }
    )
    return code


async def detect(context: Context) -> int:
    """Print every address that was tried; exit 3 if no server was found."""
    candidates: tuple[Candidate, ...] = ()
    best, reason, code = None, NOTHING_FOUND, 3
    try:
        async with open_runtime(context) as runtime:
            candidates = await runtime.backend.detect(expected=own_endpoints(runtime.settings))
            best = _best(candidates, runtime)
    except LMChatError as error:
        reason, code = error.message, error.exit_code
    found: dict[str, object] = {"detected": False, "error": reason}
    if best is not None:
        found = {"endpoint": best.endpoint.url, "detected": True, **_seen(best)}
        found["models"] = [model.model_id for model in best.models]
    listed = [
        {
            "url": one.endpoint.url,
            **_seen(one),
            "next_step": one.next_step or None,
            "detail": one.detail or None,
        }
        for one in candidates
    ]
    context.output.document(found | {"candidates": listed})
    return 0 if best else code


def _seen(one: Candidate) -> dict[str, object]:
    return {"product": one.product, "verdict": one.verdict, "latency_ms": rounded(one.latency_ms)}


def _best(candidates: tuple[Candidate, ...], runtime: Runtime) -> Candidate | None:
    """Return the server that the chat screen would open, else any model server."""
    chosen = choose(
        candidates, model=runtime.settings.model, remembered=runtime.remembered
    ).candidate
    return chosen or next((one for one in candidates if one.verdict.is_server), None)
