"""Child process of the tool host: MCP servers through the MCP SDK, and the functions of `tools.py`.

Speaks lines of JSON with its parent over stdin and stdout; all other output goes to stderr, the log. The end
of stdin ends it and its servers. The SDK takes 0.7 s to import, so it is imported for the first server only.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import sys
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, BinaryIO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat import __version__
from lmchat.config.settings import McpSettings
from lmchat.domain.server import Endpoint
from lmchat.domain.tool import FUNCTIONS, ServerState, Tool, ToolResult, ToolServer, cut_result
from lmchat.errors import RequestInvalid
from lmchat.files import command_for, read_plain
from lmchat.structured.functions import FunctionTool
from lmchat.text import safe_line
from lmchat.threads import run_abandonable

LINE_BYTES = 16 << 20
"""Largest message between parent, child and a stdio server."""
START_S = 30.0
MAX_LISTED = 1000
_LISTED_BYTES = 4 << 20  # definitions of all tools of a server
_END_S = 0.4  # time for a server to end by the end of its stdin, and again after SIGTERM
_LAST_S = 1.5  # time for all servers to end
_RELIST_S = 0.5  # between two listings of a server that says all the time that its tools have changed
_LOG_BYTES = 1_000_000
_SAID_CHARS = 300
_CLOSED, _SESSION_ENDED = -32000, -32600  # codes of the SDK


class Orders(Struct, frozen=True, kw_only=True):
    """First line of the parent: what to run."""

    servers: tuple[McpSettings, ...] = ()
    headers: Mapping[str, Mapping[str, str]] = {}  # by server
    functions: str = ""  # file
    log: str = ""  # file, named in errors


class Order(Struct, frozen=True, kw_only=True):
    """Call of a tool, or its end. Without a server: start what is not running."""

    number: int
    server: str = ""
    tool: str = ""
    arguments: dict[str, Any] = {}
    is_cancelled: bool = False


class ToolReport(Struct, frozen=True, kw_only=True):
    """Result of an order, or change of a server."""

    number: int = 0
    result: ToolResult | None = None
    server: ToolServer | None = None
    process_group: int = 0


Tell = Callable[[ToolReport], None]
Spawn = Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]


def main() -> None:
    """Run until stdin ends."""
    source, sink = os.fdopen(os.dup(0), "rb", 0), os.fdopen(os.dup(1), "wb")
    # what functions read and print, and the programs that they start, must not meet the protocol
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with suppress(BrokenPipeError):
        asyncio.run(_serve(source, sink))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGTERM)  # programs that functions have started
    os._exit(0)  # threads of functions must not delay the end


async def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), source)
    orders = msgspec.json.decode(await reader.readline(), type=Orders)
    tasks: set[asyncio.Task[None]] = set()
    calls: dict[int, asyncio.Task[None]] = {}

    def tell(report: ToolReport) -> None:
        sink.write(msgspec.json.encode(report) + b"\n")
        sink.flush()

    def spawn(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = group.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        return task

    async def answer(order: Order) -> None:
        result = ToolResult(text="")
        if order.server:
            result = await servers[order.server].call(order.tool, order.arguments)
        else:
            await asyncio.gather(*(server.settled() for server in servers.values()))
        text = cut_result(result.text).encode(errors="replace").decode()  # names of files may be no text
        tell(ToolReport(number=order.number, result=replace(result, text=text)))

    def begin(order: Order) -> None:
        calls[order.number] = spawn(answer(order))
        calls[order.number].add_done_callback(lambda _: calls.pop(order.number))

    async with asyncio.TaskGroup() as group:
        servers: dict[str, _McpServer | _Functions] = {
            server.name: _McpServer(server, orders, tell, spawn) for server in orders.servers
        }
        if orders.functions:
            servers[FUNCTIONS] = _Functions(Path(orders.functions), tell)
        tasks.add(group.create_task(_bound_log()))
        while line := await reader.readline():
            order = msgspec.json.decode(line, type=Order)
            if not order.is_cancelled:
                begin(order)
            elif order.number in calls:
                calls[order.number].cancel()
        loop.call_later(_LAST_S, os._exit, 1)
        for task in tasks:
            task.cancel()


async def _bound_log() -> None:
    """Empty a long log; it is open for appending, so writing continues at its start."""
    while True:
        await asyncio.sleep(1)
        with suppress(OSError):
            if os.fstat(2).st_size > _LOG_BYTES:
                os.ftruncate(2, 0)


class _McpServer:
    """MCP server and its connection."""

    def __init__(self, settings: McpSettings, orders: Orders, tell: Tell, spawn: Spawn) -> None:
        self._settings = settings
        self._command, self._cwd = map(os.path.expanduser, (settings.command, settings.cwd))
        self._headers = orders.headers.get(settings.name, {})
        self._log = orders.log
        self._tell = tell
        self._spawn = spawn
        self._task: asyncio.Task[None] | None = None
        self._state = ToolServer(name=settings.name)
        self._process_group = 0
        self._client: Any = None
        self._settled = asyncio.Event()
        self._woken = asyncio.Event()  # by a change of the tools, or by the end
        self._is_over = False
        self._why = ""  # reason for the end, where it is known

    async def settled(self) -> None:
        """Start the server if it does not run; return when it is ready or has failed."""
        if self._is_over and self._task is not None:
            await asyncio.wait([self._task])
        if self._task is None or self._task.done():
            self._settled.clear()
            self._is_over, self._why = False, ""
            self._task = self._spawn(self._run())
        await self._settled.wait()

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        await self.settled()
        if self._client is None:
            return ToolResult(text=self._state.error, is_error=True)
        try:
            result = await self._client.call_tool(tool, arguments)
        except Exception as error:  # noqa: BLE001 - of the server, or of the SDK
            code = getattr(error, "code", 0)
            if code == _CLOSED or (self._settings.url and code == _SESSION_ENDED):
                self._end()
                return ToolResult(text=self._why_ended, is_error=True)
            return ToolResult(text=str(error), is_error=True)
        return ToolResult(text=_text(result), is_error=result.is_error)

    @property
    def _why_ended(self) -> str:
        return self._why or f"The server {self._settings.name} ended. It starts again when it is used."

    def _end(self) -> None:
        self._is_over = True
        self._woken.set()

    async def _run(self) -> None:
        self._report(state=ServerState.STARTING, error="")
        try:
            await self._connect()
            why = self._why_ended
        except Exception as error:  # noqa: BLE001 - of the SDK, whatever it is
            traceback.print_exc()
            why = self._why or self._reason(_inner(error))
        self._client, self._process_group = None, 0
        self._report(state=ServerState.FAILED, error=why)
        self._settled.set()

    def _reason(self, error: BaseException) -> str:
        name, look = self._settings.name, f"See {self._log}." if self._log else ""
        match error:
            case ImportError():
                return "The MCP SDK is not installed. Install it with: pip install 'lmchat[tools]'."
            case TimeoutError():
                return f"The server {name} was not ready within {START_S:g} s. {look}"
            case FileNotFoundError():
                return f"The server {name} cannot start: {error.filename} does not exist. Check [[mcp]]."
            case _:
                what = "ended while it started" if self._is_over else f"failed: {_said(error)}"
                return f"The server {name} {what}. {look}"

    async def _connect(self) -> None:
        """Run the connection from its start to its end."""
        import anyio
        from mcp.client.client import Client
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
        from mcp.shared.exceptions import MCPError
        from mcp_types import Implementation, ToolListChangedNotification

        async def notice(message: Any) -> None:
            if isinstance(message, ToolListChangedNotification):
                self._woken.set()

        with anyio.fail_after(START_S) as limit:
            async with AsyncExitStack() as stack:
                transport = await self._over_http(stack) if self._settings.url else self._over_pipes()
                info = Implementation(name="lmchat", version=__version__)
                client = Client(transport, cache=None, client_info=info, message_handler=notice)
                await stack.enter_async_context(client)
                with suppress(ListenNotSupportedError, SubscriptionLost, MCPError):  # older ones tell unasked
                    await stack.enter_async_context(client.listen(tools_list_changed=True))
                while not self._is_over:
                    self._woken.clear()
                    tools = await _tools_of(client, self._settings.name)
                    limit.deadline = math.inf
                    self._client = client
                    if not self._settled.is_set() or tools != self._state.tools:
                        self._report(state=ServerState.READY, tools=tools)
                    self._settled.set()
                    await self._woken.wait()
                    if not self._is_over:
                        await asyncio.sleep(_RELIST_S)

    def _report(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        self._tell(ToolReport(server=self._state, process_group=self._process_group))

    async def _over_http(self, stack: AsyncExitStack) -> Any:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        client = httpx2.AsyncClient(
            headers=dict(self._headers),
            follow_redirects=False,
            # a proxy of the environment cannot reach this machine
            trust_env=not Endpoint.parse(self._settings.url).is_local,
            timeout=httpx2.Timeout(START_S, read=None),  # the parent limits the time of a call
        )
        return streamable_http_client(self._settings.url, http_client=await stack.enter_async_context(client))

    @asynccontextmanager
    async def _over_pipes(self) -> AsyncIterator[tuple[Any, Any]]:
        """Yield the streams of a server's process, as the SDK's `stdio_client` does.

        That one takes 26 s for a line of 50 MB, has no limit, and hides the process and its end.
        """
        import anyio
        from mcp.client.stdio import get_default_environment
        from mcp.shared.message import SessionMessage
        from mcp_types import jsonrpc_message_adapter

        server = self._settings
        environ = {**get_default_environment(), **(server.env or {})}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command_for((self._command, *server.args), environ),
            stdin=pipe,
            stdout=pipe,
            env=environ,
            cwd=self._cwd or None,
            start_new_session=True,
            limit=LINE_BYTES,
        )
        self._process_group = process.pid
        self._report()
        to_session, read = anyio.create_memory_object_stream[Any](0)
        write, from_session = anyio.create_memory_object_stream[Any](0)

        async def receive() -> None:
            assert process.stdout is not None  # noqa: S101 - it was asked for above
            async with to_session:
                try:
                    while line := await process.stdout.readline():
                        with suppress(ValueError):  # many servers also print other lines
                            message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                            await to_session.send(SessionMessage(message))
                except ValueError:
                    limit = f"{LINE_BYTES >> 20} MB"
                    self._why = f"The server {server.name} sent more than {limit} at once, so it was ended."
                except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                    pass  # the session has ended
                self._end()

        async def send() -> None:
            assert process.stdin is not None  # noqa: S101 - it was asked for above
            async for message in from_session:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                process.stdin.write(text.encode() + b"\n")
                with suppress(ConnectionError):
                    await process.stdin.drain()

        async with anyio.create_task_group() as group:
            group.start_soon(receive)
            group.start_soon(send)
            try:
                yield read, write
            finally:
                with anyio.CancelScope(shield=True):
                    await _end_process(process)
                for stream in (to_session, read, write, from_session):
                    stream.close()
                group.cancel_scope.cancel()


async def _end_process(process: asyncio.subprocess.Process) -> None:
    """End a process and those that it has started: by the end of its stdin, by SIGTERM, by SIGKILL."""
    assert process.stdin is not None  # noqa: S101 - it was asked for
    process.stdin.close()
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await process.wait()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)


async def _tools_of(client: Any, server: str) -> tuple[Tool, ...]:
    """Return all tools of a server, page by page, up to a limit."""
    tools: list[Tool] = []
    size, cursor, seen = 0, None, set()
    while True:
        page = await client.list_tools(cursor=cursor)
        for found in page.tools:
            tool = Tool(
                server=server,
                name=found.name,
                description=found.description or "",
                schema=found.input_schema,
                is_read_only=bool(found.annotations and found.annotations.read_only_hint),
            )
            size += len(msgspec.json.encode(tool))
            if len(tools) == MAX_LISTED or size > _LISTED_BYTES:
                return tuple(tools)
            tools.append(tool)
        cursor = page.next_cursor
        if cursor is None or cursor in seen:
            return tuple(tools)
        seen.add(cursor)


def _text(result: Any) -> str:
    """Return the content of a result as text."""
    parts = [_block_text(block.model_dump(by_alias=True, mode="json")) for block in result.content]
    if not parts and result.structured_content is not None:
        return msgspec.json.encode(result.structured_content).decode()
    return "\n".join(parts)


def _block_text(block: dict[str, Any]) -> str:
    inner = block.get("resource") or block
    if isinstance(inner.get("text"), str):
        return str(inner["text"])
    kind = inner.get("mimeType") or block["type"]
    data = inner.get("data") or inner.get("blob")
    if data:
        return f"[{kind}, {max(1, len(data) * 3 // 4000)} kB]"
    return f"[{kind}: {inner.get('uri', '')}]"


class _Functions:
    """Server of the functions of a file, which is executed once; again if it has failed and has changed."""

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path = path
        self._tell = tell
        self._lock = asyncio.Lock()
        self._state = ToolServer(name=FUNCTIONS)
        self._changed_ns = -1  # of the file that was executed
        self._found: dict[str, FunctionTool] = {}

    async def settled(self) -> None:
        """Execute the file if that is needed."""
        async with self._lock:
            changed_ns = 0
            with suppress(OSError):
                changed_ns = self._path.stat().st_mtime_ns
            if self._state.state is ServerState.READY or changed_ns == self._changed_ns:
                return
            self._changed_ns = changed_ns
            try:
                async with asyncio.timeout(START_S):
                    module = await run_abandonable(partial(_execute, self._path))
            except TimeoutError:
                error = f"{self._path.name} did not end within {START_S:g} s."
                self._state = replace(self._state, state=ServerState.FAILED, error=error)
            except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's file
                self._state = replace(self._state, state=ServerState.FAILED, error=self._told(error))
            else:
                self._state = self._collected(module)
            self._tell(ToolReport(server=self._state))

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        await self.settled()
        if name not in self._found:
            is_there = self._state.state is ServerState.READY
            text = f"{self._path.name} has no function {name}." if is_there else self._state.error
            return ToolResult(text=text, is_error=True)
        try:
            return ToolResult(text=await self._found[name].call(arguments))
        except RequestInvalid as error:
            return ToolResult(text=error.message, is_error=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's function
            traceback.print_exc()
            return ToolResult(text=self._told(error), is_error=True)

    def _collected(self, module: ModuleType) -> ToolServer:
        errors: list[str] = []
        for name, value in vars(module).items():
            is_own = isinstance(value, FunctionType) and value.__module__ == module.__name__
            if not is_own or name.startswith("_") or value.__name__ != name:
                continue
            try:
                self._found[name] = FunctionTool(value)
            except RequestInvalid as error:
                errors.append(f"{self._path.name}, line {value.__code__.co_firstlineno}: {error.words}")
        tools = tuple(
            Tool(server=FUNCTIONS, name=name, description=one.description, schema=one.schema)
            for name, one in self._found.items()
        )
        return ToolServer(name=FUNCTIONS, state=ServerState.READY, tools=tools, error=" ".join(errors))

    def _told(self, error: BaseException) -> str:
        """Return an error with its line in the file."""
        lines = [
            frame.lineno
            for frame in traceback.extract_tb(error.__traceback__)
            if frame.filename == str(self._path)
        ]
        if isinstance(error, SyntaxError) and error.filename == str(self._path):
            lines.append(error.lineno)
        place = f"{self._path.name}, line {lines[-1]}" if lines else self._path.name
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        return f"{place}: {type(error).__name__}: {said or 'no reason given'}".rstrip(".") + "."


def _execute(path: Path) -> ModuleType:
    module = ModuleType(path.stem)
    module.__file__ = str(path)
    sys.modules[path.stem] = module  # dataclasses look there
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    code = compile(read_plain(path), str(path), "exec", dont_inherit=True)
    exec(code, vars(module))  # noqa: S102 - the user's own file
    return module


def _inner(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _said(error: BaseException) -> str:
    return safe_line(str(error) or type(error).__name__, limit=_SAID_CHARS).rstrip(".")
