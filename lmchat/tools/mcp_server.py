"""MCP server and its connection, inside the tool host.

The MCP SDK is the library that speaks the protocol. It takes 0.7 s to import, so it is imported
only when the first server starts.
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
from lmchat.processes.environment import with_absolute_program
from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.request import Tool
from lmchat.tools.tool import ServerState, ToolResult, ToolServer
from lmchat.tools.tool_host import START_S, Orders, SendReport, ToolReport

MAX_LISTED = 1000  # tools of a server
_LISTED_BYTES = 4 * 1024 * 1024  # definitions of all tools of a server
_END_S = 0.4  # time for a server to end after the end of its stdin, and again after SIGTERM
# Pause before tools are listed again, for a server that reports changes of them all the time.
_RELIST_S = 0.5
_PROBE_S = 5.0  # time for a server to show that it has not ended
_REASON_CHARS = 300
_LOST_CONNECTION = ((-32000, "Connection closed"), (-32600, "Session terminated"))
"""Code and message of errors of the SDK: a closed connection, an ended session over HTTP.

A server may use the same codes for its own errors, with other messages.
"""


class McpServer:
    """MCP server and its connection; one task runs the connection from its start to its end."""

    def __init__(self, settings: McpSettings, orders: Orders, send: SendReport) -> None:
        """Start nothing yet; `send` sends a report to the parent."""
        self._settings = settings
        self._folder = orders.folder
        self._log = orders.log
        self._send = send
        self._task: asyncio.Task[None] | None = None
        self._state = ToolServer(name=settings.name)
        self._client: Any = None  # of the SDK, while the server is ready; otherwise None
        self._settled = asyncio.Event()  # set once the server is ready, and after it has failed
        self._must_check = asyncio.Event()
        """Set when the tools have changed, when it is in doubt whether the server answers, and when
        the server has ended. Then the task lists the tools again, or ends."""

    async def ensure_settled(self, *, restarts: bool) -> None:
        """Start the server if it has not been started, and wait until it is ready or has failed.

        With `restarts`, a server that has failed or ended before is started again.
        """
        has_failed = self._settled.is_set() and self._client is None
        # its task may still be closing the connection; a new one must wait for that
        if self._task is not None and restarts and has_failed:
            await asyncio.wait([self._task])
        if self._task is None or (restarts and self._task.done()):
            self._settled.clear()
            self._task = asyncio.create_task(self._run(), name=self._settings.name)
        await self._settled.wait()

    async def call(self, tool: str, arguments: dict[str, Any]) -> ToolResult:
        """Call a tool and return its result; each error is returned as a result, too.

        The server is started first if it does not run. After a cancelled call, the tools are listed
        again, to check whether the server still answers.
        """
        await self.ensure_settled(restarts=True)
        client = self._client
        if client is None:
            return ToolResult(text=self._state.error, is_error=True)
        try:
            result = await client.call_tool(tool, arguments)
        except asyncio.CancelledError:
            self._must_check.set()
            raise
        except Exception as error:  # noqa: BLE001 - of the server, or of the SDK
            has_ended = _is_lost_connection(error) and not await _is_connected(client)
            if not has_ended:
                return ToolResult(text=str(error), is_error=True)
            self._client = None
            self._must_check.set()  # the task then closes the connection and ends
            return ToolResult(text=self._ended_sentence, is_error=True)
        return ToolResult(text=_text_of(result), is_error=result.is_error)

    @property
    def _ended_sentence(self) -> str:
        return f"The server {self._settings.name} ended. It starts again when it is used."

    async def _run(self) -> None:
        """Run the server to its end, and report that it starts and, at the end, that it failed.

        `_connect` reports that it is ready. The end of a server always counts as a failure.
        """
        self._report(state=ServerState.STARTING, error="")
        try:
            await self._connect()
            sentence = self._ended_sentence
        except Exception as error:  # noqa: BLE001 - of the SDK, whatever it is
            traceback.print_exc()
            sentence = self._describe_failure(error)
        self._client = None
        self._report(state=ServerState.FAILED, error=sentence)
        self._settled.set()

    def _describe_failure(self, error: BaseException) -> str:
        """Return a sentence about an error that has ended the connection, and the next step if any.

        Of a group of errors, the first one counts.
        """
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
            reason = safe_line(words, limit=_REASON_CHARS).rstrip(".")
        sentence = f"The server {name} failed: {reason}."
        return f"{sentence} See {self._log}." if self._log else sentence

    async def _connect(self) -> None:
        """Connect, list the tools, and list them again each time `_must_check` is set.

        After each list, report that the server is ready. Return when `call` has found that the
        server has ended. Raises the errors of the SDK, and `TimeoutError` if connecting or listing
        the tools takes longer than `START_S`.
        """
        import anyio

        with anyio.fail_after(START_S) as limit:
            async with AsyncExitStack() as stack:
                client = await self._open_client(stack)
                while True:
                    self._must_check.clear()
                    tools = await _tools_of(client, self._settings.name)
                    limit.deadline = math.inf  # no limit while the connection waits
                    self._client = client
                    self._report(state=ServerState.READY, tools=tools)
                    self._settled.set()

                    await self._must_check.wait()
                    if self._client is None:  # set by `call`
                        return
                    await asyncio.sleep(_RELIST_S)
                    limit.deadline = anyio.current_time() + START_S

    async def _open_client(self, stack: AsyncExitStack) -> Any:
        """Connect to the server, and ask it to report changes of its tools.

        Return the client of the SDK; leaving `stack` closes the connection.
        """
        from mcp.client.client import Client
        from mcp.client.subscriptions import ListenNotSupportedError, SubscriptionLost
        from mcp.shared.exceptions import MCPError
        from mcp_types import Implementation, ToolListChangedNotification

        async def note_change(message: Any) -> None:
            if isinstance(message, ToolListChangedNotification):
                self._must_check.set()

        if self._settings.url:
            transport = await self._connect_over_http(stack)
        else:
            transport = self._connect_over_pipes()
        info = Implementation(name="lmchat", version=__version__)
        client = Client(transport, cache=None, client_info=info, message_handler=note_change)
        await stack.enter_async_context(client)
        session: Any = client.session
        session.validate_tool_result = _accept_result
        # older servers, which cannot be asked, report changes anyway
        with suppress(ListenNotSupportedError, SubscriptionLost, MCPError):
            await stack.enter_async_context(client.listen(tools_list_changed=True))
        return client

    def _report(self, **changes: Any) -> None:
        """Change fields of the state of the server, and send the state to the parent."""
        self._state = replace(self._state, **changes)
        self._send(ToolReport(server=self._state))

    async def _connect_over_http(self, stack: AsyncExitStack) -> Any:
        """Return the SDK's transport for a server with an address.

        Leaving `stack` closes the HTTP client of the transport.
        """
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        address = self._settings.url
        client = httpx2.AsyncClient(
            headers=self._settings.headers_env,
            follow_redirects=False,
            # an address of this machine or a private network is not reached through the proxy of
            # the environment
            trust_env=not Endpoint.parse(address).is_local,
            timeout=httpx2.Timeout(START_S, read=None),  # the parent limits the time of a call
        )
        return streamable_http_client(address, http_client=await stack.enter_async_context(client))

    def _connect_over_pipes(self) -> Any:
        """Return the SDK's transport for a server that is a command.

        The end of its input, which comes also if this process is killed, asks a server to end.
        """
        from mcp.client import stdio

        # the SDK waits for these times before it terminates and then kills a server
        stdio.PROCESS_TERMINATION_TIMEOUT = stdio.FORCE_KILL_TIMEOUT = _END_S
        server = self._settings
        folder = Path(self._folder, Path(server.cwd).expanduser())
        environment = dict(server.env or {})
        program = _program(server.command, folder, environment)
        return stdio.stdio_client(
            stdio.StdioServerParameters(
                command=program, args=list(server.args), env=environment, cwd=folder
            )
        )


def _program(command: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Return the path of the program of a command; raises `FileNotFoundError`.

    A name alone is searched in the absolute folders of `PATH`; a path, such as `./server`, is
    relative to `folder`. `environment` has the variables of the server's settings.
    """
    if os.path.dirname(command):  # noqa: PTH120 - pathlib drops the `./` that makes the difference
        path = str(folder / command)
        if shutil.which(path) is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), command)
        return path
    (program,) = with_absolute_program([command], os.environ | environment)
    return program


