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


@asynccontextmanager
async def open_home(
    context: Context, names: Sequence[str] = ()
) -> AsyncIterator[tuple[Home, list[ModelInfo]]]:
    """Yield `Home` for the block, in which no session is saved, and the models of these names.

    Raises as `home_on` does.
    """
    async with (
        open_runtime(context, is_saved=False) as runtime,
        home_on(context, runtime, names) as opened,
    ):
        yield opened


@asynccontextmanager
async def home_on(
    context: Context, runtime: Runtime, names: Sequence[str] = ()
) -> AsyncIterator[tuple[Home, list[ModelInfo]]]:
    """Without names, the model is that of the command, at the built-in engine if that is wanted.

    Raises an `LMChatError` if the engine does not start, or if nothing can be used, and `WrongUse`
    for an option of the command line that a server is known to ignore.
    """
    layers = sampling_layers(context)
    note = context.output.note
    if names:
        finder = runtime.finder()
        models = await finder.models_named(names, is_exact=True)
    else:
        settings = await start_engine_if_wanted(context, runtime)
        finder = replace(runtime, settings=settings).finder()
        models = [await finder.ready_model(note=note)]
    for model in models:
        layers.refuse_ignored(model.product)
    async with Home.on(setup_of(context), runtime, finder, layers, note) as home:
        yield home, models


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
