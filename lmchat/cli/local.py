"""Local servers started by lmchat: the built-in engine and installed programs."""

from __future__ import annotations

import re
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.output import table
from lmchat.cli.questions import can_ask, consents
from lmchat.cli.wiring import Runtime, make_engine
from lmchat.config.settings import Settings
from lmchat.domain.engine import FetchProgress, ModelFile
from lmchat.domain.program import Installed, ServerStart
from lmchat.engine.download import install_command, is_engine_installed
from lmchat.errors import WrongUse
from lmchat.machine.model_servers import (
    StartedProgram,
    free_port,
    installed_products,
    start_program,
)
from lmchat.services.ports import Engine
from lmchat.services.server_launcher import ServerLauncher

_BYTES_PER_MB = 1_000_000
_JSON_FIELDS = (
    "path",
    "source",
    "quantization",
    "architecture",
    "context_max",
    "size_bytes",
    "parts",
)
"""Fields of a model file that `--json` prints as they are."""


async def serve(context: Context, runtime: Runtime) -> Settings:
    """Start the built-in engine and return settings with its address.

    Raises `EngineUnavailable` if it cannot start, `WrongUse` if a download was not confirmed.
    """
    engine = await runtime.engine.ready()
    model = await engine.choose(context.local_model or runtime.settings.local.model)
    if model is None:
        model = await _download(context, engine)
    if words := await engine.warning(model):
        context.output.note(f"lmchat: {words}")
    endpoint = await engine.start(model)
    return replace(runtime.settings, endpoint=endpoint.url, model=model.name)


async def list_files(context: Context) -> int:
    """Print the model files of this disk, as `-m` takes them."""
    files = await make_engine(context, context.settings).files()
    empty = "There is no model file on this disk; `lmchat --local` offers to download a small one."
    return context.output.listing(
        [_file_json(file) for file in files],
        lambda: _table(files),
        empty,
    )


def _file_json(file: ModelFile) -> dict[str, object]:
    fields = {name: getattr(file, name) or None for name in _JSON_FIELDS}
    return {"id": file.name, "object": "model", **fields}


async def _download(context: Context, engine: Engine) -> ModelFile:
    """Download the demo model, after confirmation."""
    output = context.output
    await engine.check()
    offer = await engine.offer()
    size = f"{_megabytes(offer.download_bytes)} MB"
    about = f"{offer.name}, {size}, {offer.licence}, into {offer.folder}"
    reason = "There is no model on this disk"
    is_wanted = context.options.yes
    if not is_wanted and can_ask():
        output.note(f"{reason}. A demo model, only for trying lmchat:", f"{about}.")
        is_wanted = await consents("Download it?")
    if not is_wanted:
        hint = "Confirm with --yes, or name a file with -m FILE.gguf."
        raise WrongUse(f"{reason}; you can download one: {about}.", hint=hint)

    def show(progress: FetchProgress) -> None:
        done, total = _megabytes(progress.done_bytes), _megabytes(progress.total_bytes)
        output.live(f"{done} of {total} MB, {progress.fraction:.0%}")

    output.note("Downloading the demo model …")
    try:
        return await engine.fetch(show)
    finally:
        output.live("")


def _megabytes(size_bytes: int) -> int:
    return round(size_bytes / _BYTES_PER_MB)


def _table(files: tuple[ModelFile, ...]) -> list[str]:
    from lmchat.tui import formatting

    rows = [
        (
            file.name,
            file.quantization,
            formatting.window(file.context_max),
            formatting.size(file.size_bytes).replace(formatting.GAP, " "),
            file.source,
            str(file.path),
        )
        for file in files
    ]
    return table(("MODEL", "QUANT", "CONTEXT", "SIZE", "OF", "FILE"), rows)


def make_launcher(context: Context) -> ServerLauncher:
    """Return the launcher for the welcome page."""

    def run(start: ServerStart) -> StartedProgram:
        name = re.sub(r"[^a-z0-9]+", "-", start.product.value.lower())
        log_file = context.paths.state_dir / f"{name}.log"
        return start_program(start, log_file=log_file, environ=context.environ_of_programs)

    engine_command = "" if is_engine_installed() else install_command()
    return ServerLauncher(
        find=partial(installed, context),
        run=run,
        free_port=free_port,
        engine_command=engine_command,
    )


def installed(context: Context) -> tuple[Installed, ...]:
    """Return the installed products; reads the disk."""
    home = None
    with suppress(RuntimeError):  # no home is known
        home = Path.home()
    return installed_products(context.environ, home)
