"""The server and model of a command, and the load of a model."""

from __future__ import annotations

from time import monotonic

from msgspec.structs import replace

from lmchat.api.runtime import Runtime
from lmchat.cli.context import Context
from lmchat.cli.setup.local_servers import start_engine_if_wanted
from lmchat.errors import LMChatError
from lmchat.servers.model import LoadState, ModelInfo, find_model
from lmchat.servers.target import Target
from lmchat.terminal.output import Output
from lmchat.units import progress_suffix


async def target_of_command(context: Context, runtime: Runtime) -> Target:
    """Start the built-in engine, if wanted; choose server and model.

    Raises an `LMChatError` if the engine does not start, or if nothing can be used.
    """
    runtime = replace(runtime, settings=await start_engine_if_wanted(context, runtime))
    return await runtime.finder().ready_target(note=context.output.note)


async def load_with_progress(
    runtime: Runtime, model: ModelInfo, output: Output, *, window: int | None = None
) -> None:
    """Show the progress on a terminal.

    `window` is the context window in tokens; by default, the server chooses it.
    """
    lists = runtime.backend.model_lists

    def show() -> None:
        load = lists.load_of(model)
        text = f"lmchat: loading{progress_suffix(load.fraction)} …" if load else ""
        output.show_progress(text)

    lists.on_change = show
    await runtime.backend.models.load(model, context=window)


async def load_if_needed(runtime: Runtime, model: ModelInfo, output: Output) -> float | None:
    """Load a model that its server reports as not loaded; return the seconds.

    The server is asked now: another model may have taken the place of this one. None if it is
    loaded, or if the server loads it with the first prompt.
    """
    server = await runtime.backend.models.check(model.endpoint)
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
