"""MCP servers, and the functions of `tools.py` as one more: how they start, answer and end.

The MCP SDK is the library that speaks the protocol. It takes 0.7 s to import, so it is imported in
a thread, when the first server starts.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import re
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from lmchat import __version__
from lmchat.config.settings import FUNCTIONS, McpSettings
from lmchat.errors import LMChatError
from lmchat.files.disk import begin_log, expanded_path
from lmchat.processes.child import ChildProcess, own_program
from lmchat.processes.environment import needed_environment, with_absolute_program
from lmchat.processes.threads import run_abandonable
from lmchat.safe_text import header_value, safe_line, without_secret
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.request import Tool
from lmchat.tools.calls import cut_result
from lmchat.tools.protocols import ToolResult, ToolServer, ToolServerState

START_S = 30.0  # time for a server to start, and for the file of functions to run
MAX_LISTED = 1000  # tools of a server
_MESSAGE_BYTES = 32 * 1024 * 1024  # longest message of a server
_MESSAGE_PAUSE_S = 0.005  # after a message, so that the rest of lmchat can run
_END_S = 3.0  # time for all servers to end, killed if need be
_REASON_CHARS = 300
_MAX_WIRE_CHARS = 64
_NOT_IN_WIRE_NAMES = r"[^A-Za-z0-9_-]+"
_NUMBER_CHARS = 5  # room for a number behind a name, `_2` to `_9999`
_SESSION_ENDED = "Session terminated"
"""Message of the SDK's error for a session over HTTP that the server has ended."""
_STAND_INS = ("Server returned an error response", "Not Found")
"""Messages of the SDK's errors for an HTTP status of 400 or more, where the server said nothing."""
_NO_KEY = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
_SERVER_FAULTS = (HTTPStatus.TOO_MANY_REQUESTS, *range(500, 600))
_NO_PATH = (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE)


