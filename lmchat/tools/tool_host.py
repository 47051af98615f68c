"""Parent's side of the tool host: the child process, its restarts, and calls with a time limit."""

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
from lmchat.domain.server import Endpoint
from lmchat.domain.tool import (
    HOST_SILENT,
    MAY_STILL_RUN,
    ServerState,
    Tool,
    ToolResult,
    ToolServer,
    with_wire_names,
)
from lmchat.errors import LMChatError
from lmchat.files import OPEN_FLAGS, begin_log, ensure_folder, needed_environment
from lmchat.machine.process import ChildProcess, own_program
from lmchat.machine.sockets import OWN_USER_HINT, foreign_owner
from lmchat.machine.watchdog import ALL_INPUT, watched
from lmchat.text import header_value

START_S = 30.0  # time for a server to start, and for the file of functions to run
SERVERS_END_S = 2.0  # time for the servers of the child to end
_LISTING_S = START_S + 15.0  # the child starts first, or ends a server that starts again
_GRACE_S = SERVERS_END_S + 0.5  # time for the child to end by the end of its input
_TERMINATE_S = 0.5  # time for the child to end after SIGTERM
_END_S = 4.0  # time for its watchdog, which ends it by force
_LINE_BYTES = 16 << 20  # largest message between parent and child


class Orders(Struct, frozen=True, kw_only=True):
    """First line of the parent: what to run."""

    servers: tuple[McpSettings, ...] = ()  # with the values of their headers in `headers_env`
    functions: str = ""  # file
    folder: str = ""  # in which the servers start, unless they have a folder of their own
    log: str = ""  # file, named in errors; empty where nothing is kept


