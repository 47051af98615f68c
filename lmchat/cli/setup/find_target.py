"""Servers and their models for a command, the one model that it asks, and the load of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic

from lmchat.cli.context import Context
from lmchat.cli.setup.local_servers import start_engine_without_screen
from lmchat.cli.setup.wiring import Runtime
from lmchat.config.settings import Settings
from lmchat.config.state import State
from lmchat.errors import LMChatError, WrongUse
from lmchat.servers.discovery.choose import (
    choose_without_asking,
    no_server_error,
    require_model,
    target_when_loaded,
    unlisted_model,
)
from lmchat.servers.discovery.status import ServerStatus, usable_of
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import LoadState, ModelInfo, find_model, model_meant
from lmchat.servers.protocols import ServerClient
from lmchat.servers.stream.timeouts import first_token_limit
from lmchat.servers.target import Target
from lmchat.terminal.output import Output
from lmchat.units import progress_suffix


def configured_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Return the address of `endpoint`; if it is unset, return those of `[[endpoints]]`.

    Raises `EndpointNotAllowed` for a text that is no plain http(s) address.
    """
    urls = [settings.endpoint] if settings.endpoint else [entry.url for entry in settings.endpoints]
    return tuple(Endpoint.parse(url) for url in urls)


def configured_names(settings: Settings) -> dict[str, str]:
    """Return the names of the servers in `[[endpoints]]`, by origin.

    Raises `EndpointNotAllowed` for a text that is no plain http(s) address.
    """
    return {Endpoint.parse(entry.url).origin: entry.name for entry in settings.endpoints}


async def find_servers(
    backend: ServerClient, settings: Settings, *, is_counted: bool = True
) -> tuple[ServerStatus, ...]:
    """Check the server at `settings.endpoint` and return it as the only result.

    Without this setting, look for servers, also at the addresses in `[[endpoints]]`, and return all
    results, usable or not. Without `is_counted`, the metrics do not count such a search.
    """
    if settings.endpoint:
        return (await backend.check(Endpoint.parse(settings.endpoint)),)
    return await backend.detect(named=configured_endpoints(settings), is_counted=is_counted)


async def find_usable(runtime: Runtime) -> list[ServerStatus]:
    """Return all usable servers; raises an error if there is none."""
    results = await find_servers(runtime.backend, runtime.settings)
    usable = usable_of(results)
    if not usable:
        raise no_server_error(results)
    return usable


async def fetch_models(runtime: Runtime) -> list[ModelInfo]:
    """Return the models of all usable servers; raises an error if there is no such server."""
    return [model for server in await find_usable(runtime) for model in server.models]


async def fetch_named(
    runtime: Runtime, names: Sequence[str], *, is_exact: bool = False
) -> list[ModelInfo]:
    """Return the models that names mean (`model_meant`), on any server.

    A name that no server lists is that of a model of the server that may have it all the same.
    Raises `WrongUse` if there is none, or the error that says why no server can be used.
    """
    results = await find_servers(runtime.backend, runtime.settings)
    usable = usable_of(results)
    listed = [model for server in usable for model in server.models]
    models: list[ModelInfo] = []
    for name in names:
        try:
            models.append(model_meant(name, listed, is_exact=is_exact))
        except WrongUse:
            model = unlisted_model(name, results, runtime.state)
            if model is None:
                if not usable:
                    raise no_server_error(results) from None
                raise
            models.append(model)
    return models


async def target_of_command(context: Context, runtime: Runtime) -> Target:
    """Return the server and model for a command; first start the built-in engine, if wanted.

    Raises an `LMChatError` if the engine does not start, or if no server or model can be used.
    """
    settings = runtime.settings
    if context.is_local:
        settings = await start_engine_without_screen(context, runtime)
    return await find_target(runtime.backend, settings, runtime.state, context.output.note)


async def find_target(
    backend: ServerClient, settings: Settings, state: State, note: Callable[[str], None]
) -> Target:
    """Look for servers and return the server and model to ask, chosen without asking the user.

    If the chosen server is loading its model, print this with `note`, and wait for the model.

    Raises:
        NoServerFound: no server was found.
        ServerRejected: the server cannot be used.
        ServerUnavailable: the server did not load its model within the limit for the first token.
        RequestInvalid: the server has no model, or several equally likely ones.
        WrongUse: the server has no model of the name in the settings, which a server that the user
            has named may have all the same; or the model cannot chat.
    """
    results = await find_servers(backend, settings)
    choice = choose_without_asking(results, model=settings.model, state=state)
    if settings.model and not (choice.server and choice.server.has_named_address):
        require_model(settings.model, choice.server, results)

    # the note does not name the model: a server that loads its first model does not tell the name
    if choice.target is not None and choice.target.is_loading:
        note(f"{choice.target.product} is loading its model …")
    async with first_token_limit(settings.timeouts.first_token_s):
        return await target_when_loaded(choice, state, backend.check)


async def load_with_progress(
    runtime: Runtime, model: ModelInfo, output: Output, *, window: int | None = None
) -> None:
    """Load a model and show the progress on a terminal until it is loaded.

    `window` is the size of the context window in tokens; by default, the server chooses it.
    """

    def show(fraction: float | None) -> None:
        output.show_progress(f"lmchat: loading{progress_suffix(fraction)} …")

    show(None)  # some servers report no progress
    await runtime.backend.load(model, context=window, on_progress=show)
    output.show_progress("")


async def load_if_needed(runtime: Runtime, model: ModelInfo, output: Output) -> float | None:
    """Load a model that its server reports as not loaded, and return the seconds that this took.

    The server is asked now: another model may have taken the place of this one since `model` was
    listed. Return None if the model is in another state or its state is unknown. Return None, too,
    if the server cannot load a model on request: it then loads the model with the first prompt.
    """
    server = await runtime.backend.check(model.endpoint)
    current = find_model(model.model_id, server.models)
    if current is None or current.state is not LoadState.NOT_LOADED:
        return None
    started_s = monotonic()
    try:
        await load_with_progress(runtime, model, output)
    except LMChatError as error:
        if error.kind == "unsupported":
            return None
        raise
    return monotonic() - started_s
