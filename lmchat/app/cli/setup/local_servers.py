"""The built-in engine, as commands start it. On the screen, `ServerSearch` starts it."""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace

from lmchat.api.runtime import Runtime
from lmchat.app.cli.context import Context, confirmed
from lmchat.app.terminal.output import can_ask
from lmchat.base.errors import WrongUse
from lmchat.base.safe_text import safe_line
from lmchat.base.units import breakable
from lmchat.core.config.settings import Settings

_BYTES_PER_MB = 1_000_000


async def model_for_engine(context: Context, runtime: Runtime) -> str | None:
    """Return the model for the built-in engine, "" for its own choice; None if it is not wanted.

    A server that lists the path of a file as a name has the model.
    """
    model = context.local_model
    if context.options.local or not model:
        return model if context.options.local else None
    servers = await runtime.finder().search()
    is_listed = any(model in row.names for server in servers for row in server.models)
    return None if is_listed else model


async def start_engine_if_wanted(context: Context, runtime: Runtime) -> Settings:
    """Return the settings, with address and model of the built-in engine if it was wanted.

    The model is that of `-m`, else of `[local]`, else the engine chooses. If the disk has none, the
    demo model is downloaded, which the user has to confirm. Raises `EngineUnavailable`, and
    `WrongUse` if the download was not confirmed.
    """
    model_name = await model_for_engine(context, runtime)
    if model_name is None:
        return runtime.settings
    engine = runtime.engine
    output = context.output
    named = model_name or runtime.settings.local.model
    agrees = partial(_ask_to_download, context)
    if await engine.has_to_download(named):
        show = output.show_progress
        path = await runtime.backend.models.download_file(
            engine,
            named,
            lambda text: agrees(breakable(f"The model can be downloaded: {text}.")),
            lambda done: show(f"lmchat: {done.text}"),
        )
        show("")
        named = str(path)
    model = await engine.choose(named)
    if model is None:
        demo = engine.demo
        size = f"{demo.download_bytes / _BYTES_PER_MB:.0f} MB"
        text = (
            f"A demo model, only for trying lmchat, can be downloaded: {demo.name}, {size}, "
            f"{demo.licence}, into {engine.folder}. -m FILE takes any other."
        )
        await agrees(text)
        output.note("Downloading the demo model …")
        model = await engine.fetch(output.show_progress)
        output.show_progress("")
    if can_ask():  # a large file takes minutes
        context.note(f"starting {safe_line(model.name)} …")
    endpoint = await engine.start(model)
    return replace(runtime.settings, endpoint=endpoint.url, model=model.name)


async def _ask_to_download(context: Context, text: str) -> bool:
    """Raise `WrongUse` if the user does not agree."""
    if can_ask():  # else `confirmed` has these words
        context.output.note(text)
    if not await confirmed(context, "Download it?", text):
        raise WrongUse("There is no model.", next_step="Name a file with -m FILE.gguf.")
    return True
