"""Model servers of this machine: installation, start and listening ports.

Everything that is not async blocks: call it in a thread.
"""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

from lmchat.domain.product import Lifetime, Product
from lmchat.domain.program import Installed, PortHolder, ServerStart
from lmchat.errors import LMChatError
from lmchat.files import begin_log, environment_for_others, find_program
from lmchat.machine.other_programs import lm_studio_folders
from lmchat.machine.process import start_in_background
from lmchat.machine.system import end_program
from lmchat.machine.watchdog import watched

END_S = 4.0  # time for a program to end; more than the watchdog gives it
_LOG_BYTES = 4_000_000  # size at which the log of a server is emptied
_TAIL_BYTES = 4096
_TRIED_PORTS = 32
_SIGNALLED = 128  # added to the number of a signal, as shells do


class StartedProgram:
    """A started server, which may have ended."""

    def __init__(
        self, process: subprocess.Popen[bytes], start: ServerStart, log_file: Path
    ) -> None:
        self._process = process
        self.start = start
        self.log_file = log_file

    @property
    def pid(self) -> int:
        """Process, or the watchdog of a server that ends with lmchat."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """Exit code, 128 + N after signal N; None while it runs."""
        code = self._process.poll()
        if code is None:
            return None
        if self._process.stdin is not None:
            self._process.stdin.close()
        return code if code >= 0 else _SIGNALLED - code

    async def last_line(self) -> str:
        return await asyncio.to_thread(_last_line, self.log_file)

    async def end(self) -> None:
        """End it with its children; kill what ignores that."""
        self._end(is_forced=False)
        with suppress(subprocess.TimeoutExpired):  # it ignores the request
            await asyncio.to_thread(self._process.wait, END_S)
        if self.exit_code is None and self.start.lifetime is not Lifetime.TIED:
            self._end(is_forced=True)
            await asyncio.to_thread(self._process.wait)

    def _end(self, *, is_forced: bool) -> None:
        if self._process.poll() is None:
            end_program(self._process.pid, is_forced=is_forced)


def installed_products(environ: Mapping[str, str], home: Path | None) -> tuple[Installed, ...]:
    """Return the installed products in order of preference, judged by file names.

    The home folder may be unknown.
    """
    found = [_installed(product, environ, home) for product in Product]
    return tuple(installed for installed in found if installed is not None)


def _installed(product: Product, environ: Mapping[str, str], home: Path | None) -> Installed | None:
    """Return a product if its program or one of its folders is there."""
    traces = product.facts.traces
    if traces is None:
        return None
    own_folders: list[Path] = []
    if home and product is Product.LM_STUDIO:
        own_folders = lm_studio_folders(home)
    places = [environ.get("PATH") or os.defpath, *(str(folder / "bin") for folder in own_folders)]
    program = find_program(traces.program, os.pathsep.join(places))
    words = traces.start_words or f"{traces.program} {traces.start}"
    if program:
        start = (program, *traces.start.split()) if traces.start else ()
        return Installed(product=product, program=program, start=start, start_words=words)

    folders = [*own_folders, *(Path(home or "/", name) for name in traces.folders)]
    # unlike Path.is_dir, it does not raise where a folder may not be entered
    if any(map(os.path.isdir, folders)):
        return Installed(product=product, start_words=traces.start_words_app or words)
    return None


def start_program(
    start: ServerStart, *, log_file: Path, environ: Mapping[str, str]
) -> StartedProgram:
    """Start a server in the background, with its output in a file; raises `LMChatError`."""
    try:
        log = begin_log(log_file)
    except OSError as error:
        raise LMChatError(
            f"The log {log_file} cannot be written: {error.strerror or error}.",
            hint=f"Start it yourself with: {start.command}",
            kind="program",
        ) from error
    is_tied = start.lifetime is Lifetime.TIED
    try:
        process = start_in_background(
            watched(start.argv, log_bytes=_LOG_BYTES) if is_tied else start.argv,
            environment=environment_for_others(environ),
            folder=log_file.parent,  # the current folder may hold settings, or code
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
    """Return the first free port from this one on; `first` if there is none."""
    for port in range(first, first + _TRIED_PORTS):
        with socket.socket() as probe, suppress(OSError, OverflowError):  # taken, or above 65535
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    return first


def port_holders(ports: Collection[int]) -> dict[int, PortHolder]:
    """Return the programs that listen at these ports, as far as this user may see."""
    import psutil  # noqa: PLC0415 - 20 ms that only the doctor needs

    holders: dict[int, PortHolder] = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError, RuntimeError):  # of another user, or ended
            holder = PortHolder(program=process.name(), pid=process.pid, user=process.username())
            for connection in process.net_connections("tcp"):
                is_listening = connection.status == psutil.CONN_LISTEN
                if is_listening and connection.laddr[1] in ports:
                    holders[connection.laddr[1]] = holder
    return holders
