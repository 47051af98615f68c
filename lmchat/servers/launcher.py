"""Installed model servers, and the commands that start them."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePath

from msgspec import Struct

from lmchat.errors import LMChatError
from lmchat.files.disk import begin_log
from lmchat.processes.child import start_in_background
from lmchat.processes.environment import environment_for_others, find_program
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.status import ServerStatus
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.products import PRODUCTS


class ServerStart(Struct, frozen=True, kw_only=True):
    """A command line that starts a server; run without a shell."""

    product: str
    argv: tuple[str, ...]  # path of the program, then its arguments
    endpoint: Endpoint  # where the server is expected to answer

    @property
    def command(self) -> str:
        return shlex.join(self.argv)

    @property
    def short(self) -> str:
        """The command line without the folder of the program: `lms server start`."""
        return " ".join((PurePath(self.argv[0]).name, *self.argv[1:]))


class Installed(Struct, frozen=True, kw_only=True):
    """A model server that is installed on this machine."""

    product: str
    start: tuple[str, ...] = ()  # `argv` that starts the server; empty: lmchat cannot start it
    start_words: str = ""  # how a person starts it: a command, or where to click


class ServerLauncher(Struct, frozen=True, kw_only=True):
    """Functions that find and start the model servers of this machine."""

    find: Callable[[], Sequence[Installed]]
    """Finds the installed servers; it blocks."""
    start: Callable[[ServerStart], Awaitable[ServerStatus]]
    """Starts a server and waits until it answers; raises `LMChatError`."""
    install_command: str = ""
    """Command that installs the built-in engine; empty if it is installed."""


START_S = 60.0  # time for a server to answer after its start
_POLL_S = 0.2  # between two checks whether a started server answers
_started: list[subprocess.Popen[bytes]] = []  # servers that may still run


def installed_products(environ: Mapping[str, str], home: Path) -> tuple[Installed, ...]:
    """Return the products whose program or folder exists, in the order of `PRODUCTS`.

    lmchat can start a product (`Installed.start`) only if its program exists and needs no further
    choices, such as a model. `start_words` tell the user how to start any of them.
    """
    installed: list[Installed] = []
    for product in PRODUCTS:
        if not product.program:  # it is not known how to find the product
            continue
        install_folders = product.install_folders(home)  # which may hold the program, in `bin`
        search_path = [environ.get("PATH") or os.defpath]
        search_path += [str(folder / "bin") for folder in install_folders]
        program = find_program(product.program, os.pathsep.join(search_path))
        # an absolute name replaces `home`
        folders = install_folders + [home / name for name in product.folders]
        # `Path.is_dir` would raise an error where a folder above may not be entered
        is_installed = bool(program) or any(map(os.path.isdir, folders))
        if not is_installed:
            continue
        start: tuple[str, ...] = ()
        start_words = product.start_step  # a command, or where to click
        if program and product.start_arguments:  # there are none if the user has to choose
            start = (program, *product.start_arguments.split())
            start_words = f"{product.program} {product.start_arguments}"
        installed.append(Installed(product=product.name, start=start, start_words=start_words))
    return tuple(installed)


async def start_server(
    start: ServerStart,
    *,
    log_folder: Path,
    environ: Mapping[str, str],
    check: Callable[[Endpoint], Awaitable[ServerStatus]],
    limit_s: float = START_S,
) -> ServerStatus:
    """Start a server in the background, wait until it answers, and return what `check` found.

    The output of the server goes to a file of its own in `log_folder`. The server continues when
    lmchat ends. Raises `LMChatError` if it cannot be run, ends with an error, or does not answer
    within `limit_s`.
    """
    name = safe_line(start.short)
    log_file = log_folder / f"{start.product.lower().replace(' ', '-')}.log"
    try:
        process = await asyncio.to_thread(_start, start, log_file, environ)
    except OSError as error:
        message = f"{name} cannot be started: {error.strerror or error}."
        hint = f"Start it yourself with: {start.command}"
        raise LMChatError(message, hint=hint, kind="program") from error
    _started.append(process)  # without a reference to it, Python warns that it still runs
    with suppress(TimeoutError):
        async with asyncio.timeout(limit_s):
            # `lms server start` ends with the exit code 0 when it has started the server
            while not process.poll():
                server = await check(start.endpoint)
                if server.is_model_server:
                    return server
                await asyncio.sleep(_POLL_S)
    code = process.poll()
    problem = f"ended with exit code {code}" if code else "does not answer"
    hint = f"Its output: {safe_line(str(log_file))}"
    raise LMChatError(f"{name} {problem}.", hint=hint, kind="program")


def _start(
    start: ServerStart, log_file: Path, environ: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Run the command in the background, with its output in a new log file. Raises `OSError`."""
    log = begin_log(log_file)
    try:
        return start_in_background(
            start.argv,
            environment=environment_for_others(environ),
            # not in the current folder, which may hold settings or code that it would use
            folder=log_file.parent,
            output=log,
        )
    finally:
        os.close(log)  # the server has its own copy
