"""Parent's side of the tool host: the child process, its restarts, and calls with a time limit."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lmchat.config.settings import McpSettings
from lmchat.domain.tool import FUNCTIONS, ServerState, Tool, ToolResult, ToolServer, with_wire_names
from lmchat.errors import EndpointNotAllowed
from lmchat.files import begin_log, environment_for_others
from lmchat.tools.child import LINE_BYTES, Order, Orders, ToolReport

_ROOT = str(Path(__file__).parents[2])
_CHILD = "import sys; sys.path.append(sys.argv[1]); from lmchat.tools.child import main; main()"
_END_S = 2.0
_MOST_CRASHES = 3
_CRASHES_WITHIN_S = 60.0


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
        self._check_address = check_address  # raises `EndpointNotAllowed`
        self._starting = asyncio.Lock()
        self._child: _Child | None = None
        self._reported: dict[str, ToolServer] = {}
        self._servers: tuple[ToolServer, ...] = ()
        self._crashes: deque[float] = deque(maxlen=_MOST_CRASHES)
        self._down = ""  # why it is not started again

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        return self._servers

    async def list_servers(self) -> tuple[ToolServer, ...]:
        child = await self._running()
        if child is not None:
            await child.ask()
        return self._servers

    async def call(self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float) -> ToolResult:
        try:
            async with asyncio.timeout(timeout_s):
                child = await self._running()
                if child is not None and tool.server in child.names:
                    return await child.ask(server=tool.server, tool=tool.name, arguments=dict(arguments))
        except TimeoutError:
            return ToolResult(text=f"No answer within {timeout_s:g} s.", is_error=True)
        known = self._reported.get(tool.server)
        error = self._down or (known and known.error) or f"There is no server {tool.server}."
        return ToolResult(text=error, is_error=True)

    async def aclose(self) -> None:
        self._down = "lmchat is closing."
        async with self._starting:
            if self._child is not None:
                await self._child.stop()

    async def _running(self) -> _Child | None:
        """Return the child, started if needed; None where there is nothing to run, or it cannot start."""
        async with self._starting:
            if self._child is None and not self._down:
                orders = self._orders(has_functions=await asyncio.to_thread(self._functions.is_file))
                if not (orders.servers or orders.functions):
                    return None
                try:
                    process = await self._start()
                except OSError as error:
                    why = f"The tool host cannot be started: {error.strerror or error}. See {self._log_file}."
                    self._note(*(_failed(ToolServer(name=name), why) for name in _names(orders)))
                    return None
                self._child = _Child(process, orders, self._note, self._note_end)
            return None if self._down else self._child

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
                limit=LINE_BYTES,
            )
        finally:
            os.close(log)

    def _orders(self, *, has_functions: bool) -> Orders:
        """Return what may run; the other servers have failed."""
        servers, headers = [], {}
        for server in self._settings:
            wanted = server.headers_env or {}
            headers[server.name] = {name: self._environ.get(wanted[name], "") for name in wanted}
            missing = [wanted[name] for name, value in headers[server.name].items() if not value]
            why = (
                f"The environment variable {missing[0]} of the server {server.name} is not set."
                if missing
                else ""
            )
            try:
                if server.url:
                    self._check_address(server.url)
            except EndpointNotAllowed as error:
                why = error.words
            if why:
                self._note(_failed(ToolServer(name=server.name), why))
            else:
                servers.append(server)
        functions = str(self._functions) if has_functions else ""
        return Orders(servers=tuple(servers), headers=headers, functions=functions, log=str(self._log_file))

    def _note(self, *servers: ToolServer) -> None:
        self._reported.update({server.name: server for server in servers})
        names = (*(server.name for server in self._settings), FUNCTIONS)
        self._servers = with_wire_names(self._reported[name] for name in names if name in self._reported)

    def _note_end(self) -> None:
        """Note that the child has ended; its tools stay known, since a call starts it again."""
        child, self._child = self._child, None
        now = time.monotonic()
        self._crashes.append(now)
        why = "The tool host ended. It starts again when a tool is used."
        if len(self._crashes) == _MOST_CRASHES and now - self._crashes[0] < _CRASHES_WITHIN_S:
            why = (
                f"The tool host ended {_MOST_CRASHES} times within a minute. "
                f"See {self._log_file}, then restart lmchat."
            )
            self._down = self._down or why
        for name in child.names if child else ():
            self._note(_failed(self._reported.get(name, ToolServer(name=name)), why))


class _Child:
    """Run of the child process."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        orders: Orders,
        note: Callable[[ToolServer], None],
        note_end: Callable[[], None],
    ) -> None:
        assert process.stdin is not None  # noqa: S101 - it was asked for above
        assert process.stdout is not None  # noqa: S101 - it was asked for above
        self.names = _names(orders)
        self._process = process
        self._input, self._output = process.stdin, process.stdout
        self._note = note
        self._note_end = note_end
        self._is_stopping = False
        self._number = 0
        self._waiting: dict[int, asyncio.Future[ToolResult]] = {}
        self._groups: dict[str, int] = {}  # process groups of servers
        self._input.write(msgspec.json.encode(orders) + b"\n")
        self._reader = asyncio.create_task(self._read(), name="tool host")

    async def ask(
        self, server: str = "", tool: str = "", arguments: dict[str, Any] | None = None
    ) -> ToolResult:
        """Send an order and wait for its result; cancelling cancels it."""
        self._number += 1
        order = Order(number=self._number, server=server, tool=tool, arguments=arguments or {})
        try:
            line = msgspec.json.encode(order)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return ToolResult(text=f"The arguments cannot be sent: {error}.", is_error=True)
        if len(line) > LINE_BYTES // 2:
            return ToolResult(text="The arguments are too long.", is_error=True)
        waiting: asyncio.Future[ToolResult] = asyncio.get_running_loop().create_future()
        self._waiting[order.number] = waiting
        self._input.write(line + b"\n")
        try:
            return await waiting
        except asyncio.CancelledError:
            self._input.write(msgspec.json.encode(Order(number=order.number, is_cancelled=True)) + b"\n")
            raise
        finally:
            self._waiting.pop(order.number, None)

    async def stop(self) -> None:
        """End the child and its servers."""
        self._is_stopping = True
        self._input.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await asyncio.shield(self._reader)
        if not self._reader.done():
            self._kill()
        await self._reader

    async def _read(self) -> None:
        with suppress(ValueError):  # too long, or no JSON
            while line := await self._output.readline():
                report = msgspec.json.decode(line, type=ToolReport)
                if report.server is not None:
                    self._groups[report.server.name] = report.process_group
                    self._note(report.server)
                waiting = self._waiting.get(report.number)
                if waiting is not None and report.result is not None and not waiting.done():
                    waiting.set_result(report.result)
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._process.wait()
        if self._process.returncode != 0:
            self._kill()
        await self._process.wait()
        for waiting in self._waiting.values():
            if not waiting.done():
                text = "The tool host ended while this tool ran."
                waiting.set_result(ToolResult(text=text, is_error=True))
        if not self._is_stopping:
            self._note_end()

    def _kill(self) -> None:
        """Kill the child, and the servers that it could not end."""
        for group in (self._process.pid, *filter(None, self._groups.values())):
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)


def _names(orders: Orders) -> frozenset[str]:
    names = {server.name for server in orders.servers}
    return frozenset(names | {FUNCTIONS} if orders.functions else names)


def _failed(server: ToolServer, why: str) -> ToolServer:
    return replace(server, state=ServerState.FAILED, error=why)
