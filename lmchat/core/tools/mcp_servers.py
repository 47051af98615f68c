"""MCP servers, and the functions of `tools.py` as one more: how they start, answer and end.

The MCP SDK takes 0.7 s to import, so a thread imports it when the first server starts.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from contextvars import Context
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from msgspec.structs import replace

from lmchat import __version__
from lmchat.base.errors import LMChatError
from lmchat.base.extras import install_command
from lmchat.base.files.disk import ensure_folder, start_log
from lmchat.base.json_values import utf8_safe
from lmchat.base.processes.background import run_abandonable
from lmchat.base.processes.child import own_program
from lmchat.base.processes.environment import needed_environment
from lmchat.base.safe_text import safe_line, without_secret
from lmchat.base.units import counted
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.mcp_file import checked_headers, expanded, refuse_missing, variables_in
from lmchat.core.config.settings import FUNCTIONS, McpSettings
from lmchat.core.servers.request import Tool
from lmchat.core.tools.calls import (
    SENT_CALL,
    SentCall,
    Tell,
    ToolResult,
    ToolServer,
    ToolServerState,
    cut_result,
)
from lmchat.core.tools.mcp_messages import NOT_MCP, MessageReader, image_bytes
from lmchat.core.tools.questions import AskUser
from lmchat.core.tools.server_over_http import ANSWER_S, ServerOverHttp
from lmchat.core.tools.server_program import ServerProgram, start_failure, start_of
from lmchat.core.tools.waiting_limits import WaitingLimits

START_S = 180.0  # time for a server to start: at first, `npx` and `uvx` download it
MAX_LISTED = 1000  # tools of a server
_MOST_LIMITS = 10  # time of a call that reports progress, in time limits
_END_S = 3.0  # time for all servers to end, killed if need be
_REASON_CHARS = 300
_MAX_WIRE_CHARS = 64
_NOT_IN_WIRE_NAMES = r"[^A-Za-z0-9_-]+"
_KEY_CHARS = 16  # of a value in `env` that may be a key; a shorter one may be a word
_NUMBER_CHARS = 5  # room for a number behind a name, `_2` to `_9999`
_CLOSED = "Connection closed"
"""Message of the SDK's error for a program that has ended."""
_VALIDATION = re.compile(r":? ?\d+ validation errors? for .*", re.DOTALL)  # words of pydantic


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
        credentials: Credentials,
        timeout_s: float,
    ) -> None:
        """The file of `functions` may be missing.

        The stderr of servers goes into `log_file`. `check_address` raises `LMChatError` for an
        address that is not allowed. `timeout_s` is for calls of tools; starts may take as long.
        """
        self.functions = functions
        self.start_s = max(START_S, timeout_s)
        # absolute, as a relative path of a program is searched below the folder where it starts
        self._folder = folder.absolute()
        self.log_file = log_file
        self._log_fd: int | None = None  # of the log, since the first program started
        self._opening_log = asyncio.Lock()
        self.environ = environ
        self.check_address = check_address
        self.credentials = credentials
        self.ask_user: AskUser | None = None  # set by a front end that can ask; else all is refused
        self.is_asking = asyncio.Lock()  # so that a front end has one question at a time
        used = [server for server in servers if not server.disabled]
        if os.path.lexists(functions):
            program, *arguments = own_program("lmchat.core.tools.function_server")
            arguments.append(str(functions.absolute()))
            used.append(McpSettings(name=FUNCTIONS, command=program, args=tuple(arguments)))
        self._servers = {settings.name: _McpServer(settings, self) for settings in used}

    @property
    def servers(self) -> tuple[ToolServer, ...]:
        return with_wire_names(server.state for server in self._servers.values())

    async def start_servers(self, *, restarts: bool = False) -> tuple[ToolServer, ...]:
        """As `ToolHost` says; a server that said that its tools have changed lists them again."""
        servers = self._servers.values()
        await asyncio.gather(*(server.ensure_settled(restarts=restarts) for server in servers))
        await asyncio.gather(*(server.list_changed_tools() for server in servers))
        return self.servers

    async def call(
        self, tool: Tool, arguments: Mapping[str, Any], *, timeout_s: float, tell: Tell
    ) -> ToolResult:
        """As `ToolHost` says; a server that does not answer in time is ended.

        So nothing has to ask whether a server still works: the next call starts it again. One that
        reports progress for ever does not answer either.
        """
        server = self._servers[tool.server]
        timeout_s = server.settings.timeout_s or timeout_s
        last_s = monotonic() + _MOST_LIMITS * timeout_s
        try:
            with server.limits.limited(timeout_s) as limit:

                async def note_progress(_: float, __: float | None, message: str | None) -> None:
                    server.limits.restart(limit, min(timeout_s, last_s - monotonic()))
                    if message:
                        tell(safe_line(message, limit=_REASON_CHARS))

                return await server.call(tool.name, arguments, note_progress)
        except TimeoutError:
            server.end()
            timeout_s *= _MOST_LIMITS if monotonic() > last_s else 1
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

    async def start_program(self, settings: McpSettings) -> ServerProgram:
        """Raises `OSError`."""
        async with self._opening_log:  # the servers start at the same time
            if self._log_fd is None and self.log_file is not None:
                try:
                    self._log_fd = await asyncio.to_thread(start_log, self.log_file)
                except OSError:
                    self.log_file = None  # tools do without
        # it is missing before the first `lmchat tools add`
        await asyncio.to_thread(ensure_folder, self._folder)
        command, folder = start_of(settings, self._folder, self.environ)
        return await ServerProgram.start(
            settings.name,
            command,
            environment=needed_environment(self.environ) | dict(settings.env or {}),
            folder=folder,
            log_fd=self._log_fd,
        )

    def secrets_of(self, settings: McpSettings) -> set[str]:
        """Return the values that a server gets, which errors may repeat."""
        own = set(variables_in(settings)) - needed_environment(self.environ).keys()
        values = (settings.env or {}).values()
        written = [text for text in values if len(text) >= _KEY_CHARS and "${" not in text]
        return {*written, *(self.environ.get(name, "") for name in own)}


