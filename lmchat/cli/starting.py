"""Puts together what starts model servers of this machine; imported when the welcome page first wants it."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from lmchat.cli.parts import Parts
from lmchat.cli.variables import places_of_variables
from lmchat.domain.candidate import Installed, ServerStart
from lmchat.domain.server import Product
from lmchat.engine.download import install_command, is_engine_installed
from lmchat.machine.programs import StartedProgram, free_port, installed_products, start_program
from lmchat.services.server_launcher import ServerLauncher
from lmchat.threads import apart


def make_launcher(parts: Parts) -> ServerLauncher:
    """Return what the welcome page can start."""

    async def find() -> tuple[Installed, ...]:
        return await apart(lambda: installed(parts))

    async def run(start: ServerStart) -> StartedProgram:
        name = re.sub(r"[^a-z0-9]+", "-", start.product.value.lower())
        log_file = parts.paths.state_dir / f"{name}.log"
        return await start_program(start, log_file=log_file, environ=parts.environ)

    engine_command = "" if is_engine_installed() else install_command()
    return ServerLauncher(find=find, run=run, free_port=free_port, engine_command=engine_command)


def installed(parts: Parts) -> tuple[Installed, ...]:
    """Return what is installed here; touches the disk."""
    from lmchat.proxy.servers.lm_studio import home_folder

    home = lm_studio = None
    with suppress(OSError, RuntimeError):  # no home is known, or it may not be entered
        home, lm_studio = Path.home(), home_folder()
    found = installed_products(parts.environ, home, lm_studio)
    endpoint = places_of_variables(parts.environ).get(Product.OLLAMA)
    return tuple(replace(one, endpoint=endpoint) if one.product is Product.OLLAMA else one for one in found)
