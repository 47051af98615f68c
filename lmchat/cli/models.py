"""`lmchat models`, `lmchat health` and `lmchat detect`.

A result is an address that was probed, with the result of the probe and the models there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic

from msgspec.structs import replace

from lmchat import units
from lmchat.cli.context import Context
from lmchat.cli.local import list_files
from lmchat.cli.target import find_servers, own_endpoints
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.config.state import State
from lmchat.errors import LMChatError
from lmchat.servers.discovery.choose_model import why_unusable
from lmchat.servers.discovery.probe_result import ProbeResult
from lmchat.servers.discovery.server_json import (
    detection_json,
    health_json,
    model_json,
    special_type,
)
from lmchat.servers.model import (
    LoadState,
    ModelInfo,
    ModelList,
    cannot_chat,
    find_model,
    unknown_model,
)
from lmchat.terminal.output import Output, table

_MINUTE_S = 60


async def list_models(context: Context) -> int:
    """Print the models of the named server, or of all servers; return exit code 0.

    With `--local`, print the model files of this disk instead.
    """
    if context.is_local:
        return await list_files(context)
    async with open_runtime(context) as runtime:
        model_list = await fetch_models(
            runtime, context.output.note, is_refresh=context.options.refresh
        )
    if model_list.is_stale:
        minutes = int(model_list.age_s / _MINUTE_S)
        age = f"{minutes} min old" if minutes else "cached"
        context.output.note(f"lmchat: no server answers; this list is {age}.")
    # models that can chat come first
    models = tuple(sorted(model_list.models, key=lambda model: not model.can_chat))
    return context.output.print_list(
        [model_json(model) for model in models],
        lambda: _table(models),
        "The server has no models. Download one there.",
    )


async def load(context: Context) -> int:
    """Load the model that the command names, wait until it is loaded, and print its state."""
    async with open_runtime(context) as runtime:
        model = await _named_model(context, runtime)
        if not context.output.is_json:
            context.output.note(f"Loading {model.model_id} …")
        await load_with_progress(runtime, model, context.output, window=context.options.context)
    return _report_state(context, model, LoadState.LOADED)


async def unload(context: Context) -> int:
    """Unload the model that the command names, and print its state."""
    async with open_runtime(context) as runtime:
        model = await _named_model(context, runtime)
        await runtime.backend.unload(model)
    return _report_state(context, model, LoadState.NOT_LOADED)


async def load_with_progress(
    runtime: Runtime, model: ModelInfo, output: Output, *, window: int | None = None
) -> None:
    """Load a model and show the progress on a terminal until it is loaded.

    `window` is the size of the context window in tokens; by default, the server chooses it.
    """

    def show(fraction: float) -> None:
        output.show_progress(f"{fraction:.0%}")

    try:
        await runtime.backend.load(model, context=window, on_progress=show)
    finally:
        output.show_progress("")


async def load_if_needed(runtime: Runtime, model: ModelInfo, output: Output) -> float | None:
    """Load a model that its server reports as not loaded, and return the seconds that this took.

    Return None if the model is in another state or its state is unknown. Return None, too, if the
    server cannot load a model on request: it then loads the model with the first prompt.
    """
    if model.state is not LoadState.NOT_LOADED:
        return None
    started_s = monotonic()
    try:
        await load_with_progress(runtime, model, output)
    except LMChatError as error:
        if error.kind == "unsupported":
            return None
        raise
    return monotonic() - started_s


async def _named_model(context: Context, runtime: Runtime) -> ModelInfo:
    """Ask the servers for the model that the command names; raises `WrongUse` if none has it."""
    model_list = await fetch_models(runtime, context.output.note, is_refresh=True)
    return model_named(context.options.model_id, model_list)


async def fetch_models(
    runtime: Runtime, note: Callable[[str], None], *, is_refresh: bool
) -> ModelList:
    """Find the usable servers and return their models as one list.

    With `is_refresh`, each server is asked for its models. Without it, a server is asked only if
    detection knows no more than the names of its models; other lists may come from the cache.
    `note` takes a sentence for each server that fails; if all do, an error is raised. If no server
    is usable, the list or the error is that of `_stale_models`.
    """

    async def ask(probed: ProbeResult) -> ModelList | LMChatError:
        has_details = all(_has_details(model) for model in probed.models)
        try:
            return await runtime.backend.models(
                probed.endpoint, is_refresh=is_refresh or not has_details
            )
        except LMChatError as error:
            return error

    results = await find_servers(runtime.backend, runtime.settings)
    usable = [probed for probed in results if probed.verdict.is_usable]
    if not usable:
        return _stale_models(runtime, why_unusable(results), is_refresh=is_refresh)
    answers = await asyncio.gather(*map(ask, usable))
    lists = [answer for answer in answers if isinstance(answer, ModelList)]
    for probed, answer in zip(usable, answers, strict=True):
        if isinstance(answer, LMChatError):
            if not lists:
                raise answer
            note(f"lmchat: no list of models from {probed.endpoint.netloc}: {answer.message}")
    return _joined(lists)


def _stale_models(runtime: Runtime, error: LMChatError, *, is_refresh: bool) -> ModelList:
    """Return the cached list of the last run, or raise `error`, which says why no server is usable.

    The list is returned only if no server was found, the user has named none, and did not ask for
    a new list with `is_refresh`.
    """
    was_found = error.kind != "no_server"
    was_named = bool(runtime.settings.endpoint)
    may_be_cached = not (was_found or was_named or is_refresh)
    cached = runtime.backend.cached_models()
    if not cached.models or not may_be_cached:
        raise error
    # which models are loaded may have changed since the list was cached
    models = tuple(replace(model, state=LoadState.UNKNOWN) for model in cached.models)
    return replace(cached, models=models, is_stale=True)


def _joined(lists: Sequence[ModelList]) -> ModelList:
    """Return the lists of several servers as one.

    It is as old as the oldest of them, and stale if one of them is.
    """
    models: list[ModelInfo] = []
    for model_list in lists:
        models += model_list.models
    return ModelList(
        models=tuple(models),
        age_s=max(model_list.age_s for model_list in lists),
        is_stale=any(model_list.is_stale for model_list in lists),
    )


def _has_details(model: ModelInfo) -> bool:
    """Return whether more is known of a model than its name, which is all that detection asks.

    With its name only, a model has no capabilities and no context window, and counts as one that
    can chat.
    """
    return bool(model.capabilities or model.context or not model.can_chat)


def model_named(model_id: str, model_list: ModelList) -> ModelInfo:
    """Return the model with this name; raises `WrongUse` if the list does not have it."""
    model = find_model(model_id, model_list.models)
    if model is None:
        raise unknown_model(model_id, model_list.models)
    return model


def models_named(names: Sequence[str], model_list: ModelList) -> list[ModelInfo]:
    """Return the models with these names; raises `WrongUse` for one that cannot chat, too."""
    models = [model_named(name, model_list) for name in names]
    for model in models:
        if not model.can_chat:
            raise cannot_chat(model)
    return models


def _report_state(context: Context, model: ModelInfo, state: LoadState) -> int:
    """Print a model with the state that it has after a command; return exit code 0."""
    return context.output.print_result(
        model_json(model) | {"state": state}, f"{model.model_id}: {state}"
    )


def _table(models: tuple[ModelInfo, ...]) -> list[str]:
    """Return the lines of the table of models."""
    rows = [
        (
            "" if model.state is LoadState.UNKNOWN else model.state,
            model.model_id,
            model.params,
            model.quantization,
            units.window(model.context),
            units.size_text(model.size_bytes).replace(units.GAP, " "),
            special_type(model) or " ".join(model.capabilities),
            f"{model.product} {model.endpoint.netloc}",
        )
        for model in models
    ]
    head = ("STATE", "MODEL", "PARAMS", "QUANT", "CONTEXT", "SIZE", "CAN", "SERVER")
    return table(head, rows)


async def health(context: Context) -> int:
    """Print as JSON whether the server can answer.

    Return 0 if it can, 1 if it cannot, or the exit code of the error that prevented the check.
    Server and model are those that the chat screen would use.
    """
    settings, state = context.loaded.settings, State()
    results: tuple[ProbeResult, ...] = ()
    error = None
    try:
        async with open_runtime(context) as runtime:
            settings, state = runtime.settings, runtime.state
            results = await find_servers(runtime.backend, settings)
    except LMChatError as failure:
        error = failure
    has_problems = bool(context.loaded.problems)
    document = health_json(results, settings, state, error=error, has_problems=has_problems)
    context.output.print_json(document)
    if error is not None:
        return error.exit_code
    return 0 if document["healthy"] else 1


async def detect(context: Context) -> int:
    """Print as JSON the server that the chat screen would use, and every address that was tried.

    Return 0 if a server was found, 3 if none was, or the exit code of the error that ended this.
    """
    settings, state = context.loaded.settings, State()
    results: tuple[ProbeResult, ...] = ()
    error = None
    try:
        async with open_runtime(context) as runtime:
            settings, state = runtime.settings, runtime.state
            results = await runtime.backend.detect(expected=own_endpoints(settings))
    except LMChatError as failure:
        error = failure
    document = detection_json(results, settings, state, error=error)
    context.output.print_json(document)
    if error is not None:
        return error.exit_code
    return 0 if document["detected"] else 3
