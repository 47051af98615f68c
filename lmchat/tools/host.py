"""Parent's side of the tool host: the child process, its restarts, and calls with a time limit."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.config.settings import FUNCTIONS, McpSettings
from lmchat.domain.tool import ServerState, Tool, ToolResult, ToolServer, with_wire_names
from lmchat.errors import LMChatError
from lmchat.files import begin_log, environment_for_others
from lmchat.machine.system import end_program

_LINE_BYTES = 16 << 20  # largest message between parent and child
_ROOT = str(Path(__file__).parents[2])
_CHILD = "import sys; sys.path.append(sys.argv[1]); from lmchat.tools.child import main; main()"
_END_S = 3.0


class Orders(Struct, frozen=True, kw_only=True):
    """First line of the parent: what to run."""

    servers: tuple[McpSettings, ...] = ()  # with the values of their headers in `headers_env`
    functions: str = ""  # file
    log: str = ""  # file, named in errors


class Order(Struct, frozen=True, kw_only=True):
    """Call of a tool, or its end. Without a server: start all servers, also failed ones if `again`."""

    number: int
    server: str = ""
    tool: str = ""
    arguments: dict[str, Any] = {}
    again: bool = False
    is_cancelled: bool = False


class ToolReport(Struct, frozen=True, kw_only=True):
    """Result of an order, or change of a server."""

    number: int = 0
    result: ToolResult | None = None
    server: ToolServer | None = None


class McpHost:
    """Tool host: MCP servers and the functions of a file, in a child process."""

    def __init__(
        self,
        servers: tuple[McpSettings, ...],
        *,
        functions: Path,
        log_file: Path,
        environ: Mapping[str, str],
        check_address: Callable[[str], None],
    ) -> None:
        self._settings = tuple(server for server in servers if server.enabled)
        self._functions = functions
        self._log_file = log_file
        self._environ = environ
        self._check_address = check_address  # raises `LMChatError`
        self._starting = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._stdin: Any = None  # of the process
        self._reader: asyncio.Task[None] | None = None
        self._run: list[str] = []  # servers of the process
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[ToolResult]] = {}
        self._reported = {server.name: ToolServer(name=server.name) for server in self._settings}

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        return with_wire_names(self._reported.values())

    async def list_servers(self, *, again: bool = False) -> tuple[ToolServer, ...]:
        if await self._running():
            await self._ask(again=again)
        return self.servers

    async def call(self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float) -> ToolResult:
        try:
            async with asyncio.timeout(timeout_s):
                if tool.server in await self._running():
                    return await self._ask(server=tool.server, tool=tool.name, arguments=dict(arguments))
        except TimeoutError:
            return ToolResult(text=f"No answer within {timeout_s:g} s.", is_error=True)
        return ToolResult(text=self._reported[tool.server].error, is_error=True)

    async def aclose(self) -> None:
        """End the child, which ends its servers."""
        async with self._starting:
            if self._process is None or self._reader is None:
                return
            self._stdin.close()
            _, late = await asyncio.wait([self._reader], timeout=_END_S)
            if late:
                self._process.kill()
                await self._reader

    async def _running(self) -> list[str]:
        """Start the child if it does not run, and return the names of its servers; none where it cannot."""
        async with self._starting:
            if self._process is not None:
                return self._run
            orders = await asyncio.to_thread(self._orders)
            self._run = [server.name for server in orders.servers] + [FUNCTIONS] * bool(orders.functions)
            if not self._run:
                return []
            try:
                self._process = await self._start()
            except OSError as error:
                for name in self._run:
                    self._fail(name, f"The tool host cannot start: {error.strerror or error}.")
                return []
            self._stdin = self._process.stdin
            self._send(orders)
            self._reader = asyncio.create_task(self._read(self._process), name="tool host")
            return self._run

    async def _start(self) -> asyncio.subprocess.Process:
        log = await asyncio.to_thread(begin_log, self._log_file)
        try:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-c", _CHILD, _ROOT),  # `-P`: nothing of the current folder
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=environment_for_others(self._environ),
                start_new_session=True,  # neither Ctrl+C nor the closed terminal is meant for it
                limit=_LINE_BYTES,
            )
        finally:
            os.close(log)

    def _orders(self) -> Orders:
        """Return what may run; the other servers have failed."""
        servers = []
        for server in self._settings:
            try:
                if server.url:
                    self._check_address(server.url)
                variables = (server.headers_env or {}).items()
                headers = {header: self._environ[variable] for header, variable in variables}
                servers.append(replace(server, headers_env=headers))
            except LMChatError as error:
                self._fail(server.name, error.words)
            except KeyError as error:
                why = f"The environment variable {error.args[0]} of the server {server.name} is not set."
                self._fail(server.name, why)
        functions = str(self._functions) if self._functions.is_file() else ""
        return Orders(servers=tuple(servers), functions=functions, log=str(self._log_file))

    def _fail(self, name: str, why: str) -> None:
        """Note that a server has failed; its tools stay known, since a call starts it again."""
        known = self._reported.get(name, ToolServer(name=name))
        self._reported[name] = replace(known, state=ServerState.FAILED, error=why)

    def _send(self, order: Order | Orders) -> None:
        self._stdin.write(msgspec.json.encode(order) + b"\n")

    async def _ask(self, **order: Any) -> ToolResult:
        """Send an order and wait for its result; cancelling cancels it."""
        waiting: asyncio.Future[ToolResult] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        try:
            self._send(Order(number=number, **order))
            self._waiting[number] = waiting
            return await waiting
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return ToolResult(text=f"The arguments cannot be sent: {error}.", is_error=True)
        except asyncio.CancelledError:
            if self._process is not None:
                self._send(Order(number=number, is_cancelled=True))
            raise
        finally:
            self._waiting.pop(number, None)

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Read what the child reports until it ends."""
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        with suppress(ValueError):  # too long, or no JSON
            while line := await process.stdout.readline():
                report = msgspec.json.decode(line, type=ToolReport)
                if report.server is not None:
                    self._reported[report.server.name] = report.server
                waiting = self._waiting.get(report.number)
                if waiting is not None and report.result is not None and not waiting.done():
                    waiting.set_result(report.result)
        end_program(process.pid, is_forced=True)  # also the programs that functions have started
        await process.wait()
        self._process = None
        for name in self._run:
            self._fail(name, "The tool host ended. It starts again when a tool is used.")
        for waiting in self._waiting.values():
            if not waiting.done():
                text = "The tool host ended while this tool ran."
                waiting.set_result(ToolResult(text=text, is_error=True))
