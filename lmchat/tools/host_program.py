"""Child process of the tool host: MCP servers through the MCP SDK, and the functions of `tools.py`.

Speaks lines of JSON with its parent over stdin and stdout; all other output goes to stderr, the log. The end
of stdin ends it and its servers. The SDK takes 0.7 s to import, so it is imported for the first server only.
"""

from __future__ import annotations

import asyncio
import errno
import io
import math
import os
import shutil
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any, BinaryIO

import msgspec
from msgspec.structs import replace

from lmchat import __version__
from lmchat.config.settings import FUNCTIONS, McpSettings
from lmchat.domain.server import Endpoint
from lmchat.domain.tool import ServerState, Tool, ToolResult, ToolServer, cut_result
from lmchat.errors import RequestInvalid
from lmchat.files import command_for, read_plain
from lmchat.machine.watchdog import ALL_INPUT, bound_log, watched
from lmchat.structured.functions import FunctionTool
from lmchat.text import safe_line, without_secret
from lmchat.threads import run_abandonable
from lmchat.tools.secrets import secrets_of
from lmchat.tools.tool_host import SERVERS_END_S, START_S, Order, Orders, ToolReport

MAX_LISTED = 1000
_LISTED_BYTES = 4 << 20  # definitions of all tools of a server
_END_S = 0.4  # time for a server to end by the end of its stdin, and again after SIGTERM
_RELIST_S = (
    0.5  # between two listings of a server that says all the time that its tools have changed
)
_LOG_BYTES = 1_000_000
_SAID_CHARS = 300
_LOST = ((-32000, "Connection closed"), (-32600, "Session terminated"))
"""Errors of the SDK for a closed connection, and for a session over HTTP that has ended.

A server may use their codes for its own errors, in other words.
"""
_PROBE_S = 5.0  # time for a server to show that it has not ended

SendReport = Callable[[ToolReport], None]


def main() -> None:
    """Run until stdin ends."""
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # what functions read and print, and the programs that they start, must not meet the protocol
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    threading.Thread(target=bound_log, args=(_LOG_BYTES,), daemon=True).start()
    with suppress(BrokenPipeError):
        asyncio.run(_serve(source, sink))
    os._exit(0)  # threads of functions must not delay the end


async def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Follow the orders; the end of the loop cancels all tasks, and that ends the servers."""
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    def read() -> None:
        with suppress(RuntimeError):  # the loop has ended
            for line in source:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, b"")

    threading.Thread(target=read, daemon=True).start()  # on Windows, no loop can read such a pipe
    orders = msgspec.json.decode(await lines.get(), type=Orders)
    found = {secret for server in orders.servers for secret in secrets_of(server)}
    secrets = tuple(sorted(found, key=len, reverse=True))
    sys.stdout = sys.stderr = _Log(secrets)

    def tell(report: ToolReport) -> None:
        if report.server is not None and report.server.error:
            error = _without(secrets, report.server.error)
            report = replace(report, server=replace(report.server, error=error))
        sink.write(msgspec.json.encode(report) + b"\n")
        sink.flush()

    async def answer(order: Order) -> None:
        result = ToolResult(text="")
        if order.server:
            result = await servers[order.server].call(order.tool, order.arguments)
        else:
            await asyncio.gather(
                *(server.settled(again=order.again) for server in servers.values())
            )
        if result.is_error:
            result = replace(result, text=_without(secrets, result.text))
        text = (
            cut_result(result.text).encode(errors="replace").decode()
        )  # names of files may be no text
        tell(ToolReport(number=order.number, result=replace(result, text=text)))

    servers: dict[str, _McpServer | _Functions] = {
        server.name: _McpServer(server, orders, tell) for server in orders.servers
    }
    if orders.functions:
        servers[FUNCTIONS] = _Functions(Path(orders.functions), tell)
    tasks: dict[int, asyncio.Task[None]] = {}
    while line := await lines.get():
        order = msgspec.json.decode(line, type=Order)
        if not order.is_cancelled:
            task = tasks[order.number] = asyncio.create_task(
                answer(order), name=f"order {order.number}"
            )
            task.add_done_callback(partial(lambda number, _: tasks.pop(number), order.number))
        elif order.number in tasks:
            tasks[order.number].cancel()
    loop.call_later(SERVERS_END_S, os._exit, 1)


def _without(secrets: tuple[str, ...], text: str) -> str:
    """Cut secrets out of a text: a server or a library may repeat them in an error."""
    for secret in secrets:
        text = without_secret(text, secret)
    return text


class _Log(io.TextIOWrapper):
    """The log, without secrets of the settings."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        raw = open(2, "wb", buffering=0, closefd=False)  # noqa: SIM115 - open until the process ends
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        self._secrets = secrets

    def write(self, text: str) -> int:
        super().write(_without(self._secrets, text))
        return len(text)