class McpServers:
    """The configured MCP servers, and the server of the functions of a file."""

    def __init__(
        self,
        servers: tuple[McpSettings, ...],
        *,
        functions: Path,
        folder: Path,
        log_file: Path | None,
        environ: Mapping[str, str],
        check_address: Callable[[str], None],
    ) -> None:
        """Start nothing yet.

        `functions` is the path of the file of functions, which may be missing. `folder` is the one
        in which servers start. Their stderr goes into `log_file`, or is dropped if that is None.
        `check_address` raises `LMChatError` for an address that is not allowed.
        """
        # absolute, as a relative path of a program is searched below the folder where it starts
        self._folder = folder.absolute()
        self.log_file = log_file
        self._log_fd: int | None = None  # of the log, since the first program started
        self._opening_log = asyncio.Lock()
        self._environ = environ
        self._check_address = check_address
        used = [server for server in servers if server.enabled]
        if functions.is_file():
            program, *arguments = own_program("lmchat.tools.function_server")
            arguments.append(str(functions.absolute()))
            used.append(McpSettings(name=FUNCTIONS, command=program, args=tuple(arguments)))
        self._servers = {settings.name: _McpServer(settings, self) for settings in used}

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        return with_wire_names(server.state for server in self._servers.values())

    async def start_servers(self, *, restarts: bool = False) -> tuple[ToolServer, ...]:
        """Start all servers that have not been started, and return all with states and tools.

        Servers that have failed before are started again only with `restarts`. One that has said
        that its tools have changed lists them again.
        """
        servers = self._servers.values()
        await asyncio.gather(*(server.ensure_settled(restarts=restarts) for server in servers))
        await asyncio.gather(*(server.list_changed_tools() for server in servers))
        return self.servers

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float
    ) -> ToolResult:
        """Call a tool and return its result; any error is a result, too.

        A server that does not answer within `timeout_s` is ended, and starts again with the next
        call. So nothing has to ask whether a server still works.
        """
        server = self._servers[tool.server]
        try:
            async with asyncio.timeout(timeout_s):
                return await server.call(tool.name, arguments)
        except TimeoutError:
            server.end()
            return ToolResult(text=f"No answer within {timeout_s:g} s.", is_error=True)

    async def aclose(self) -> None:
        """End all servers; the next call starts one again."""
        tasks = [server.task for server in self._servers.values() if server.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            # a server over HTTP may not answer when its session ends
            await asyncio.wait(tasks, timeout=_END_S)
        if self._log_fd is not None:
            os.close(self._log_fd)
            self._log_fd = None

    async def start_program(self, settings: McpSettings) -> ChildProcess:
        """Start the program of a server, with its stderr in the log; raises `OSError`.

        A name alone is searched in the absolute folders of `PATH`; a path, such as `./server`, is
        relative to the folder of the server.
        """
        async with self._opening_log:  # the servers start at the same time
            if self._log_fd is None and self.log_file is not None:
                self._log_fd = await asyncio.to_thread(begin_log, self.log_file)
        environment = needed_environment(self._environ) | dict(settings.env or {})
        folder = self._folder / expanded_path(settings.cwd)
        command = settings.command
        if os.path.dirname(command):  # noqa: PTH120 - pathlib drops the `./` that makes the difference
            command = str(folder / command)
        return await ChildProcess.start(
            with_absolute_program([command, *settings.args], environment),
            environment=environment,
            folder=folder,
            errors=DEVNULL if self._log_fd is None else self._log_fd,
            line_bytes=_MESSAGE_BYTES,
        )

    def headers(self, settings: McpSettings) -> dict[str, str]:
        """Return the headers for a server, with their values from variables of the environment.

        Raises `LMChatError` if its address is not allowed, or if a value is missing or invalid.
        """
        self._check_address(settings.url)
        headers: dict[str, str] = {}
        for header, variable in (settings.headers_env or {}).items():
            subject = f"The environment variable {variable} of the server {settings.name}"
            if variable not in self._environ:
                raise LMChatError(f"{subject} is not set.", hint="Set it.", kind="tools")
            try:
                headers[header] = header_value(self._environ[variable])
            except ValueError as error:
                # the error is the end of a sentence: "has control characters or …"
                reason = f"{subject} {error}, which no header can hold."
                raise LMChatError(reason, hint="Set it again without them.", kind="tools") from None
        return headers


class _McpServer:
    """A server and its connection; one task (`_run`) has the connection from its start to its end.

    A server is settled once it is ready or has failed. One that has ended counts as failed, too,
    whatever has ended it: the next call starts it again.
    """

    def __init__(self, settings: McpSettings, owner: McpServers) -> None:
        """Start nothing yet."""
        self.state = ToolServer(name=settings.name)
        self.task: asyncio.Task[None] | None = None  # the last `_run`; None before the first
        self._settings = settings
        self._owner = owner  # starts programs, and has the log and the headers
        self._secrets: tuple[str, ...] = ()  # values of headers, which errors may repeat
        self._client: Any = None  # of the SDK, while the server is in use; otherwise None
        self._has_changed_tools = False  # whether it said so since they were listed
        self._status = 0  # HTTP status of its last reply; 0 before a reply, and over pipes
        self._settled = asyncio.Event()
        self._must_end = asyncio.Event()  # set by `end`; the task waits for it

    async def ensure_settled(self, *, restarts: bool) -> None:
        """Start the server if it has not been started, and wait until it is ready or has failed.

        With `restarts`, a server that has failed or ended before is started again.
        """
        # while it starts, it has no client either, but is not settled
        has_ended = self._settled.is_set() and self._client is None
        if self.task is not None and restarts and has_ended:
            await asyncio.wait([self.task])  # it may still be closing the connection
        if self.task is None or (restarts and self.task.done()):
            self._settled.clear()
            self.task = asyncio.create_task(self._run(), name=self._settings.name)
        await self._settled.wait()

    async def list_changed_tools(self) -> None:
        """List the tools again if the server said that they have changed; on an error, keep them.

        A server that does not answer is asked once for each time it says so.
        """
        client = self._client
        if client is None or not self._has_changed_tools:
            return
        self._has_changed_tools = False  # before the request: it may say so once more meanwhile
        try:
            async with asyncio.timeout(START_S):
                tools = await _tools_of(client, self._settings.name)
        except Exception:  # noqa: BLE001 - of the server, or of the SDK
            return
        if self._client is client:
            self.state = replace(self.state, tools=tools)

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Call a tool and return its result; each error is returned as a result, too.

        The server is started first if it does not run. After a cancelled call, the server of
        functions is ended: nothing else stops a function.
        """
        await self.ensure_settled(restarts=True)
        client = self._client
        if client is None:
            return ToolResult(text=self.state.error, is_error=True)
        try:
            # lone surrogates cannot be sent as UTF-8: the server would never get the call
            text = json.dumps(arguments, ensure_ascii=False).encode(errors="replace")
            result = await client.call_tool(tool, json.loads(text))
        except asyncio.CancelledError:
            if self._settings.name == FUNCTIONS:
                self.end()
            raise
        except Exception as error:  # noqa: BLE001 - of the server, or of the SDK
            if str(error) == _SESSION_ENDED:  # by an HTTP server; nothing but this text says so
                self.end()
            # `_client` is None after the end of the server, or another one: another call may have
            # restarted the server since
            has_ended = self._client is not client
            words = self._refusal_of(error) or self._words_of(error)
            words = self._ended_sentence if has_ended else cut_result(words)
            return ToolResult(text=words, is_error=True)
        return ToolResult(text=cut_result(_text_of(result)), is_error=result.is_error)

    def end(self) -> None:
        """Let the task close the connection; the next call starts the server again."""
        self._client = None
        self._must_end.set()

    @property
    def _ended_sentence(self) -> str:
        return f"The server {self._settings.name} ended. It starts again when it is used."

    async def _run(self) -> None:
        """Start the server, wait until `end` is called, then close the connection.

        `end` is also called when the program of the server has ended. `state` is kept up to date;
        after an error, it says what happened. Starting, with the list of tools, may take `START_S`,
        and so may closing.
        """
        self.state = replace(self.state, state=ToolServerState.STARTING, error="", can_correct=True)
        self._must_end.clear()
        sentence = self._ended_sentence  # error of the state in the end; a failure replaces it
        try:
            await run_abandonable(_import_sdk)
            import anyio

            # a limit of anyio, not of asyncio: the SDK cancels with anyio, too
            with anyio.fail_after(START_S) as limit:
                async with AsyncExitStack() as stack:
                    client = await self._open_client(stack)
                    self._has_changed_tools = False
                    tools = await _tools_of(client, self._settings.name)
                    problem = ""
                    # the server of functions puts into its instructions what is wrong with the file
                    if self._settings.name == FUNCTIONS:
                        problem = client.instructions or ""
                    if problem and not tools:
                        raise LMChatError(problem, kind="tools")  # noqa: TRY301 - shown like other failures
                    limit.deadline = math.inf  # no limit while the connection is open
                    self._client = client
                    self.state = replace(
                        self.state, state=ToolServerState.READY, tools=tools, error=problem
                    )
                    self._settled.set()
                    async with anyio.create_task_group() as listening:
                        listening.start_soon(self._listen, client)
                        await self._must_end.wait()
                        listening.cancel_scope.cancel()
                    limit.deadline = anyio.current_time() + START_S  # for closing the connection
        except Exception as error:  # noqa: BLE001 - of the SDK, whatever it is
            sentence = self._describe_failure(error)
            can_correct = self._status not in _SERVER_FAULTS
            self.state = replace(self.state, can_correct=can_correct)
        finally:
            self._client = None
            self.state = replace(self.state, state=ToolServerState.FAILED, error=sentence)
            self._settled.set()

    async def _listen(self, client: Any) -> None:
        """Ask a server for notices of changed tools, which come to `_note_message`, until its end.

        Servers of protocols before 2026-07-28 send them unasked.
        """
        can_tell = client.server_capabilities.tools
        if can_tell is None or not can_tell.list_changed:
            return
        try:
            async with client.listen(tools_list_changed=True) as notices:
                self._has_changed_tools = True  # they may have changed before it could tell
                async for _ in notices:
                    self._has_changed_tools = True
        except Exception:  # noqa: BLE001 - of the server, or of the SDK: there are no notices then
            return

    async def _note_message(self, message: object) -> None:
        """Note a notice that the tools have changed; others are of no use."""
        from mcp_types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._has_changed_tools = True

    def _describe_failure(self, error: BaseException) -> str:
        """Return a sentence about an error that has ended the connection, and the next step if any.

        A group of errors is described by its first error.
        """
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        name = self._settings.name
        match error:
            case LMChatError():
                return error.message_with_hint
            case ImportError():
                return "The MCP SDK is not installed. Install it with: pip install 'lmchat[tools]'."
            case FileNotFoundError(filename=missing):
                return f"The server {name} cannot start: {missing} does not exist. Check [[mcp]]."
            case TimeoutError():
                reason = f"no answer within {START_S:g} s"
            case _:
                if refusal := self._refusal_of(error):
                    return refusal
                reason = safe_line(self._words_of(error), limit=_REASON_CHARS).rstrip(".")
        # only servers that lmchat has started itself print into the log
        log_file = None if self._settings.url else self._owner.log_file
        see_log = "" if log_file is None else f" See {log_file}."
        return f"The server {name} failed: {reason}.{see_log}"

    def _refusal_of(self, error: BaseException) -> str:
        """Return what the HTTP status of a refusal means, and the next step; empty if none does.

        The server's own words are better, except for a missing key, where they are added.
        """
        status: int | str = self._status
        words = "" if str(error) in _STAND_INS else self._words_of(error)
        if self._status < HTTPStatus.BAD_REQUEST or (words and self._status not in _NO_KEY):
            return ""
        with suppress(ValueError):  # a status without a name
            status = f"{self._status} {HTTPStatus(self._status).phrase}"
        says = f"The server {self._settings.name} answers {status}"
        said = safe_line(words, limit=_REASON_CHARS).rstrip(".")
        says += f": {said}." if said else "."
        variables = ", ".join((self._settings.headers_env or {}).values())
        if self._status in _NO_KEY and variables:
            step = f"Check the value of {variables}; lmchat has no OAuth."
        elif self._status in _NO_KEY:
            step = "If it needs a key, add headers_env to [[mcp]]; lmchat has no OAuth."
        elif self._status in _NO_PATH:
            step = "Check the path of its url, which often ends in /mcp."
        elif self._status == HTTPStatus.TOO_MANY_REQUESTS:
            step = "Try again later."
        elif self._status in _SERVER_FAULTS:
            step = "The fault is the server's: see its log."
        else:
            step = "Check its url and headers_env."
        return f"{says} {step}"

    def _words_of(self, error: BaseException) -> str:
        """Return the text of an error, without the values of the headers."""
        words = str(error) or type(error).__name__
        for secret in self._secrets:
            words = without_secret(words, secret)
        return words

    async def _open_client(self, stack: AsyncExitStack) -> Any:
        """Connect to the server; leaving `stack` closes the connection."""
        from mcp.client.client import Client
        from mcp_types import Implementation

        if self._settings.url:
            transport = await self._connect_over_http(stack)
        else:
            child = await self._owner.start_program(self._settings)
            # leaving `stack` closes the client first, then ends the program
            stack.push_async_callback(_end, child)
            transport = _transport_over_pipes(self._settings.name, child, self.end)
        info = Implementation(name="lmchat", version=__version__)
        # without the SDK's cache of lists: this class keeps the tools
        client = Client(transport, cache=None, client_info=info, message_handler=self._note_message)
        await stack.enter_async_context(client)
        session: Any = client.session  # not typed, so that mypy allows to replace a method
        session.validate_tool_result = _accept_result
        return client

    async def _connect_over_http(self, stack: AsyncExitStack) -> Any:
        """Return the SDK's transport for a server with an address.

        Leaving `stack` closes the HTTP client of the transport.
        """
        import httpx2
        from mcp.client.streamable_http import streamable_http_client

        address = self._settings.url
        self._status = 0
        headers = self._owner.headers(self._settings)
        self._secrets = tuple(headers.values())  # errors are shown without them

        async def note_request(request: Any) -> None:
            if request.method == "POST":
                self._status = 0

        async def note_reply(reply: Any) -> None:
            if reply.request.method == "POST":  # others only ask for notices, or end the session
                self._status = reply.status_code

        client = httpx2.AsyncClient(
            event_hooks={"request": [note_request], "response": [note_reply]},
            headers=headers,
            follow_redirects=False,
            # an address of this machine or a private network is not reached through the proxy of
            # the environment
            trust_env=not Endpoint.parse(address).is_near,
            timeout=httpx2.Timeout(START_S, read=None),  # the caller limits the time of a call
        )
        return streamable_http_client(address, http_client=await stack.enter_async_context(client))


def _import_sdk() -> None:
    """Import what the functions of this module import; raises `ImportError`."""
    import httpx2
    import mcp.client.client
    import mcp.client.stdio
    import mcp.client.streamable_http
    import mcp_types

    # its records may quote what tools answer; "client" is the logger of `mcp.client.session`
    for name in (mcp.__name__, mcp_types.__name__, httpx2.__name__, "client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


@asynccontextmanager
async def _transport_over_pipes(
    name: str, child: ChildProcess, on_end: Callable[[], None]
) -> AsyncIterator[tuple[Any, Any]]:
    """Yield the SDK's streams of messages over the pipes from and to a program.

    This takes the place of the SDK's own transport, which reads lines of any length. `name` is that
    of the server; `on_end` is called when no more messages can come. Raises `LMChatError` after a
    message that is too long.
    """
    import anyio

    # two streams, each with an end to send into and one to receive from
    incoming_sender, incoming = anyio.create_memory_object_stream[Any](0)
    outgoing_sender, outgoing = anyio.create_memory_object_stream[Any](0)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_read_messages, name, child, incoming_sender, on_end)
        tasks.start_soon(_write_messages, child, outgoing)
        yield incoming, outgoing_sender
        tasks.cancel_scope.cancel()  # else `_read_messages` would wait for the end of the program


async def _read_messages(
    name: str, child: ChildProcess, incoming_sender: Any, on_end: Callable[[], None]
) -> None:
    """Pass on the messages of a program to the SDK's client, until the program ends.

    `name` is that of the server. At the end, `on_end` is called. Raises `LMChatError` after a
    message that is too long.
    """
    import anyio
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter
    from pydantic import ValidationError

    try:
        while line := await child.read_line():
            # Lines that are no messages are left out, as many programs print a greeting.
            # `by_name=False`: fields have the names of the protocol, not those of the SDK's classes
            with suppress(ValidationError):
                message = jsonrpc_message_adapter.validate_json(line, by_name=False)
                await incoming_sender.send(SessionMessage(message))
            # a server may send notices without end, and each takes a millisecond
            await asyncio.sleep(_MESSAGE_PAUSE_S)
    except anyio.BrokenResourceError:  # the client is closed
        pass
    except ValueError:  # from `read_line`: the line is too long
        limit = f"{_MESSAGE_BYTES // 2**20} MB"
        words = f"The server {name} sent a message of more than {limit}."
        raise LMChatError(words, hint="Correct it.", kind="tools") from None
    finally:
        on_end()
        incoming_sender.close()


async def _write_messages(child: ChildProcess, outgoing: Any) -> None:
    """Pass on the messages of the SDK's client to a program, until the client is closed."""
    async with outgoing:
        async for message in outgoing:
            # `by_alias`: fields get the names of the protocol
            text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
            await child.write_line(text.encode())


async def _end(child: ChildProcess) -> None:
    """End a program; the time limit for its start, which may be over, does not cancel this."""
    import anyio

    with anyio.CancelScope(shield=True):
        await child.end_politely()


async def _accept_result(name: str, result: Any) -> None:
    """Do nothing: this replaces the SDK's check of a result against the schema of its tool.

    lmchat shows results as text, so it needs no check. A slow pattern in a schema would block the
    event loop.
    """


async def _tools_of(client: Any, server: str) -> tuple[Tool, ...]:
    """Return the first `MAX_LISTED` tools of a server, which lists them page by page."""
    tools: list[Tool] = []
    cursor = None  # of the next page
    while len(tools) < MAX_LISTED:
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
            tools.append(tool)
        cursor = page.next_cursor
        if cursor is None:
            break
    return tuple(tools[:MAX_LISTED])


def _text_of(result: Any) -> str:
    """Return the content of a result of the SDK as text, one block below the other.

    A block without text becomes a line in brackets, such as `[image/png: not shown]`. A result with
    structured content only is returned as JSON.
    """
    if not result.content and result.structured_content is not None:
        return msgspec.json.encode(result.structured_content).decode()
    texts: list[str] = []
    for part in result.content:
        block = part.model_dump(by_alias=True, mode="json")
        content = block.get("resource") or block  # an embedded file is one level below its block
        media_type = content.get("mimeType") or block["type"]
        address = content.get("uri") or "not shown"  # files and links have an address
        texts.append(str(content.get("text", f"[{media_type}: {address}]")))
    return "\n".join(texts)


def with_wire_names(servers: Iterable[ToolServer]) -> tuple[ToolServer, ...]:
    """Return the servers, with a `wire_name` for each tool: its name in requests.

    The name is `SERVER__TOOL`, cut to the allowed length, with a number if it is not unique.
    """
    used_names: set[str] = set()
    named_servers: list[ToolServer] = []
    for server in servers:
        named_tools: list[Tool] = []
        for tool in server.tools:
            full_name = re.sub(_NOT_IN_WIRE_NAMES, "_", f"{tool.server}__{tool.name}")
            wire_name = full_name[:_MAX_WIRE_CHARS]
            number = 1
            while wire_name in used_names:
                number += 1
                wire_name = f"{full_name[: _MAX_WIRE_CHARS - _NUMBER_CHARS]}_{number}"
            used_names.add(wire_name)
            named_tools.append(replace(tool, wire_name=wire_name))
        named_servers.append(replace(server, tools=tuple(named_tools)))
    return tuple(named_servers)