class _McpServer:
    """A server and its connection; one task (`_run`) has the connection from its start to its end.

    A server is settled once it is ready or has failed. One that has ended counts as failed, too,
    whatever has ended it: the next call starts it again.
    """

    def __init__(self, settings: McpSettings, owner: McpServers) -> None:
        self.state = ToolServer(name=settings.name)
        self.task: asyncio.Task[None] | None = None  # the last `_run`; None before the first
        self.settings = settings
        self._owner = owner  # starts programs, and has the log and the headers
        self._client: Any = None  # of the SDK, while the server is in use; otherwise None
        self._has_changed_tools = False  # whether it said so since they were listed
        # of the last connection: one of them, or none if it could not start
        self._program: ServerProgram | None = None
        self._http: ServerOverHttp | None = None
        self._settled = asyncio.Event()
        self._must_end = asyncio.Event()  # set by `end`; the task waits for it
        self.limits = WaitingLimits(owner)

    async def ensure_settled(self, *, restarts: bool) -> None:
        """Start the server if it never was, or with `restarts` if it has failed or ended."""
        # while it starts, it has no client either, but is not settled
        has_ended = self._settled.is_set() and self._client is None
        if self.task is not None and restarts and has_ended:
            await asyncio.wait([self.task])  # it may still be closing the connection
        if self.task is None or (restarts and self.task.done()):
            self._settled.clear()
            # what it sends belongs to no call, even if one starts it
            start = self._run()
            self.task = asyncio.create_task(start, name=self.settings.name, context=Context())
        try:
            await self._settled.wait()
        except asyncio.CancelledError:
            self.limits.decline_all()  # the start continues in a task of its own
            raise

    async def list_changed_tools(self) -> None:
        """List the tools again if the server said that they have changed; on an error, keep them.

        A server that does not answer is asked once for each time it says so.
        """
        client = self._client
        if client is None or not self._has_changed_tools:
            return
        self._has_changed_tools = False  # before the request, as it may say so again
        try:
            async with asyncio.timeout(ANSWER_S):
                listed = await self._list_tools(client)
        except Exception:  # noqa: BLE001 - of the server, or of the SDK
            return
        if self._client is client:
            self.state = listed

    async def call(self, tool: str, arguments: Mapping[str, Any], note_progress: Any) -> ToolResult:
        """Start the server if it does not run, and call a tool; errors are results, too.

        A cancelled call ends the server of functions: nothing else stops a function. A call whose
        session the server has forgotten is sent once more, in a new one.
        """
        sent = SentCall()
        SENT_CALL.set(sent)
        result = await self._call_once(tool, arguments, note_progress, sent)
        if sent.starts_session:
            sent.is_last_try = True
            result = await self._call_once(tool, arguments, note_progress, sent)
        return result

    async def _call_once(
        self, tool: str, arguments: Mapping[str, Any], note_progress: Any, sent: SentCall
    ) -> ToolResult:
        await self.ensure_settled(restarts=True)
        client = self._client
        if client is None:
            return ToolResult(text=self.state.problem, is_error=True)
        try:
            # lone surrogates cannot be sent as UTF-8: the server would never get the call
            result = await client.call_tool(
                tool, utf8_safe(dict(arguments)), progress_callback=note_progress
            )
        except asyncio.CancelledError:
            self.limits.decline_all()  # the SDK signs in in a task of its own
            if self.settings.name == FUNCTIONS:
                self.end()
            raise
        except Exception as error:  # noqa: BLE001 - of the server, or of the SDK
            # `_client` is None after the end of the server, or another one: another call may have
            # restarted the server since
            has_ended = self._client is not client
            refusal = self._http.refusal if self._http is not None else None
            # the SDK closes the session if the server over HTTP cannot be reached
            is_lost = self._http is not None and str(error) == _CLOSED
            if is_lost and not refusal:
                refusal = self._failure_of(error, 0)
            words = refusal.message_with_next_step if refusal else self._text_of(error)
            words = self._ended_sentence if has_ended else cut_result(words)
            if (sent.has_no_session or is_lost) and not has_ended:
                self.end()
            return ToolResult(text=words, is_error=True)
        text = "".join(part.text for part in result.content)  # one part of `_make_readable`
        return ToolResult(
            text=cut_result(text),
            is_error=result.is_error,
            images={name: image_bytes(data) for name, data in result.meta["images"].items()},
        )

    def end(self) -> None:
        """Let the task close the connection; the next call starts the server again."""
        self._client = None
        self._must_end.set()

    @property
    def _ended_sentence(self) -> str:
        return f"The server {self.settings.name} ended. It starts again when it is used."

    async def _run(self) -> None:
        """Start the server, wait until `end` is called, then close the connection.

        The end of its program calls `end`, too.
        """
        self.state = replace(self.state, state=ToolServerState.STARTING, error="", next_step="")
        self._must_end.clear()
        # of the state in the end; a failure replaces it
        problem = LMChatError(self._ended_sentence)
        start_s = self.settings.timeout_s or self._owner.start_s
        try:
            await run_abandonable(_import_sdk)
            import anyio

            with self.limits.limited(start_s) as limit:
                async with AsyncExitStack() as stack:
                    client = await self._open_client(stack)
                    self._has_changed_tools = False
                    listed = await self._list_tools(client)
                    # the server of functions puts into its instructions what is wrong with the file
                    if self.settings.name == FUNCTIONS and client.instructions:
                        wrong = {"error": client.instructions, "next_step": self._step_to_correct}
                        listed = replace(listed, **wrong)
                        if not listed.tools:
                            raise LMChatError(listed.error, next_step=listed.next_step)  # noqa: TRY301 - shown like other failures
                    # no limit while the connection is open
                    self.limits.restart(limit, math.inf)
                    self._client = client
                    self.state = listed
                    self._settled.set()
                    async with anyio.create_task_group() as listening:
                        listening.start_soon(self._listen, client)
                        await self._must_end.wait()
                        listening.cancel_scope.cancel()
                    # for closing the connection
                    self.limits.restart(limit, ANSWER_S)
        except Exception as error:  # noqa: BLE001 - of the SDK, whatever it is
            problem = self._failure_of(error, start_s)
        finally:
            self._client = None
            self.state = replace(
                self.state,
                state=ToolServerState.FAILED,
                error=problem.message,
                next_step=problem.next_step,
            )
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
        from mcp_types import ToolListChangedNotification

        if isinstance(message, ToolListChangedNotification):
            self._has_changed_tools = True

    @property
    def _step_to_correct(self) -> str:
        if self.settings.name == FUNCTIONS:
            return f"Correct {self._owner.functions}."
        if self.settings.url:
            return "Check its url, or see the log of the server."
        return "Check its arguments and variables."

    def _failure_of(self, error: BaseException, start_s: float) -> LMChatError:
        error = _first_of(error)
        name = self.settings.name
        next_step = self._step_to_correct
        reason = safe_line(self._text_of(error), limit=_REASON_CHARS).rstrip(".")
        refusal = None if self._http is None else self._http.failure_of(error, reason)
        match error:
            case LMChatError():
                return LMChatError(self._without_secrets(error.message), next_step=error.next_step)
            case ImportError():
                return LMChatError(
                    "The MCP SDK is not installed.",
                    next_step=f"Install it: {install_command('tools')}",
                )
            case OSError() if not self.settings.url and self._program is None:
                return start_failure(name, self.settings.command, error)
            case TimeoutError():
                place = "under [tools]" if name == FUNCTIONS else "in mcp.json"
                next_step = f"If it needs longer for its first start, set timeout_s {place}."
                said = f". It said: {self._last_text}" if self._last_text else ""
                reason = f"no answer within {start_s:g} s{said}"
            case _ if refusal:
                return refusal
            case _ if self.settings.url and not (self._http and self._http.status):  # no reply
                next_step = "Start it, or check its url."
            case _ if self._program is not None and reason == _CLOSED:
                code = self._program.exit_code
                reason = self._last_text or f"it ended with exit code {code}, and without a word"
        # only servers that lmchat has started itself print into the log
        log_file = None if self.settings.url else self._owner.log_file
        see_log = "" if log_file is None else f" See {log_file}."
        return LMChatError(f"The server {name} failed: {reason}.{see_log}", next_step=next_step)

    @property
    def _last_text(self) -> str:
        """Of its program, without a full stop."""
        text = "" if self._program is None else self._program.last_text
        return safe_line(self._without_secrets(text), limit=_REASON_CHARS).rstrip(".")

    def _text_of(self, error: BaseException) -> str:
        text = _VALIDATION.sub(f": {NOT_MCP}", str(error)).lstrip(": ")
        text = text or type(error).__name__
        if text.endswith("Timeout"):  # the name of an error of HTTP, which has no words
            text = f"no answer within {ANSWER_S:g} s"
        return self._without_secrets(text)

    def _without_secrets(self, text: str) -> str:
        http = self._http
        return without_secret(
            text, *(http.secrets if http else self._owner.secrets_of(self.settings))
        )

    async def _open_client(self, stack: AsyncExitStack) -> Any:
        """Connect to the server; leaving `stack` closes the connection.

        The first request asks which protocols it knows. Some older programs end at any other
        request than their handshake: one that has ended is started again, and gets this.
        """
        from mcp import MCPError

        try:
            return await self._connect(stack, "auto")
        except Exception as error:
            first = _first_of(error)
            has_ended = isinstance(first, MCPError) and first.message == _CLOSED
            if self._program is None or not has_ended:
                raise
        self._must_end.clear()
        return await self._connect(stack, "legacy")

    async def _connect(self, stack: AsyncExitStack, mode: str) -> Any:
        from mcp.client.client import Client
        from mcp_types import Implementation

        async with AsyncExitStack() as opened:
            self._program = self._http = None
            owner = self._owner
            name = self.settings.name
            settings = expanded(
                self.settings, owner.environ, partial(refuse_missing, name, "tools")
            )
            if settings.url:
                owner.check_address(settings.url)
                self._http = ServerOverHttp(
                    settings,
                    checked_headers(name, "tools", settings.headers or {}),
                    secrets=owner.secrets_of(self.settings),
                    credentials=owner.credentials,
                    check_address=owner.check_address,
                    ask=self.limits.ask,
                )
                transport = await self._http.transport(opened)
            else:
                self._program = program = await owner.start_program(settings)
                # leaving `opened` closes the client first, then ends the program
                opened.push_async_callback(program.end)
                transport = program.transport(self.end)
            client = Client(
                transport,
                mode=mode,
                cache=None,  # of lists: this class keeps the tools
                client_info=Implementation(name="lmchat", version=__version__),
                message_handler=self._note_message,
            )
            await opened.enter_async_context(client)
            await stack.enter_async_context(opened.pop_all())
        return client

    async def _list_tools(self, client: Any) -> ToolServer:
        """Return the state of a server that is ready, with the first `MAX_LISTED` of its tools."""
        from mcp import MCPError
        from mcp_types import METHOD_NOT_FOUND

        tools: dict[str, Tool] = {}
        unusable: dict[str, str] = {}  # why a tool cannot be used, by its name
        cursors: set[str | None] = set()
        cursor = None  # of the next page: any text, which some repeat; None behind the last one
        while cursor not in cursors and len(tools) < MAX_LISTED:
            cursors.add(cursor)
            try:
                page = await client.list_tools(cursor=cursor)
            except MCPError as error:
                if tools:
                    unusable["the rest of its list"] = self._text_of(error)
                elif error.code != METHOD_NOT_FOUND:  # else it has only prompts, or resources
                    raise
                break
            callable_names = {definition.name for definition in page.tools}
            unusable |= page.meta["unusable"]
            for fields in page.meta["tools"]:
                tool = Tool(server=self.settings.name, **fields)
                if tool.name not in callable_names:  # over HTTP, as the SDK says
                    unusable[tool.name] = "its x-mcp-header is not valid"
                elif tools.setdefault(tool.name, tool) != tool:
                    unusable[tool.name] = "it is listed twice: the first one counts"
            cursor = page.next_cursor
        return replace(
            self.state,
            state=ToolServerState.READY,
            tools=tuple(tools.values())[:MAX_LISTED],
            error=_unusable_text(self.settings.name, unusable),
            next_step="Tell its author." if unusable else "",
        )


def _import_sdk() -> None:
    """Import what the functions of this module import; raises `ImportError`."""
    import httpx2
    import mcp.client.client
    import mcp.client.streamable_http
    import mcp_types

    import lmchat.core.tools.sign_in  # noqa: F401 - so that the event loop does not wait for it later

    transport: Any = mcp.client.streamable_http  # not typed, so that mypy allows to replace a name
    transport.jsonrpc_message_adapter = MessageReader()

    # its records may quote what tools answer; "client" is the logger of `mcp.client.session`
    for name in (mcp.__name__, mcp_types.__name__, httpx2.__name__, "client"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)


def _unusable_text(server: str, unusable: Mapping[str, str]) -> str:
    if not unusable:
        return ""
    named = ", ".join(f"{name} ({reason})" for name, reason in unusable.items())
    tools = counted(len(unusable), "tool")
    text = safe_line(named, limit=_REASON_CHARS)
    return f"The server {server} has {tools} that cannot be used: {text}."


def _first_of(error: BaseException) -> BaseException:
    """Task groups raise their errors in groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def with_wire_names(servers: Iterable[ToolServer]) -> tuple[ToolServer, ...]:
    """Give each tool its name in requests: `SERVER__TOOL`, cut, with a number if need be."""
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
