"""MCP server and its connection, inside the tool host.

The MCP SDK takes 0.7 s to import, so it is imported for the first server only.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import shutil
import traceback
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lmchat import __version__
from lmchat.config.settings import McpSettings
from lmchat.domain.server import Endpoint
from lmchat.domain.tool import ServerState, Tool, ToolResult, ToolServer
from lmchat.files import with_absolute_program
from lmchat.machine.watchdog import ALL_INPUT, watched
from lmchat.text import safe_line
from lmchat.tools.tool_host import SERVERS_END_S, START_S, Orders, SendReport, ToolReport

MAX_LISTED = 1000  # tools of a server
_LISTED_BYTES = 4 << 20  # definitions of all tools of a server
_END_S = 0.4  # time for a server to end by the end of its stdin, and again after SIGTERM
_RELIST_S = 0.5  # between two listings of a server that reports a change of its tools all the time
_PROBE_S = 5.0  # time for a server to show that it has not ended
_SAID_CHARS = 300
_LOST = ((-32000, "Connection closed"), (-32600, "Session terminated"))
"""Errors of the SDK for a closed connection, and for a session over HTTP that has ended.

A server may use their codes for its own errors, in other words.
"""


class McpServer:
    """MCP server and its connection."""

    def __init__(self, settings: McpSettings, orders: Orders, send: SendReport) -> None:
        self._settings = settings
        self._folder = orders.folder
        self._log = orders.log
        self._send = send
        self._task: asyncio.Task[None] | None = None
        self._state = ToolServer(name=settings.name)
        self._client: Any = None  # while it is ready
        self._settled = asyncio.Event()
        self._woken = asyncio.Event()
        """Set by a change of the tools, by a doubt whether it answers, by its end."""

    async def settled(self, *, again: bool) -> None:
        """Return when the server is ready or has failed.

        Starts it first, after a failure only if `again`.
        """
        has_failed = self._settled.is_set() and self._client is None
        if self._task is not None and again and has_failed:
            await asyncio.wait([self._task])
        if self._task is None or (again and self._task.done()):
            self._settled.clear()
            self._task = asyncio.create_task(self._run(), name=self._settings.name)
        await self._settled.wait()

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        await self.settled(again=True)
        client = self._client
        if client is None:
            return ToolResult(text=self._state.error, is_error=True)
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
            reason = self._ended
        except Exception as error:  # noqa: BLE001 - of the SDK, whatever it is
            traceback.print_exc()
            reason = self._reason(error)
        self._client = None
        self._report(state=ServerState.FAILED, error=reason)
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
        if isinstance(error, TimeoutError):
            reason = f"no answer within {START_S:g} s"
        else:
            words = str(error) or type(error).__name__
            reason = safe_line(words, limit=_SAID_CHARS).rstrip(".")
        sentence = f"The server {name} failed: {reason}."
        return f"{sentence} See {self._log}." if self._log else sentence

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
                if self._settings.url:
                    transport = await self._over_http(stack)
                else:
                    transport = self._over_pipes()
                info = Implementation(name="lmchat", version=__version__)
                client = Client(transport, cache=None, client_info=info, message_handler=notice)
                await stack.enter_async_context(client)
                session: Any = client.session
                session.validate_tool_result = _accept_result
                # older servers report changes without being asked
                with suppress(ListenNotSupportedError, SubscriptionLost, MCPError):
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
        self._send(ToolReport(server=self._state))

    async def _over_http(self, stack: AsyncExitStack) -> Any:
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        address = self._settings.url
        client = httpx2.AsyncClient(
            headers=self._settings.headers_env,
            follow_redirects=False,
            # a proxy of the environment cannot reach this machine
            trust_env=not Endpoint.parse(address).is_local,
            timeout=httpx2.Timeout(START_S, read=None),  # the parent limits the time of a call
        )
        return streamable_http_client(address, http_client=await stack.enter_async_context(client))

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
            terminate_s=_END_S,
            stdin=ALL_INPUT,
            grace_s=_END_S,
        )
        return stdio.stdio_client(
            stdio.StdioServerParameters(command=command, args=words, env=environment, cwd=folder)
        )


def _program(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Return the path of a program; raises `FileNotFoundError`.

    A name is looked for in the absolute folders of `PATH`; a path is relative to the server's
    folder.
    """
    if os.path.dirname(command):  # noqa: PTH120 - pathlib drops the `./` that makes the difference
        path = str(folder / command)
        if shutil.which(path) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)
        return path
    (program,) = with_absolute_program([command], os.environ | environment)
    return program


async def _accept_result(name: str, result: Any) -> None:
    """Take the place of the SDK's check of a result against the schema of its tool.

    lmchat shows results as text, and a slow pattern in a schema would stop the loop of all tools.
    """


def _is_lost(error: Exception) -> bool:
    return (getattr(error, "code", 0), str(error)) in _LOST


async def _is_connected(client: Any) -> bool:
    """Return whether a server still answers, if with an error; a silent one has not ended."""
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
    size = 0
    cursor = None
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
    if "text" in inner:
        return str(inner["text"])
    return f"[{inner.get('mimeType') or block['type']}: {inner.get('uri') or 'not shown'}]"
