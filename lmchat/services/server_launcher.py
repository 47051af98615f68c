"""Start of model servers on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from lmchat.domain.product import Lifetime, Product
from lmchat.domain.program import Installed, ServerStart
from lmchat.domain.server import Candidate, Endpoint, Verdict
from lmchat.errors import LMChatError
from lmchat.files import is_absolute_path
from lmchat.text import safe_line
from lmchat.threads import run_abandonable

_POLL_S = 0.1  # between two checks whether a program has ended
_LINE_CHARS = 160  # of the last line of a program's output, in the message of its error
_STARTABLE = (Verdict.REFUSED, Verdict.SERVER_OFF)
"""Verdicts on an address at which a server can be started."""


class Program(Protocol):
    """Process of a server that was started; `lmchat.machine` has the class."""

    start: ServerStart
    log_file: Path

    @property
    def pid(self) -> int: ...

    @property
    def exit_code(self) -> int | None:
        """None while the process runs."""

    async def last_line(self) -> str:
        """Return the last line of its output."""

    async def end(self) -> None:
        """End the process and its children."""


class ServerLauncher:
    """Starts model servers, one of each product, and ends those that end with lmchat."""

    def __init__(
        self,
        *,
        find: Callable[[], Sequence[Installed]],
        run: Callable[[ServerStart], Program],
        free_port: Callable[[int], int],
        engine_command: str = "",
    ) -> None:
        """Start nothing yet. The functions block; they are called in threads.

        Args:
            find: Finds the installed servers.
            run: Starts a server.
            free_port: Returns a free port, the given one if it is free.
            engine_command: Command that installs the built-in engine; empty if it is installed.
        """
        self._find = find
        self._run = run
        self._free_port = free_port
        self._started: dict[Product, Program] = {}
        self.engine_command = engine_command
        self.installed: tuple[Installed, ...] | None = None
        """Installed servers; None before the first search."""

    async def find_installed(self) -> None:
        """Search this machine for installed servers, and set `installed`."""
        self.installed = tuple(await run_abandonable(self._find))

    @property
    def running(self) -> tuple[Program, ...]:
        """The programs that were started and have not ended."""
        started = self._started.values()
        return tuple(program for program in started if program.exit_code is None)

    async def prepare_with_file(
        self, candidate: Candidate, program: str, file: Path
    ) -> ServerStart:
        """Return how to start llama-server with a model file on this machine; start nothing.

        `program` is the path of llama-server. The port is that of `candidate` if it is free, else
        another free one. The server ends with lmchat.
        """
        port = await asyncio.to_thread(self._free_port, candidate.endpoint.port)
        endpoint = Endpoint(scheme="http", host="127.0.0.1", port=port)
        return ServerStart(
            product=Product.LLAMA_CPP,
            argv=(program, "-m", str(file), "--host", endpoint.host, "--port", str(port)),
            endpoint=endpoint,
            lifetime=Lifetime.TIED,
        )

    async def begin(self, start: ServerStart) -> Program:
        """Start a server and return its program.

        If this launcher has started one of the same product that still runs, return that instead.
        """
        program = self._started.get(start.product)
        if program is None or program.exit_code is not None:
            program = await asyncio.to_thread(self._run, start)
            self._started[start.product] = program
        return program

    async def watch(self, program: Program) -> None:
        """Wait until a started process has ended; raise `LMChatError` if that is a failure.

        It is no failure if `aclose` has ended the process, or if a command that only starts its
        server in the background has ended with the exit code 0.
        """
        while (code := program.exit_code) is None:  # noqa: ASYNC110 - no event on all systems
            await asyncio.sleep(_POLL_S)
        has_failed = code != 0 or program.start.lifetime is not Lifetime.BRIEF
        was_closed = program not in self._started.values()  # `aclose` empties this
        if has_failed and not was_closed:
            raise await _exit_error(program, code)

    async def aclose(self) -> None:
        """End the servers that end with lmchat; the others continue."""
        started = list(self._started.values())
        self._started.clear()
        tied = [program for program in started if program.start.lifetime is Lifetime.TIED]
        await asyncio.gather(*(program.end() for program in tied))


def possible_start(candidate: Candidate, installed: Installed) -> ServerStart | None:
    """Return how to start the installed server of an address.

    None if the address is on another machine or in use, if the program has no absolute path, or if
    no command is known that starts this product.
    """
    lifetime = candidate.product.facts.lifetime
    can_start = (
        is_startable(candidate) and is_absolute_path(installed.program) and bool(installed.start)
    )
    if lifetime is None or not can_start:
        return None
    return ServerStart(
        product=candidate.product,
        argv=installed.start,
        endpoint=candidate.endpoint,
        lifetime=lifetime,
    )


def is_startable(candidate: Candidate) -> bool:
    """Whether a server could be started at this address: it is on this machine and not in use."""
    return candidate.verdict in _STARTABLE and candidate.endpoint.is_loopback


async def _exit_error(program: Program, code: int) -> LMChatError:
    """Return the error for a server that has ended, with the last line of its output."""
    message = f"{safe_line(program.start.short)} ended with exit code {code}"
    last_line = safe_line(await program.last_line(), limit=_LINE_CHARS).rstrip(".")
    if last_line:
        message += f": {last_line}"
    return LMChatError(
        f"{message}.",
        hint=f"Its output: {safe_line(str(program.log_file))}",
        kind="program",
    )
