"""`lmchat models`: list, load and unload models."""

from __future__ import annotations

import asyncio
import difflib

from lmchat.cli.load_line import LoadLine
from lmchat.cli.output import table
from lmchat.cli.parts import Parts
from lmchat.cli.target import look
from lmchat.cli.wiring import World, open_world
from lmchat.domain.candidate import why_unusable
from lmchat.domain.server import LoadState, ModelInfo, ModelList
from lmchat.errors import ServerRejected

_MINUTE_S = 60


async def list_models(parts: Parts) -> int:
    """Print the models of the server, or of all where none is named; with `--local` those of this disk."""
    if parts.is_local:
        from lmchat.cli.local import list_files

        return await list_files(parts)
    async with open_world(parts) as world:
        listed = await _listed(world, is_refresh=parts.options.refresh)
    if listed.is_stale:
        parts.output.note(f"lmchat: no server answers; this list is {listed.age_s / _MINUTE_S:.0f} min old.")
    if parts.output.is_json:
        data = [model_json(model) for model in listed.models]
        parts.output.document({"object": "list", "data": data})
    elif listed.models:
        parts.output.text(_table(listed.models))
    else:
        parts.output.note("The server has no models yet; download one there.")
    return 0


async def load(parts: Parts) -> int:
    """Load a model and wait until it is loaded."""
    async with open_world(parts) as world:
        model = _named(parts.options.model_id, await _listed(world, is_refresh=True))
        line = LoadLine(parts.output, model.model_id)
        async with line.shown():
            await world.backend.load(model, context=parts.options.context, on_progress=line.tell)
    return _told(parts, model, LoadState.LOADED)


async def unload(parts: Parts) -> int:
    """Unload a model."""
    async with open_world(parts) as world:
        model = _named(parts.options.model_id, await _listed(world, is_refresh=True))
        await world.backend.unload(model)
    return _told(parts, model, LoadState.NOT_LOADED)


def model_json(model: ModelInfo) -> dict[str, object]:
    """Return a model as OpenAI's API lists it, and what else is known of it."""
    return {
        "id": model.model_id,
        "object": "model",
        "created": model.created or 0,
        "owned_by": model.owned_by,
        "endpoint": model.endpoint.url,
        "product": model.product,
        "state": model.state,
        "type": "embedding" if model.is_embedding else "llm",
        "params": model.params or None,
        "quantization": model.quantization or None,
        "context_loaded": model.context_loaded,
        "context_max": model.context_max,
        "size_bytes": model.size_bytes,
        "capabilities": list(model.capabilities),
        "efforts": list(model.efforts),
    }


async def _listed(world: World, *, is_refresh: bool) -> ModelList:
    """Ask each server that can be used; with none there, what is known from earlier runs stands in."""
    candidates = await look(world.backend, world.settings)
    usable = [candidate.endpoint for candidate in candidates if candidate.verdict.is_usable]
    if not usable:
        known = world.backend.cached_models()
        error = why_unusable(candidates)
        if not known.models or is_refresh or world.settings.endpoint or error.kind != "no_server":
            raise error
        return ModelList(models=known.models, age_s=known.age_s, is_stale=True)
    lists = await asyncio.gather(
        *(world.backend.models(endpoint, is_refresh=is_refresh) for endpoint in usable)
    )
    return ModelList(
        models=tuple(model for listed in lists for model in listed.models),
        age_s=max(listed.age_s for listed in lists),
        is_stale=any(listed.is_stale for listed in lists),
    )


def _named(model_id: str, listed: ModelList) -> ModelInfo:
    found = next((model for model in listed.models if model.model_id == model_id), None)
    if found is not None:
        return found
    names = [model.model_id for model in listed.models]
    meant = next(iter(difflib.get_close_matches(model_id, names, n=1)), "")
    hint = f"Did you mean {meant}?" if meant else "`lmchat models` lists what there is."
    raise ServerRejected(f"No server here has a model {model_id}.", kind="model_missing", hint=hint)


def _told(parts: Parts, model: ModelInfo, state: LoadState) -> int:
    if parts.output.is_json:
        parts.output.document(model_json(model) | {"state": state})
    else:
        parts.output.text(f"{model.model_id}: {state}")
    return 0


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
            " ".join(("embedding",) if model.is_embedding else model.capabilities),
            f"{model.product} {model.endpoint.netloc}",
        )
        for model in models
    ]
    return table(("STATE", "MODEL", "PARAMS", "QUANT", "CONTEXT", "SIZE", "CAN", "SERVER"), rows)
