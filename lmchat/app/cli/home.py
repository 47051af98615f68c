"""The Python API as a command uses it: `Home` for the options of a run, and its models."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from msgspec.structs import replace

from lmchat.api import Home, ModelInfo
from lmchat.api.runtime import Runtime
from lmchat.app.cli.context import Context
from lmchat.app.cli.read_prompt import sampling_layers
from lmchat.app.cli.setup.local_servers import start_engine_if_wanted
from lmchat.app.cli.setup.wiring import open_runtime, setup_of
from lmchat.app.terminal.output import Output
from lmchat.base.units import progress_suffix
from lmchat.core.servers.discovery.finder import ServerFinder


@asynccontextmanager
async def open_home(
    context: Context, names: Sequence[str] = ()
) -> AsyncIterator[tuple[Home, list[ModelInfo]]]:
    """Yield `Home` for the block, in which no session is saved, and the models of these names.

    Without names, the model is that of the command, at the built-in engine if that is wanted.
    Raises an `LMChatError` if the engine does not start, or if nothing can be used, and `WrongUse`
    for an option of the command line that a server is known to ignore.
    """
    layers = sampling_layers(context)
    async with open_runtime(context, is_saved=False) as runtime:
        if names:
            finder = runtime.finder()
            models = await finder.models_named(names, is_exact=True)
        else:
            finder = await finder_of_command(context, runtime)
            models = [await finder.ready_model(note=context.output.note)]
        for model in models:
            layers.refuse_ignored(model.product)
        yield Home.on(setup_of(context), runtime, finder), models


async def finder_of_command(context: Context, runtime: Runtime) -> ServerFinder:
    """Start the built-in engine, if wanted; raise an `LMChatError` if it does not start."""
    settings = await start_engine_if_wanted(context, runtime)
    return replace(runtime, settings=settings).finder()


async def load_shown(
    load: Callable[..., Awaitable[float | None]], model: ModelInfo, output: Output
) -> float | None:
    """Do as `Home.load` does, with the progress on a terminal."""
    try:
        return await load(
            model,
            show=lambda fraction: output.show_progress(
                f"lmchat: loading{progress_suffix(fraction)} …"
            ),
        )
    finally:
        output.show_progress("")