async def _accept_result(name: str, result: Any) -> None:
    """Do nothing: this replaces the SDK's check of a result against the schema of its tool.

    lmchat shows results as text. A slow pattern in a schema would block the event loop, and with it
    all tools.
    """


def _is_lost_connection(error: Exception) -> bool:
    return (getattr(error, "code", 0), str(error)) in _LOST_CONNECTION


async def _is_connected(client: Any) -> bool:
    """Return whether the connection to a server still exists, by asking the server for its tools.

    It also exists if the server answers with an error, or does not answer within `_PROBE_S`.
    """
    try:
        async with asyncio.timeout(_PROBE_S):
            await client.list_tools()
    except TimeoutError:
        return True
    except Exception as error:  # noqa: BLE001 - of the server, or of the SDK
        return not _is_lost_connection(error)
    return True


async def _tools_of(client: Any, server: str) -> tuple[Tool, ...]:
    """Return the tools of a server, which lists them page by page.

    Tools after the first `MAX_LISTED`, and those beyond `_LISTED_BYTES`, are left out.
    """
    tools: list[Tool] = []
    size_bytes = 0
    cursor = None  # of the next page
    while True:
        page = await client.list_tools(cursor=cursor)
        for definition in page.tools:
            annotations = definition.annotations
            tool = Tool(
                server=server,
                name=definition.name,
                description=definition.description or "",
                schema=definition.input_schema,
                is_read_only=annotations is not None and bool(annotations.read_only_hint),
            )
            size_bytes += len(msgspec.json.encode(tool))
            if len(tools) == MAX_LISTED or size_bytes > _LISTED_BYTES:
                return tuple(tools)
            tools.append(tool)
        cursor = page.next_cursor
        if cursor is None:
            return tuple(tools)


def _text_of(result: Any) -> str:
    """Return the content of a result of the SDK as text, one block below the other.

    A result with structured content only is returned as JSON.
    """
    blocks = [block.model_dump(by_alias=True, mode="json") for block in result.content]
    if not blocks and result.structured_content is not None:
        return msgspec.json.encode(result.structured_content).decode()
    return "\n".join(_text_of_block(block) for block in blocks)


def _text_of_block(block: dict[str, Any]) -> str:
    """Return the text of a block of content, or a line in brackets about a block without text.

    For example `[image/png: not shown]`.
    """
    content = block.get("resource") or block  # an embedded file is one level below its block
    if "text" in content:
        return str(content["text"])
    media_type = content.get("mimeType") or block["type"]
    address = content.get("uri") or "not shown"  # files and links have an address
    return f"[{media_type}: {address}]"