class _McpServer:
    """MCP server and its connection."""

    def __init__(self, settings: McpSettings, orders: Orders, tell: SendReport) -> None:
        self._settings = settings
        self._folder = orders.folder
        self._log = orders.log
        self._tell = tell
        self._task: asyncio.Task[None] | None = None
        self._state = ToolServer(name=settings.name)
        self._client: Any = None  # while it is ready
        self._settled = asyncio.Event()
        self._woken = (
            asyncio.Event()
        )  # by a change of the tools, by a doubt whether it answers, by its end

    async def settled(self, *, again: bool) -> None:
        """Return when the server is ready or has failed; start it first, after a failure only if `again`."""
        if self._task is not None and again and self._settled.is_set() and self._client is None:
            await asyncio.wait([self._task])
        if self._task is None or (again and self._task.done()):
            self._settled.clear()
            self._task = asyncio.create_task(self._run(), name=self._settings.name)
        await self._settled.wait()

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        await self.settled(again=True)
        if self._client is None:
            return ToolResult(text=self._state.error, is_error=True)
        client = self._client
        try:
            result = await client.call_tool(tool, arguments)
        except asyncio.CancelledError:
            self._woken.set()
            raise
        except Exception as error:  # noqa: BLE001 - of the server, or of the SDK
            if not _is_lost(error) or await _is_connected(client):
                return ToolResult(text=str(error), is_error=True)
            self._client = None
            self._woken.set()
            return ToolResult(text=self._ended, is_error=True)
        return ToolResult(text=_text(result), is_error=result.is_error)

    @property
    def _ended(self) -> str:
        return f"The server {self._settings.name} ended. It starts again when it is used."

    async def _run(self) -> None:
        self._report(state=ServerState.STARTING, error="")
        try:
            await self._connect()
            why = self._ended
        except Exception as error:  # noqa: BLE001 - of the SDK, whatever it is
            traceback.print_exc()
            why = self._reason(error)
        self._client = None
        self._report(state=ServerState.FAILED, error=why)
        self._settled.set()

    def _reason(self, error: BaseException) -> str:
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        name = self._settings.name
        if isinstance(error, ImportError):
            return "The MCP SDK is not installed. Install it with: pip install 'lmchat[tools]'."
        if isinstance(error, FileNotFoundError):
            return (
                f"The server {name} cannot start: {error.filename} does not exist. Check [[mcp]]."
            )
        said = safe_line(str(error) or type(error).__name__, limit=_SAID_CHARS).rstrip(".")
        said = f"no answer within {START_S:g} s" if isinstance(error, TimeoutError) else said
        words = f"The server {name} failed: {said}."
        return f"{words} See {self._log}." if self._log else words

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
                transport = (
                    await self._over_http(stack) if self._settings.url else self._over_pipes()
                )
                info = Implementation(name="lmchat", version=__version__)
                client = Client(transport, cache=None, client_info=info, message_handler=notice)
                await stack.enter_async_context(client)
                session: Any = client.session
                session.validate_tool_result = _accept_result
                with suppress(
                    ListenNotSupportedError, SubscriptionLost, MCPError
                ):  # older ones tell unasked
                    await stack.enter_async_context(client.listen(tools_list_changed=True))
                while True:
                    self._woken.clear()
                    tools = await _tools_of(client, self._settings.name)
                    limit.deadline = math.inf
                    self._client = client
                    self._report(state=ServerState.READY, tools=tools)
                    self._settled.set()
                    await self._woken.wait()
                    if self._client is None:
                        return
                    await asyncio.sleep(_RELIST_S)
                    limit.deadline = anyio.current_time() + START_S

    def _report(self, **changes: Any) -> None:
        self._state = replace(self._state, **changes)
        self._tell(ToolReport(server=self._state))

    async def _over_http(self, stack: AsyncExitStack) -> Any:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        client = httpx2.AsyncClient(
            headers=self._settings.headers_env,
            follow_redirects=False,
            # a proxy of the environment cannot reach this machine
            trust_env=not Endpoint.parse(self._settings.url).is_local,
            timeout=httpx2.Timeout(START_S, read=None),  # the parent limits the time of a call
        )
        return streamable_http_client(
            self._settings.url, http_client=await stack.enter_async_context(client)
        )

    def _over_pipes(self) -> Any:
        """Return the connection to the command, which ends with this process, however that ends."""
        from mcp.client import stdio

        # more than the watchdog takes to end a server that ignores the end of its input
        stdio.PROCESS_TERMINATION_TIMEOUT = stdio.FORCE_KILL_TIMEOUT = SERVERS_END_S
        server = self._settings
        folder = Path(self._folder, Path(server.cwd).expanduser())
        environment = dict(server.env or {})
        program = _program(server.command, folder, environment)
        command, *words = watched(
            [program, *server.args],
            patience_s=_END_S,
            stdin=ALL_INPUT,
            grace_s=_END_S,
        )
        return stdio.stdio_client(
            stdio.StdioServerParameters(command=command, args=words, env=environment, cwd=folder)
        )


