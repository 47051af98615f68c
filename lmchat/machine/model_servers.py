"""Model servers of this machine: installation, start and listening ports.

A server whose `lifetime` is `TIED` ends with lmchat; others keep running. Every function that is
not async blocks: call it in a thread.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lmchat.domain.product import Lifetime, Product, Traces
from lmchat.domain.program import Installed, ServerStart
from lmchat.errors import LMChatError
from lmchat.files import begin_log, environment_for_others, find_program
from lmchat.machine.other_programs import lm_studio_folders
from lmchat.machine.process import start_in_background
from lmchat.machine.system import end_program
from lmchat.machine.watchdog import watched

END_S = 4.0  # time for a program to end; more than the watchdog gives it
_LOG_BYTES = 4_000_000  # size at which the log of a server is emptied
_TAIL_BYTES = 4096  # of a log, in which its last line is looked for
_TRIED_PORTS = 32
_SIGNAL_BASE = 128  # exit code of a program that a signal ended, minus its number, as in shells


class StartedProgram:
    """Server that lmchat has started, and that may have ended since."""

    def __init__(
        self, process: subprocess.Popen[bytes], start: ServerStart, log_file: Path
    ) -> None:
        self._process = process
        self.start = start
        self.log_file = log_file

    @property
    def pid(self) -> int:
        """Process id of the server, or of the watchdog of a server that ends with lmchat."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code of the server, 128 + N if signal N has ended it; None while it runs.

        When the server has ended, this also closes the pipe to its watchdog, if it has one.
        """
        code = self._process.poll()
        if code is None:
            return None
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code if code >= 0 else _SIGNAL_BASE - code  # Python returns -N after signal N

    async def last_line(self) -> str:
        """Return the last line of the log that is not blank; empty if none exists."""
        return await asyncio.to_thread(_last_line, self.log_file)

    async def end(self) -> None:
        """Ask the server and its children to end; kill them if it has not ended after `END_S`.

        The second step is not for a tied server: its watchdog kills it.
        """
        self._end(is_forced=False)
        with suppress(subprocess.TimeoutExpired):  # it ignores the request
            await asyncio.to_thread(self._process.wait, END_S)
        if self.exit_code is None and self.start.lifetime is not Lifetime.TIED:
            self._end(is_forced=True)
            await asyncio.to_thread(self._process.wait)

    def _end(self, *, is_forced: bool) -> None:
        """Ask the server and its children to end, or kill them with `is_forced`.

        Does nothing if the server has ended: another process may have its id by then.
        """
        if self._process.poll() is None:
            end_program(self._process.pid, is_forced=is_forced)


def installed_products(environ: Mapping[str, str], home: Path | None) -> tuple[Installed, ...]:
    """Return the products whose program or folder exists, in the order of `Product`.

    `home` is None if the home folder is unknown.
    """
    products = [_installed(product, environ, home) for product in Product]
    return tuple(product for product in products if product is not None)


def _installed(product: Product, environ: Mapping[str, str], home: Path | None) -> Installed | None:
    """Return how to start a product; None if neither its program nor a folder of it exists.

    The result always has `start_words`, which tell the user how to start it. It has the command
    `start`, which lmchat can run, only if the program exists and needs no further choices.
    """
    traces = product.facts.traces
    if traces is None:  # it is not known how to find the product
        return None
    own_folders: list[Path] = []  # besides those in `traces`: users can move LM Studio's folder
    if home and product is Product.LM_STUDIO:
        own_folders = lm_studio_folders(home)
    words = traces.start_words or f"{traces.program} {traces.start}"
    program = _program_of(traces, own_folders, environ)
    if program:
        start = (program, *traces.start.split()) if traces.start else ()
        return Installed(product=product, program=program, start=start, start_words=words)
    if _has_folder(traces, own_folders, home):
        return Installed(product=product, start_words=traces.start_words_app or words)
    return None


def _program_of(traces: Traces, own_folders: list[Path], environ: Mapping[str, str]) -> str:
    """Return the path of a product's program, from `PATH` or a folder `bin` of its own folders.

    Return an empty text if it is not found.
    """
    search_path = [environ.get("PATH") or os.defpath]
    search_path += [str(folder / "bin") for folder in own_folders]
    return find_program(traces.program, os.pathsep.join(search_path))


def _has_folder(traces: Traces, own_folders: list[Path], home: Path | None) -> bool:
    """Return whether one of a product's folders exists."""
    # An absolute name replaces the home folder in `Path`. Without a home folder, the other names
    # lead to folders below `/` that do not exist.
    folders = [*own_folders, *(Path(home or "/", name) for name in traces.folders)]
    # Path.is_dir would raise an error where a folder above may not be entered
    return any(map(os.path.isdir, folders))


def start_program(
    start: ServerStart, *, log_file: Path, environ: Mapping[str, str]
) -> StartedProgram:
    """Start a server in the background, with its output in `log_file`; raises `LMChatError`.

    A tied server runs under a watchdog, which ends the server when this process ends.
    """
    try:
        log = begin_log(log_file)
    except OSError as error:
        raise LMChatError(
            f"The log {log_file} cannot be written: {error.strerror or error}.",
            hint=f"Start it yourself with: {start.command}",
            kind="program",
        ) from error
    is_tied = start.lifetime is Lifetime.TIED
    argv = watched(start.argv, log_bytes=_LOG_BYTES) if is_tied else start.argv
    try:
        process = start_in_background(
            argv,
            environment=environment_for_others(environ),
            # not in the current folder, which may hold settings or code that it would use
            folder=log_file.parent,
            output=log,
            has_input=is_tied,
        )
    except OSError as error:
        raise LMChatError(
            f"{start.argv[0]} cannot be run: {error.strerror or error}.",
            hint="Check its installation.",
            kind="program",
        ) from error
    finally:
        os.close(log)
    return StartedProgram(process, start, log_file)


def _last_line(path: Path) -> str:
    """Return the last line that is not blank in the last `_TAIL_BYTES` of a log.

    Return an empty text if there is no such line, or if the log cannot be read.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").split("\n")
    except OSError:  # the log was removed
        return ""
    for line in reversed(lines):
        if line.strip():
            return line.strip()
    return ""


def free_port(first: int) -> int:
    """Return the first of `_TRIED_PORTS` ports from `first` on at which a server can listen.

    Only 127.0.0.1 is tried. Return `first` if all these ports are in use.
    """
    for port in range(first, first + _TRIED_PORTS):
        with socket.socket() as probe, suppress(OSError, OverflowError):  # in use, or above 65535
            # a port counts as free while only closed connections of an earlier server are left
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    return first
