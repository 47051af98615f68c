"""The server and model of a command, and the load of a model."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from lmchat.api.runtime import Runtime
from lmchat.cli.context import Context
from lmchat.cli.setup.local_servers import start_engine_if_wanted
from lmchat.servers.model import ModelInfo
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
    try:
        await runtime.load(model, context=window, show=partial(_show_load, output))
    finally:
        output.show_progress("")


async def load_if_needed(runtime: Runtime, model: ModelInfo, output: Output) -> float | None:
    """Do as `Runtime.load_if_needed` does, with the progress on a terminal."""
    try:
        return await runtime.load_if_needed(model, show=partial(_show_load, output))
    finally:
        output.show_progress("")


def _show_load(output: Output, fraction: float | None) -> None:
    output.show_progress(f"lmchat: loading{progress_suffix(fraction)} …")
