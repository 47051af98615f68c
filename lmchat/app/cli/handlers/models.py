"""`lmchat models`, `lmchat health` and `lmchat detect`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from lmchat.api.runtime import Runtime
from lmchat.app.cli.as_json import detection_json, health_json, model_json
from lmchat.app.cli.context import Context, confirmed
from lmchat.app.cli.home import load_shown
from lmchat.app.cli.setup.wiring import open_runtime, setup_of
from lmchat.app.terminal.output import table, terminal_columns
from lmchat.base import units
from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.discovery.choose import Choice, can_pull, require_model, server_for_pull
from lmchat.core.servers.discovery.status import ServerState, ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState, ModelInfo, model_meant, name_and_address
from lmchat.core.servers.products import product_named

# `--json` prints these fields of a model file under their names
_JSON_FIELDS = (
    "path",
    "source",
    "quantization",
    "size_bytes",
    "parts",
)


async def list_models(context: Context) -> int:
    """Print the models of the named server, or of all servers.

    With `--local`, the model files of this disk.
    """
    if context.is_local:
        return await _list_files(context)
    async with open_runtime(context) as runtime:
        usable = await runtime.finder().usable()
    listed = [model for server in usable for model in server.models]
    # those that can chat come first, and of these the ones that run where their server does
    models = sorted(listed, key=lambda model: (not model.can_chat, model.is_remote))
    rows = [
        (
            "" if model.state is LoadState.UNKNOWN else model.state_word,
            model.model_id,
            model.params,
            model.quantization,
            units.window(model.context_loaded) or units.window_of_most(None, model.context_max),
            units.breakable(units.size_text(model.size_bytes)),
            model.kind or " ".join(model.capabilities),
            name_and_address(model.product, model.endpoint.netloc),
        )
        for model in models
    ]
    head = ("STATE", "MODEL", "PARAMS", "QUANT", "CONTEXT", "SIZE", "CAN", "SERVER")
    return context.output.print_list(
        [model_json(model) for model in models],
        table(head, rows, width=terminal_columns()),
        f"{usable[0].sentence(usable[0].name)} Next: {usable[0].next_step}.",
    )


async def _list_files(context: Context) -> int:
    setup = setup_of(context)
    state = await setup.saved_state()
    files = await setup.make_engine(context.settings, state.model_file or "").files()
    rows = [
        (
            file.name,
            file.quantization,
            units.breakable(units.size_text(file.size_bytes)),
            file.source,
            str(file.path),
        )
        for file in files
    ]
    return context.output.print_list(
        [
            {"id": file.name, "object": "model"}  # as in the API of OpenAI
            | {name: getattr(file, name) or None for name in _JSON_FIELDS}
            for file in files
        ],
        table(("MODEL", "QUANT", "SIZE", "OF", "FILE"), rows),
        "No program that lmchat knows has a model file here. `lmchat --local` offers to download a "
        "small one; `lmchat --local -m FILE` takes any.",
    )


async def _model_named(context: Context, runtime: Runtime, *, is_exact: bool = False) -> ModelInfo:
    """Return the model that the command changes; raise `WrongUse` if several servers list it."""
    listed = await runtime.finder().models()
    model = model_meant(context.options.model_id, listed, is_exact=is_exact, is_for_chat=False)
    _require_one_server(
        f"{model.model_id} is",
        [one.endpoint for one in listed if one.model_id == model.model_id],
    )
    return model


def _require_one_server(subject: str, endpoints: Sequence[Endpoint]) -> None:
    """Raise `WrongUse`, which names all addresses."""
    addresses = list(dict.fromkeys(endpoint.url for endpoint in endpoints))
    if len(addresses) > 1:
        raise WrongUse(
            f"{safe_line(subject)} at several servers: {', '.join(addresses)}.",
            next_step=f"Name one: --endpoint {addresses[0]}",
        )


async def load(context: Context) -> int:
    async with open_runtime(context) as runtime:
        model = await _model_named(context, runtime)
        window = context.options.context
        # a server that loads none on request may have it from its start
        if window or model.state is not LoadState.LOADED:
            product = product_named(model.product)
            takes_window = not window or product.acts.context_field
            if takes_window and product.can_load_or_unload(model):
                context.output.note(f"Loading {model.model_id} …")
            await load_shown(partial(runtime.load, context=window), model, context.output)
    return _print_state(context, model, LoadState.LOADED)


async def unload(context: Context) -> int:
    async with open_runtime(context) as runtime:
        model = await _model_named(context, runtime)
        # servers refuse one that is not loaded, each in its own words
        if model.state is not LoadState.NOT_LOADED:
            await runtime.backend.models.unload(model)
    return _print_state(context, model, LoadState.NOT_LOADED)


async def pull(context: Context) -> int:
    name = context.options.model_id
    output = context.output
    async with open_runtime(context) as runtime:
        finder = runtime.finder()
        servers = await finder.look()
        chosen = finder.choice().server
        able = [one.endpoint for one in servers if can_pull(one)]
        _require_one_server(f"{name} can be downloaded", able)
        server = server_for_pull(servers, chosen.endpoint if chosen else None)
        if can_pull(server):
            output.note(f"{server.name} downloads {name} …")
        try:
            model = await runtime.backend.models.pull(
                server, name, lambda progress: output.show_progress(f"lmchat: {progress.text}")
            )
        except asyncio.CancelledError:
            output.note(
                product_named(server.product).step("continues_pull") or "The download is stopped."
            )
            raise
    return output.print_result(model_json(model), f"{model.model_id}: downloaded")


async def rm(context: Context) -> int:
    async with open_runtime(context) as runtime:
        model = await _model_named(context, runtime, is_exact=True)
        product = product_named(model.product)
        if not product.can_delete(model):
            raise product.cannot_error("delete")
        size = units.breakable(units.size_text(model.size_bytes)) or "size not known"
        subject = f"{model.model_id} ({size}, on {model.product} at {model.endpoint.url})"
        refusal = f"Deleting {subject} cannot be undone."
        if not await confirmed(context, f"Delete {subject} from the disk?", refusal):
            return context.output.print_list([], [], "Nothing was deleted.")
        await runtime.backend.models.remove(model)
    return context.output.print_result(model_json(model), f"{model.model_id}: deleted")


def _print_state(context: Context, model: ModelInfo, state: LoadState) -> int:
    document = model_json(model) | {"state": state}
    return context.output.print_result(document, f"{model.model_id}: {state}")


async def health(context: Context) -> int:
    """Print as JSON whether the server can answer.

    Return 0 if it can, 1 if not, or the exit code of the error that prevented the check, also if
    the server lacks the model of the settings. Server and model are those of the chat screen.
    """
    choice, servers, error = await _find(context, is_search=False)
    loaded = context.loaded  # `context.settings` raises for a wrong configuration
    document = health_json(
        choice, servers, loaded.settings, error=error, has_problems=bool(loaded.problems)
    )
    context.output.print_json(document)
    if error:
        return error.exit_code
    return 0 if document["healthy"] else 1


async def detect(context: Context) -> int:
    """Print as JSON the server that the chat screen would use, and all addresses that were tried.

    With `--endpoint`, only that. Return 0 if a server was found, 3 if none was, or the exit code of
    an error.
    """
    choice, servers, error = await _find(context, is_search=True)
    document = detection_json(choice, servers, error=error)
    context.output.print_json(document)
    if error:
        return error.exit_code
    return 0 if document["detected"] else 3


async def _find(
    context: Context, *, is_search: bool
) -> tuple[Choice, tuple[ServerStatus, ...], LMChatError | None]:
    """Return what the chat would use, all servers, and the error that ended the search.

    `health` and `detect` print the error in their document. Without `is_search`, only the server of
    the settings is checked, if they name one; that it lacks their model is an error. A search for
    one address (`--endpoint`) asks no other.
    """
    try:
        async with open_runtime(context) as runtime:
            finder = runtime.finder()
            if is_search and not context.options.endpoint:
                servers = await finder.search()
            else:
                servers = await finder.look()
            choice = finder.choice()
            if runtime.settings.model and not is_search:
                require_model(runtime.settings.model, choice.server, servers)
            return choice, servers, None
    except LMChatError as error:
        return Choice(state=ServerState.AWAY), (), error
