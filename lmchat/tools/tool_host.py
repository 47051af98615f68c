"""Parent's side of the tool host: the child process, its restarts, and calls with a time limit.

The tool host is a child process that runs all MCP servers and the functions of a file. The parent
sends `Orders` first, then an `Order` for each call; the child answers with `ToolReport`s.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from lmchat.config.settings import FUNCTIONS, McpSettings
from lmchat.errors import LMChatError
from lmchat.files.disk import OPEN_FLAGS, begin_log, ensure_folder
from lmchat.processes.child import ChildProcess, own_program
from lmchat.processes.environment import needed_environment
from lmchat.safe_text import header_value
from lmchat.servers.request import Tool
from lmchat.tools.tool import (
    HOST_SILENT,
    MAY_STILL_RUN,
    ServerState,
    ToolResult,
    ToolServer,
    with_wire_names,
)

START_S = 30.0  # time for a server to start, and for the file of functions to run
SERVERS_END_S = 2.0  # time for the servers of the child to end
# Time to start all servers: before that, the child itself may have to start, or a failed server
# to end.
_LISTING_S = START_S + 15.0
_TERMINATE_S = 0.5  # time for the child to end after SIGTERM
_END_S = SERVERS_END_S + 0.5  # time for the child to end after the end of its input
_LINE_BYTES = 16 * 1024 * 1024  # longest message from the child


class Orders(Struct, frozen=True, kw_only=True):
    """First message of the parent: what the child may run."""

    # In `headers_env`, the parent has replaced the names of variables by their values.
    servers: tuple[McpSettings, ...] = ()
    functions: str = ""  # path of the file of functions, if there is one
    folder: str = ""  # in which the servers start, unless they have a folder of their own
    log: str = ""  # path of the log, which errors name; empty without a log


class Order(Struct, frozen=True, kw_only=True):
    """Further message of the parent: call a tool, start all servers, or cancel an earlier order.

    With `server` and `tool`, it is a call. With `is_cancelled`, it cancels the earlier order of the
    same number. Else it starts all servers, with `restarts` also those that have failed.
    """

    number: int
    server: str = ""
    tool: str = ""
    arguments: dict[str, Any] = {}
    restarts: bool = False
    is_cancelled: bool = False  # the order with this number is cancelled


class ToolReport(Struct, frozen=True, kw_only=True):
    """Message of the child: the result of an order, or the new state of a server.

    Starting all servers has an empty result.
    """

    number: int = 0  # of the order
    result: ToolResult | None = None
    server: ToolServer | None = None


SendReport = Callable[[ToolReport], None]


class McpHost:
    """Tool host: MCP servers and the functions of a file, in a child process."""

    def __init__(
        self,
        servers: tuple[McpSettings, ...],
        *,
        functions: Path,
        folder: Path,
        log_file: Path,
        keeps_log: bool = True,
        environ: Mapping[str, str],
        check_address: Callable[[str], None],
    ) -> None:
        """Start nothing yet.

        `functions` is the path of the file of functions, which may be missing. `folder` is that in
        which servers start. Without `keeps_log`, what tools print is dropped. `check_address`
        raises `LMChatError` for an address that is not allowed.
        """
        self._settings = tuple(server for server in servers if server.enabled)
        self._functions = functions
        self._folder = folder.absolute()
        self._log_file = log_file
        self._keeps_log = keeps_log
        self._environ = environ
        self._check_address = check_address
        self._starting = asyncio.Lock()  # held while the child starts or ends
        self._child: ChildProcess | None = None  # while it runs
        self._reader: asyncio.Task[None] | None = None  # of its reports; ends after it
        self._server_names: list[str] = []  # what the child may run, with `FUNCTIONS`
        self._order_numbers = count(1)
        self._results: dict[int, asyncio.Future[ToolResult]] = {}  # awaited ones, by order number
        # the last known state of each server, by its name
        self._reported = {server.name: ToolServer(name=server.name) for server in self._settings}

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        return with_wire_names(self._reported.values())

    async def list_servers(self, *, again: bool = False) -> tuple[ToolServer, ...]:
        """Start all servers that do not run, and return all with their states and tools.

        Servers that have failed before are started only if `again`. If the child does not answer,
        something in it blocks all tools: it is ended, and its servers are marked as failed.
        """
        child = await self._ensure_child()
        if child is None:
            return self.servers
        try:
            async with asyncio.timeout(_LISTING_S):
                await self._send_order(child, restarts=again)
        except TimeoutError:
            await self.aclose()
            for name in self._server_names:
                self._mark_failed(name, HOST_SILENT)
        return self.servers

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float
    ) -> ToolResult:
        """Call a tool and return its result, within `timeout_s`.

        Any error is returned as a result: one of the tool, a timeout, or the reason why the child
        or the server of the tool does not run.
        """
        try:
            async with asyncio.timeout(timeout_s):
                child = await self._ensure_child()
                if child is not None and tool.server in self._server_names:
                    return await self._send_order(
                        child, server=tool.server, tool=tool.name, arguments=dict(arguments)
                    )
        except TimeoutError:
            words = f"No answer within {timeout_s:g} s."
            if tool.outlives_stop:
                words = f"{words} {MAY_STILL_RUN}"
            return ToolResult(text=words, is_error=True)
        # the child or the server cannot run, and `_mark_failed` has noted why
        return ToolResult(text=self._reported[tool.server].error, is_error=True)

    async def aclose(self) -> None:
        """End the child and wait for its end; the child ends its servers.

        Without a child, do nothing. The next order starts another child.
        """
        async with self._starting:
            if self._child is None or self._reader is None:
                return
            self._child.close_input()
            _, still_running = await asyncio.wait([self._reader], timeout=_END_S)
            if still_running:
                self._child.stop(_TERMINATE_S)
                await self._reader

    async def _ensure_child(self) -> ChildProcess | None:
        """Return the child, which is started if it does not run.

        Return None if no server may run and there is no file of functions, or if the child cannot
        start, which marks all servers as failed.
        """
        async with self._starting:
            if self._child is not None:
                return self._child
            orders = await asyncio.to_thread(self._prepare_orders)
            self._server_names = [server.name for server in orders.servers]
            if orders.functions:
                self._server_names.append(FUNCTIONS)
            if not self._server_names:
                return None

            try:
                child = await self._start()
            except OSError as error:
                reason = f"The tool host cannot start: {error.strerror or error}."
                for name in self._server_names:
                    self._mark_failed(name, reason)
                return None
            child.send_line(orders)
            self._child = child
            self._reader = asyncio.create_task(self._read_reports(child), name="tool host")
            return child

    async def _start(self) -> ChildProcess:
        """Start the child, with its stderr in the log; raises `OSError`."""
        log = await asyncio.to_thread(self._open_log)
        command = own_program("lmchat.tools.host_program")
        # the folder of the configuration need not exist, and that of the log does by now
        folder = self._folder if self._folder.is_dir() else self._log_file.parent
        try:
            return await ChildProcess.start(
                command,
                environment=needed_environment(self._environ),
                folder=folder,
                errors=log,
                line_bytes=_LINE_BYTES,
            )
        finally:
            os.close(log)

    def _open_log(self) -> int:
        """Return the descriptor of a new log, or of the null device where no log is kept."""
        if self._keeps_log:
            return begin_log(self._log_file)
        ensure_folder(self._log_file.parent)
        return os.open(os.devnull, os.O_RDWR | OPEN_FLAGS)

    def _prepare_orders(self) -> Orders:
        """Return the first message for the child: what it may run.

        Servers whose address or headers are not allowed are left out and marked as failed.
        """
        servers: list[McpSettings] = []
        for server in self._settings:
            try:
                if server.url:
                    self._check_address(server.url)
                servers.append(replace(server, headers_env=self._header_values(server)))
            except LMChatError as error:
                self._mark_failed(server.name, error.message_with_hint)
        return Orders(
            servers=tuple(servers),
            functions=str(self._functions) if self._functions.is_file() else "",
            folder=str(self._folder),
            log=str(self._log_file) if self._keeps_log else "",
        )

    def _header_values(self, server: McpSettings) -> dict[str, str]:
        """Return the values of the headers of a server, from variables of the environment.

        They are by the name of the header. Raises `LMChatError` if a value is missing or invalid.
        """
        headers: dict[str, str] = {}
        for header, variable in (server.headers_env or {}).items():
            subject = f"The environment variable {variable} of the server {server.name}"
            if variable not in self._environ:
                raise LMChatError(f"{subject} is not set.", hint="Set it.", kind="tools")
            try:
                headers[header] = header_value(self._environ[variable])
            except ValueError as error:
                reason = f"{subject} {error}, which no header can hold."
                raise LMChatError(reason, hint="Set it again without them.", kind="tools") from None
        return headers

    def _mark_failed(self, name: str, reason: str) -> None:
        """Mark a server as failed; it keeps its tools, as a call of one of them starts it again."""
        server = self._reported.get(name, ToolServer(name=name))
        self._reported[name] = replace(server, state=ServerState.FAILED, error=reason)

    async def _send_order(self, child: ChildProcess, **order: Any) -> ToolResult:
        """Send an order with these fields to the child, and wait for its result.

        Return an error as the result if the fields are no valid JSON. If this call is cancelled,
        the order is cancelled in the child, too.
        """
        result: asyncio.Future[ToolResult] = asyncio.get_running_loop().create_future()
        number = next(self._order_numbers)
        try:
            child.send_line(Order(number=number, **order))
            self._results[number] = result
            return await result
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return ToolResult(text=f"The arguments cannot be sent: {error}.", is_error=True)
        except asyncio.CancelledError:
            if self._child is child:  # else the child has ended, and the order with it
                child.send_line(Order(number=number, is_cancelled=True))
            raise
        finally:
            self._results.pop(number, None)

    async def _read_reports(self, child: ChildProcess) -> None:
        """Read the reports of the child until it ends, or sends something else than a report.

        Such a line was printed by a library of a tool, and may have cut a report in two: no later
        line can be trusted. So the child is ended then. Its servers are marked as failed, and all
        calls that wait get an error as their result.
        """
        with suppress(ValueError):  # raised for such a line, and for one that is too long
            while (report := await child.receive_line(ToolReport)) is not None:
                self._take_report(report)
        child.stop(_TERMINATE_S)
        await child.drop_output()
        await child.wait()
        await child.end_group()  # programs that functions have started
        self._child = None

        for name in self._server_names:
            self._mark_failed(name, "The tool host ended. It starts again when a tool is used.")
        text = "The tool host ended while this tool ran."
        for result in self._results.values():
            if not result.done():
                result.set_result(ToolResult(text=text, is_error=True))

    def _take_report(self, report: ToolReport) -> None:
        """Keep the new state of a server, or hand a result to the caller that awaits it."""
        if report.server is not None:
            self._reported[report.server.name] = report.server
        result = self._results.get(report.number)
        if result is not None and report.result is not None and not result.done():
            result.set_result(report.result)
