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
_LINE_CHARS = 160
_STARTABLE = (Verdict.REFUSED, Verdict.SERVER_OFF)


class Program(Protocol):
    """A server that was started, as `lmchat.machine` has it."""

    start: ServerStart
    log_file: Path

    @property
    def pid(self) -> int: ...
    @property
    def exit_code(self) -> int | None: ...
    async def last_line(self) -> str: ...
    async def end(self) -> None: ...


class ServerLauncher:
    """Launcher of servers; ends those that end with lmchat."""

    def __init__(
        self,
        *,
        find: Callable[[], Sequence[Installed]],
        run: Callable[[ServerStart], Program],
        free_port: Callable[[int], int],
        engine_command: str = "",
    ) -> None:
        """`find`, `run` and `free_port` block; they are called in threads.

        `engine_command` installs the built-in engine; empty where it is installed.
        """
        self._find = find
        self._run = run
        self._free_port = free_port
        self._started: dict[Product, Program] = {}
        self.engine_command = engine_command
        self.installed: tuple[Installed, ...] | None = (
            None  # installed servers; None before the first search
        )

    async def find_installed(self) -> None:
        """Find the installed servers."""
        self.installed = tuple(await run_abandonable(self._find))

    @property
    def running(self) -> tuple[Program, ...]:
        started = self._started.values()
        return tuple(program for program in started if program.exit_code is None)

    async def with_file(self, candidate: Candidate, program: str, file: Path) -> ServerStart:
        port = await asyncio.to_thread(self._free_port, candidate.endpoint.port)
        endpoint = Endpoint(scheme="http", host="127.0.0.1", port=port)
        return ServerStart(
            product=Product.LLAMA_CPP,
            argv=(program, "-m", str(file), "--host", endpoint.host, "--port", str(port)),
            endpoint=endpoint,
            lifetime=Lifetime.TIED,
        )

    async def begin(self, start: ServerStart) -> Program:
        """Start a server, unless one of its product runs already."""
        program = self._started.get(start.product)
        if program is None or program.exit_code is not None:
            program = self._started[start.product] = await asyncio.to_thread(self._run, start)
        return program

    async def watch(self, program: Program) -> None:
        """Return when a command has ended well; raise `LMChatError` where a server has ended."""
        while (code := program.exit_code) is None:  # noqa: ASYNC110 - no event on all systems
            await asyncio.sleep(_POLL_S)
        has_failed = code != 0 or program.start.lifetime is not Lifetime.BRIEF
        if has_failed and program in self._started.values():  # else it was let go
            raise await _failure(program, code)

    async def aclose(self) -> None:
        started = list(self._started.values())
        self._started.clear()
        tied = [program for program in started if program.start.lifetime is Lifetime.TIED]
        await asyncio.gather(*(program.end() for program in tied))


def start_of(candidate: Candidate, installed: Installed) -> ServerStart | None:
    """Return how to start a server that does not run; None if lmchat cannot start it."""
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
    """Whether it is an address of this machine at which nothing answers."""
    return candidate.verdict in _STARTABLE and candidate.endpoint.is_loopback


async def _failure(program: Program, code: int) -> LMChatError:
    message = f"{safe_line(program.start.short)} ended with exit code {code}"
    if line := safe_line(await program.last_line(), limit=_LINE_CHARS).rstrip("."):
        message += f": {line}"
    return LMChatError(
        f"{message}.",
        hint=f"Its output: {safe_line(str(program.log_file))}",
        kind="program",
    )
