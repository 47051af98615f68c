"""Servers and their models for a command, the one model that it asks, and the load of a model."""

from __future__ import annotations

from time import monotonic

from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.setup.local_servers import start_engine_without_screen
from lmchat.cli.setup.wiring import Runtime
from lmchat.errors import LMChatError
from lmchat.servers.model import LoadState, ModelInfo, find_model
from lmchat.servers.target import Target
from lmchat.terminal.output import Output
from lmchat.units import progress_suffix


async def target_of_command(context: Context, runtime: Runtime) -> Target:
    """Return the server and model for a command; first start the built-in engine, if wanted.

    Raises an `LMChatError` if the engine does not start, or if no server or model can be used.
    """
    if context.is_local:
        runtime = replace(runtime, settings=await start_engine_without_screen(context, runtime))
    return await runtime.finder().ready_target(note=context.output.note)


async def load_with_progress(
    runtime: Runtime, model: ModelInfo, output: Output, *, window: int | None = None
) -> None:
    """Load a model and show the progress on a terminal until it is loaded.

    `window` is the size of the context window in tokens; by default, the server chooses it.
    """
    lists = runtime.backend.model_lists

    def show() -> None:
        load = lists.load_of(model)
        words = f"lmchat: loading{progress_suffix(load.fraction)} …" if load else ""
        output.show_progress(words)

    lists.on_change = show
    await runtime.backend.load(model, context=window)


async def load_if_needed(runtime: Runtime, model: ModelInfo, output: Output) -> float | None:
    """Load a model that its server reports as not loaded, and return the seconds that this took.

    The server is asked now: another model may have taken the place of this one since `model` was
    listed. A server that cannot load a model on request loads it with the first prompt; the result
    is None then, too.
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
