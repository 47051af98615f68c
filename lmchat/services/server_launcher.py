"""Start of model servers on this machine."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from lmchat.domain.candidate import Installed, Lifetime, ServerStart
from lmchat.domain.server import Candidate, Endpoint, Product, Verdict
from lmchat.errors import LMChatError
from lmchat.files import is_runnable
from lmchat.text import safe_line
from lmchat.threads import apart

_LOOK_S = 0.1
_LINE_CHARS = 160
_LIFETIMES: Mapping[Product, Lifetime] = {
    Product.LM_STUDIO: Lifetime.BRIEF,
    Product.OLLAMA: Lifetime.FREE,
}
"""Servers that are started without a model file; others end with lmchat."""
_STARTABLE = (Verdict.REFUSED, Verdict.SERVER_OFF)


class Program(Protocol):
    """A started program, as `lmchat.machine` has it."""

    log_file: Path

    @property
    def pid(self) -> int: ...
    @property
    def exit_code(self) -> int | None: ...
    async def last_line(self) -> str: ...
    async def end(self) -> None: ...


class Run(Struct, frozen=True, kw_only=True):
    """A server that was started."""

    start: ServerStart
    program: Program
    began_s: float


class ServerLauncher:
    """Launcher of servers; ends those that end with lmchat."""

    def __init__(
        self,
        *,
        find: Callable[[], Sequence[Installed]],
        run: Callable[[ServerStart], Program],
        free_port: Callable[[int], int],
        engine_command: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`find`, `run` and `free_port` block; they are called in threads.

        `engine_command` installs the built-in engine; empty where it is installed.
        """
        self._find, self._run, self._free_port = find, run, free_port
        self._clock = clock
        self._runs: dict[Product, Run] = {}
        self.engine_command = engine_command
        self.installed: tuple[Installed, ...] | None = None
        """Installed servers; None before the first look."""

    async def look(self) -> None:
        self.installed = tuple(await apart(self._find))

    @property
    def running(self) -> tuple[Run, ...]:
        return tuple(run for run in self._runs.values() if run.program.exit_code is None)

    def elapsed_s(self, run: Run) -> float:
        return self._clock() - run.began_s

    async def with_file(self, candidate: Candidate, program: str, file: Path) -> ServerStart:
        port = await asyncio.to_thread(self._free_port, candidate.endpoint.port)
        endpoint = Endpoint(scheme="http", host="127.0.0.1", port=port)
        return ServerStart(
            product=Product.LLAMA_CPP,
            argv=(program, "-m", str(file), "--host", endpoint.host, "--port", str(port)),
            endpoint=endpoint,
            lifetime=Lifetime.TIED,
        )

    async def begin(self, start: ServerStart) -> Run:
        before = self._runs.get(start.product)
        if before is not None and before.program.exit_code is None:
            return before
        run = Run(start=start, program=await asyncio.to_thread(self._run, start), began_s=self._clock())
        self._runs[start.product] = run
        return run

    async def watch(self, run: Run) -> None:
        """Return when a command has ended well or was ended by the user; else raise `LMChatError`."""
        while (code := run.program.exit_code) is None:  # noqa: ASYNC110 - nothing tells it on every system
            await asyncio.sleep(_LOOK_S)
        if self._runs.get(run.start.product) is not run:
            return
        del self._runs[run.start.product]
        if code != 0 or run.start.lifetime is not Lifetime.BRIEF:
            raise await _failure(run, code)

    async def end(self, run: Run) -> None:
        if self._runs.get(run.start.product) is run:
            del self._runs[run.start.product]
        await run.program.end()

    async def aclose(self) -> None:
        runs, self._runs = list(self._runs.values()), {}
        tied = (run.program for run in runs if run.start.lifetime is Lifetime.TIED)
        await asyncio.gather(*(program.end() for program in tied))


def start_of(candidate: Candidate, installed: Installed) -> ServerStart | None:
    """Return how to start a server that was not found running; None where lmchat cannot start it."""
    lifetime = _LIFETIMES.get(candidate.product)
    can_start = is_startable(candidate) and is_runnable(installed.program) and bool(installed.start)
    if lifetime is None or not can_start:
        return None
    endpoint = installed.endpoint or candidate.endpoint
    return ServerStart(product=candidate.product, argv=installed.start, endpoint=endpoint, lifetime=lifetime)


def is_startable(candidate: Candidate) -> bool:
    """Whether it is an address of this machine at which nothing answers."""
    return candidate.verdict in _STARTABLE and candidate.endpoint.is_loopback


async def _failure(run: Run, code: int) -> LMChatError:
    line = safe_line(await run.program.last_line(), limit=_LINE_CHARS).rstrip(".")
    return LMChatError(
        f"{safe_line(run.start.short)} ended with exit code {code}{f': {line}' if line else ''}.",
        hint=f"Its output: {safe_line(str(run.program.log_file))}",
        kind="program",
    )