def _program(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Return the path of a program; raises `FileNotFoundError`.

    A name is looked for in the absolute folders of `PATH`; a path is relative to the server's folder.
    """
    if os.path.dirname(command):  # noqa: PTH120 - pathlib drops the `./` that makes the difference
        path = str(folder / command)
        if shutil.which(path) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)
        return path
    (program,) = command_for([command], os.environ | environment)
    return program


async def _accept_result(name: str, result: Any) -> None:
    """Take the place of the SDK's check of a result against the schema of its tool.

    lmchat shows results as text, and a slow pattern in a schema would stop the loop of all tools.
    """


def _is_lost(error: Exception) -> bool:
    return (getattr(error, "code", 0), str(error)) in _LOST


async def _is_connected(client: Any) -> bool:
    """Return whether a server still answers, with an error too; one that is silent has not ended."""
    try:
        async with asyncio.timeout(_PROBE_S):
            await client.list_tools()
    except TimeoutError:
        return True
    except Exception as error:  # noqa: BLE001 - of the server, or of the SDK
        return not _is_lost(error)
    return True


async def _tools_of(client: Any, server: str) -> tuple[Tool, ...]:
    """Return the tools of a server, page by page, up to a limit."""
    tools: list[Tool] = []
    size, cursor = 0, None
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
        if cursor is None:
            return tuple(tools)


def _text(result: Any) -> str:
    """Return the content of a result as text."""
    parts = [_block_text(block.model_dump(by_alias=True, mode="json")) for block in result.content]
    if not parts and result.structured_content is not None:
        return msgspec.json.encode(result.structured_content).decode()
    return "\n".join(parts)


def _block_text(block: dict[str, Any]) -> str:
    inner = block.get("resource") or block
    other = f"[{inner.get('mimeType') or block['type']}: {inner.get('uri') or 'not shown'}]"
    return str(inner.get("text", other))


class _Functions:
    """Server of the functions of a file, which is executed at the start; again if that has failed."""

    def __init__(self, path: Path, tell: SendReport) -> None:
        self._path = path
        self._tell = tell
        self._found: dict[str, FunctionTool] = {}
        self._error = ""
        self._loading = asyncio.create_task(self._load(), name=FUNCTIONS)

    async def settled(self, *, again: bool) -> None:
        """Return when the file has been executed."""
        if again and self._loading.done() and not self._found:
            self._loading = asyncio.create_task(self._load(), name=FUNCTIONS)
        await asyncio.wait([self._loading])

    async def call(self, name: str, arguments: dict[str, Any]) -> ToolResult:
        await self.settled(again=True)
        if name not in self._found:
            text = self._error or f"{self._path.name} has no function {name}."
            return ToolResult(text=text, is_error=True)
        try:
            return ToolResult(text=await self._found[name].call(arguments))
        except RequestInvalid as error:
            return ToolResult(text=error.message, is_error=True)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's function
            traceback.print_exc()
            return ToolResult(text=self._told(error), is_error=True)

    async def _load(self) -> None:
        state, self._error = ServerState.FAILED, ""
        try:
            async with asyncio.timeout(START_S):
                self._collect(await run_abandonable(partial(_execute, self._path)))
            state = ServerState.READY
        except TimeoutError:
            self._error = f"{self._path.name} did not end within {START_S:g} s."
        except (Exception, SystemExit) as error:  # noqa: BLE001 - of the user's file
            self._error = self._told(error)
        tools = tuple(one.tool for one in self._found.values())
        self._tell(
            ToolReport(
                server=ToolServer(name=FUNCTIONS, state=state, tools=tools, error=self._error)
            )
        )

    def _collect(self, module: ModuleType) -> None:
        errors: list[str] = []
        for name, value in vars(module).items():
            is_own = isinstance(value, FunctionType) and value.__module__ == module.__name__
            if not is_own or name.startswith("_") or value.__name__ != name:
                continue
            try:
                self._found[name] = FunctionTool(value)
            except RequestInvalid as error:
                errors.append(
                    f"{self._path.name}, line {value.__code__.co_firstlineno}: {error.words}"
                )
        self._error = " ".join(errors)

    def _told(self, error: BaseException) -> str:
        """Return an error with its line in the file."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [frame.lineno for frame in frames if frame.filename == str(self._path)]
        said = str(error)
        if isinstance(error, SyntaxError) and error.filename == str(self._path):
            lines, said = [error.lineno], error.msg
        place = f"{self._path.name}, line {lines[-1]}" if lines else self._path.name
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
