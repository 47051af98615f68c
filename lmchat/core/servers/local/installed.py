"""Installed model servers, the built-in engine among them, and how they are started."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path, PurePath
from typing import TypeVar

from msgspec import Struct

from lmchat.base.errors import EngineUnavailable, LMChatError
from lmchat.base.extras import install_command
from lmchat.base.files.disk import start_log
from lmchat.base.processes.child import start_in_background
from lmchat.base.processes.environment import command_line, environment_for_others, find_program
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.products import PRODUCTS

_Answer = TypeVar("_Answer")


class ServerStart(Struct, frozen=True, kw_only=True):
    """Command line that starts a server; run without a shell."""

    product: str
    argv: tuple[str, ...]  # path of the program, arguments
    endpoint: Endpoint  # where it is expected

    @property
    def command(self) -> str:
        return command_line(self.argv)

    @property
    def short(self) -> str:
        """Without the folder of the program: `lms server start`."""
        return " ".join((PurePath(self.argv[0]).name, *self.argv[1:]))


class Installed(Struct, frozen=True, kw_only=True):
    """Model server that is installed on this machine."""

    product: str
    start: tuple[str, ...] = ()  # empty: lmchat cannot start it
    how_to_start: str = ""  # how a person starts it: a command, or where to click


class ServerLauncher(Struct, frozen=True, kw_only=True):
    """Functions that find and start the model servers of this machine."""

    find: Callable[[], Sequence[Installed]]
    """Blocks."""
    start: Callable[[ServerStart], Awaitable[ServerStatus]]
    """Returns when it answers; raises `LMChatError`."""
    install_command: Callable[[], str] = str
    """Returns how to install the built-in engine, "" if it is there; blocks."""


START_S = 60.0
_POLL_S = 0.1
_ENGINE_CHILD = Path(__file__).with_name("engine_child.py")
_started: list[subprocess.Popen[bytes]] = []  # servers that may still run


def engine_command(environ: Mapping[str, str]) -> list[str]:
    """Return the command of the child; [] if no engine is installed.

    The package comes before a `llama-server` of `PATH`, whose version is not known.
    """
    # `-P`: not from the current folder
    command = [sys.executable, "-P", str(_ENGINE_CHILD)]
    if _package_file():
        return command
    program = engine_file(environ)
    return [*command, program] if program else []


def engine_file(environ: Mapping[str, str]) -> str:
    """Return a file that changes with the version of the engine, or ""."""
    return _package_file() or find_program("llama-server", environ.get("PATH", os.defpath))


def _package_file() -> str:
    package = importlib.util.find_spec("xllamacpp")
    return (package.origin or "") if package is not None else ""


def not_installed_error() -> EngineUnavailable:
    return EngineUnavailable(
        "The built-in engine is not installed.",
        next_step=f"Install it: `{install_command('local')}`; an installed `llama-server` will do, "
        "too.",
        kind="not_installed",
    )


def installed_products(environ: Mapping[str, str], home: Path) -> tuple[Installed, ...]:
    """Return products whose program or folder exists, in the order of `PRODUCTS`.

    lmchat can start one (`Installed.start`) only if its program exists and needs no further
    choices, such as a model.
    """
    installed: list[Installed] = []
    for product in PRODUCTS:
        if not product.program.name:  # not known how to find it
            continue
        install_folders = product.program.install_folders(
            home
        )  # which may hold the program, in `bin`
        search_path = [environ.get("PATH") or os.defpath]
        search_path += [str(folder / "bin") for folder in install_folders]
        program = find_program(product.program.name, os.pathsep.join(search_path))
        # an absolute name replaces `home`
        folders = install_folders + [home / name for name in product.program.folders]
        # `Path.is_dir` raises where a folder above may not be entered
        is_installed = bool(program) or any(map(os.path.isdir, folders))
        if not is_installed:
            continue
        start: tuple[str, ...] = ()
        how_to_start = product.step("start")
        if program and product.program.arguments:
            start = (program, *product.program.arguments.split())
            how_to_start = f"{product.program.name} {product.program.arguments}"
        installed.append(Installed(product=product.name, start=start, how_to_start=how_to_start))
    return tuple(installed)


@asynccontextmanager
async def new_log(path: Path) -> AsyncIterator[int]:
    """Yield the descriptor of a new log; raise `OSError`."""
    log = await asyncio.to_thread(start_log, path)
    try:
        yield log
    finally:
        os.close(log)  # the program has its own copy


async def first_answer(
    ask: Callable[[], Awaitable[_Answer | None]], has_ended: Callable[[], bool]
) -> _Answer | None:
    """Return None if the server has ended before it answers."""
    while not has_ended():
        answer = await ask()
        if answer is not None:
            return answer
        await asyncio.sleep(_POLL_S)
    return None


async def start_server(
    start: ServerStart,
    *,
    log_folder: Path,
    environ: Mapping[str, str],
    check: Callable[[Endpoint], Awaitable[ServerStatus]],
    limit_s: float = START_S,
) -> ServerStatus:
    """Start a server, wait until it answers, and return what `check` found.

    Its output goes to a file in `log_folder`, and it continues when lmchat ends. Raises
    `LMChatError`, also if it does not answer within `limit_s`.
    """
    name = safe_line(start.short)
    log_file = log_folder / f"{start.product.lower().replace(' ', '-')}.log"
    try:
        async with new_log(log_file) as log:
            process = await asyncio.to_thread(
                start_in_background,
                start.argv,
                environment=environment_for_others(environ),
                # the current folder may hold settings or code that it would use
                folder=log_folder,
                output=log,
            )
    except OSError as error:
        raise LMChatError(
            f"{name} cannot be started: {error.strerror or error}.",
            next_step=f"Start it yourself with: {start.command}",
            kind="program",
        ) from error
    _started.append(process)  # without a reference to it, Python warns that it still runs

    async def ask() -> ServerStatus | None:
        server = await check(start.endpoint)
        return server if server.is_model_server else None

    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            # `lms server start` ends with the exit code 0 when it has started the server
            server = await first_answer(ask, has_ended=lambda: bool(process.poll()))
            if server is not None:
                return server
    code = process.poll()
    problem = f"ended with exit code {code}" if code else "does not answer"
    raise LMChatError(
        f"{name} {problem}.", next_step=f"Its output: {safe_line(str(log_file))}", kind="program"
    )