class Order(Struct, frozen=True, kw_only=True):
    """Call of a tool, or its end.

    Without a server, all servers are started, also failed ones if `again`.
    """

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
        """Start nothing yet; without `keeps_log`, what tools print is dropped."""
        self._settings = tuple(server for server in servers if server.enabled)
        self._functions = functions
        self._folder = folder.absolute()
        self._log_file = log_file
        self._keeps_log = keeps_log
        self._environ = environ
        self._check_address = check_address  # raises `LMChatError`
        self._starting = asyncio.Lock()
        self._child: ChildProcess | None = None
        self._reader: asyncio.Task[None] | None = None
        self._run: list[str] = []  # servers of the child
        self._numbers = count(1)
        self._waiting: dict[int, asyncio.Future[ToolResult]] = {}
        self._reported = {server.name: ToolServer(name=server.name) for server in self._settings}

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        return with_wire_names(self._reported.values())

    async def list_servers(self, *, again: bool = False) -> tuple[ToolServer, ...]:
        child = await self._running_child()
        if child is None:
            return self.servers
        try:
            async with asyncio.timeout(_LISTING_S):
                await self._ask(child, again=again)
        except TimeoutError:  # a server or function holds up the child, and with it all tools
            await self.aclose()
            for name in self._run:
                self._fail(name, HOST_SILENT)
        return self.servers

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float
    ) -> ToolResult:
        try:
            async with asyncio.timeout(timeout_s):
                child = await self._running_child()
                if child is not None and tool.server in self._run:
                    return await self._ask(
                        child, server=tool.server, tool=tool.name, arguments=dict(arguments)
                    )
        except TimeoutError:
            words = f"No answer within {timeout_s:g} s."
            if tool.outlives_stop:
                words = f"{words} {MAY_STILL_RUN}"
            return ToolResult(text=words, is_error=True)
        return ToolResult(text=self._reported[tool.server].error, is_error=True)

    async def aclose(self) -> None:
        """End the child, which ends its servers; the next order starts it again."""
        async with self._starting:
            if self._child is None or self._reader is None:
                return
            self._child.close_input()
            _, late = await asyncio.wait([self._reader], timeout=_END_S)
            if late:
                self._child.terminate()
                await self._reader

    async def _running_child(self) -> ChildProcess | None:
        """Return the child, started if it does not run; None where nothing can run."""
        async with self._starting:
            if self._child is not None:
                return self._child
            orders = await asyncio.to_thread(self._orders)
            self._run = [server.name for server in orders.servers]
            if orders.functions:
                self._run.append(FUNCTIONS)
            if not self._run:
                return None
            try:
                child = await self._start()
            except OSError as error:
                for name in self._run:
                    self._fail(name, f"The tool host cannot start: {error.strerror or error}.")
                return None
            child.send_line(orders)
            self._child = child
            self._reader = asyncio.create_task(self._read(child), name="tool host")
            return child

    async def _start(self) -> ChildProcess:
        log = await asyncio.to_thread(self._open_log)
        command = own_program("lmchat.tools.host_program")
        try:
            return await ChildProcess.start(
                watched(command, terminate_s=_TERMINATE_S, stdin=ALL_INPUT, grace_s=_GRACE_S),
                environment=needed_environment(self._environ),
                folder=self._folder if self._folder.is_dir() else self._log_file.parent,
                errors=log,
                line_bytes=_LINE_BYTES,
            )
        finally:
            os.close(log)

    def _open_log(self) -> int:
        if self._keeps_log:
            return begin_log(self._log_file)
        ensure_folder(self._log_file.parent)
        return os.open(os.devnull, os.O_RDWR | OPEN_FLAGS)

    def _orders(self) -> Orders:
        """Return what may run; the other servers have failed."""
        servers = []
        for server in self._settings:
            try:
                if server.url:
                    self._check_address(server.url)
                servers.append(replace(server, headers_env=self._headers(server)))
            except LMChatError as error:
                self._fail(server.name, error.message_with_hint)
        return Orders(
            servers=tuple(servers),
            functions=str(self._functions) if self._functions.is_file() else "",
            folder=str(self._folder),
            log=str(self._log_file) if self._keeps_log else "",
        )

    def _headers(self, server: McpSettings) -> dict[str, str]:
        """Return the headers of a server by name; raises `LMChatError` without their values."""
        headers = {}
        for header, variable in (server.headers_env or {}).items():
            subject = f"The environment variable {variable} of the server {server.name}"
            if variable not in self._environ:
                raise LMChatError(f"{subject} is not set.", hint="Set it.", kind="tools")
            try:
                headers[header] = header_value(self._environ[variable])
            except ValueError as error:
                reason = f"{subject} {error}, which no header can hold."
                raise LMChatError(reason, hint="Set it again without them.", kind="tools") from None
        if headers and server.url:
            _require_own_port(server)
        return headers

    def _fail(self, name: str, why: str) -> None:
        """Note that a server has failed; its tools stay known, since a call starts it again."""
        known = self._reported.get(name, ToolServer(name=name))
        self._reported[name] = replace(known, state=ServerState.FAILED, error=why)

    async def _ask(self, child: ChildProcess, **order: Any) -> ToolResult:
        """Send an order and wait for its result; cancelling cancels it."""
        waiting: asyncio.Future[ToolResult] = asyncio.get_running_loop().create_future()
        number = next(self._numbers)
        try:
            child.send_line(Order(number=number, **order))
            self._waiting[number] = waiting
            return await waiting
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            return ToolResult(text=f"The arguments cannot be sent: {error}.", is_error=True)
        except asyncio.CancelledError:
            if self._child is child:
                child.send_line(Order(number=number, is_cancelled=True))
            raise
        finally:
            self._waiting.pop(number, None)

    async def _read(self, child: ChildProcess) -> None:
        """Read what the child reports until it ends."""
        with suppress(ValueError):  # too long, or no report: a library has printed it
            while (report := await child.receive_line(ToolReport)) is not None:
                if report.server is not None:
                    self._reported[report.server.name] = report.server
                waiting = self._waiting.get(report.number)
                if waiting is not None and report.result is not None and not waiting.done():
                    waiting.set_result(report.result)
        child.terminate()  # it ends the child, and the programs that functions have started
        await child.wait()
        self._child = None
        for name in self._run:
            self._fail(name, "The tool host ended. It starts again when a tool is used.")
        for waiting in self._waiting.values():
            if not waiting.done():
                text = "The tool host ended while this tool ran."
                waiting.set_result(ToolResult(text=text, is_error=True))


def _require_own_port(server: McpSettings) -> None:
    """Raise `LMChatError` where the headers of a server would go to a program of another user."""
    endpoint = Endpoint.parse(server.url)
    if not endpoint.is_loopback or endpoint.scheme != "http":
        return
    owner = foreign_owner(endpoint.host, endpoint.port)
    if owner:
        reason = f"port {endpoint.port} is held by a program of another user ({owner})"
        sentence = f"The headers of the server {server.name} were not sent: {reason}."
        raise LMChatError(sentence, hint=OWN_USER_HINT, kind="tools")
