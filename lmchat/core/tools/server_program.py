"""The program of a tool server: its start, its messages over pipes, its stderr and its end."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any

from msgspec import Struct

from lmchat.base.errors import LMChatError
from lmchat.base.files.disk import expanded_path
from lmchat.base.processes.child import ChildProcess
from lmchat.base.processes.environment import IS_WINDOWS, with_absolute_program
from lmchat.base.safe_text import as_printed
from lmchat.core.config.settings import McpSettings
from lmchat.core.tools.mcp_messages import MESSAGE_BYTES, NOT_MCP, MessageReader, answered_id

_MESSAGE_PAUSE_S = 0.005  # after a message, so that the rest of lmchat can run
_ERRORS_S = 0.5  # time for the rest of the stderr of a program that has ended
_ERROR_BYTES = 8192  # of the end of stderr, where the reason of an end is
_MOST_LOG_BYTES = 4 * 1024 * 1024  # then the log is emptied: a server may write for weeks
# Lines below the reason: places in a stack, and what Node.js, npm, Go, Rust, uv, Docker print there
_BELOW_REASON = re.compile(
    r"\s+at |\s+\w+: ['\[{\d]|[{}\]\s]*$|Node\.js v\d|npm notice"
    r"|goroutine \d|[^\s:(.]+\.[^\s:]*\((\.\.\.|0x[\w, .?{}]*)?\)$|\t/\S+:\d+|exit status \d"
    r"|note: run with `RUST_BACKTRACE|hint: |(See|Run) 'docker "
    r"|npm (error|ERR!)( 404)?( A complete log.*| Note that.*| tarball, folder.*|\s*)$"
)
_PROGRAMS_OF = {"npx": "Node.js", "npm": "Node.js", "node": "Node.js", "uvx": "uv", "uv": "uv"}


class ServerProgram(Struct, eq=False):
    """A program that has started; `end` ends it."""

    _name: str  # of the server
    _child: ChildProcess
    _last_errors: bytearray
    _copying: Thread
    _stray_line: bytes = b""  # the last on stdout that is no message
    # ids of the requests that wait for an answer, and None for each notification behind them
    _unanswered: list[Any] = []

    @classmethod
    async def start(
        cls,
        name: str,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        folder: Path,
        log_fd: int | None,
    ) -> ServerProgram:
        """Raises `OSError`. A thread copies stderr into the log."""
        source, sink = os.pipe()
        own_log_fd = None if log_fd is None else os.dup(log_fd)
        last_errors = bytearray()
        copying = Thread(target=_copy_errors, args=(source, own_log_fd, last_errors), daemon=True)
        copying.start()  # it closes what it has got
        try:
            child = await ChildProcess.start(
                command,
                environment=environment,
                folder=folder,
                errors=sink,
                line_bytes=MESSAGE_BYTES,
            )
        finally:
            os.close(sink)
        return cls(name, child, last_errors, copying)

    @property
    def exit_code(self) -> int | None:
        return self._child.exit_code

    @property
    def last_text(self) -> str:
        """The last line that says something: of its stderr, else of its stdout."""
        lines = as_printed(self._last_errors.decode(errors="replace")).splitlines()
        said = [line for line in lines if not _BELOW_REASON.match(line)] or lines
        stray = self._stray_line.decode(errors="replace")
        return next((line for line in reversed(said) if line.strip()), stray)

    @asynccontextmanager
    async def transport(self, on_end: Callable[[], None]) -> AsyncIterator[tuple[Any, Any]]:
        """Yield streams as the SDK's own transport does, which reads lines of any length.

        `on_end` is called when no more messages can come.
        """
        import anyio

        # two streams, each with an end to send into and one to receive from
        incoming_sender, incoming = anyio.create_memory_object_stream[Any](0)
        outgoing_sender, outgoing = anyio.create_memory_object_stream[Any](0)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_messages, incoming_sender, on_end)
            tasks.start_soon(self._write_messages, outgoing)
            yield incoming, outgoing_sender
            # else `_read_messages` would wait for the end of the program
            tasks.cancel_scope.cancel()

    async def _read_messages(self, incoming_sender: Any, on_end: Callable[[], None]) -> None:
        """Pass on messages to the SDK until the program ends; a long one raises `LMChatError`."""
        import anyio
        from mcp.shared.message import SessionMessage

        try:
            while line := await self._child.read_line():
                for message in self._messages(line):
                    await incoming_sender.send(SessionMessage(message))
                # a server may send notices without end, and each takes a millisecond
                await asyncio.sleep(_MESSAGE_PAUSE_S)
        except anyio.BrokenResourceError:  # the client is closed
            pass
        except ValueError:  # from `read_line`: the line is too long
            limit = f"{MESSAGE_BYTES // 2**20} MB"
            raise LMChatError(
                f"The server {self._name} sent a message of more than {limit}.",
                next_step="Correct it.",
                kind="tools",
            ) from None
        finally:
            on_end()
            incoming_sender.close()

    def _messages(self, line: bytes) -> list[Any]:
        """Return the message of a line; an error without an id answers each request that waits.

        A line that is no message is left out, as many programs print a greeting, unless it has the
        id of a request that waits. Some servers answer notifications, too, by an error without an
        id: only a line that could not be parsed is taken for a request in any case.
        """
        from mcp_types import PARSE_ERROR, ErrorData, JSONRPCError, JSONRPCResponse
        from pydantic import ValidationError

        waiting = self._unanswered
        try:
            # `by_name=False`: fields have the names of the protocol, not of SDK's classes
            message = MessageReader().validate_json(line, by_name=False)
        except ValidationError:
            self._stray_line = line.strip() or self._stray_line
            number = answered_id(line)
            asked = [one for one in waiting if one is not None and number in (one, str(one))]
            if not asked:
                return []
            message = JSONRPCError(
                jsonrpc="2.0", id=asked[0], error=ErrorData(code=PARSE_ERROR, message=NOT_MCP)
            )
        if not isinstance(message, JSONRPCError | JSONRPCResponse):
            return [message]
        if message.id is not None:
            self._unanswered = [one for one in waiting if one not in (message.id, None)]
            return [message]
        if None in waiting and message.error.code != PARSE_ERROR:
            waiting.remove(None)
            return []
        self._unanswered = []
        return [message.model_copy(update={"id": one}) for one in waiting]

    async def _write_messages(self, outgoing: Any) -> None:
        async with outgoing:
            async for message in outgoing:
                if hasattr(message.message, "method"):  # else it answers a request of the server
                    self._unanswered.append(getattr(message.message, "id", None))
                # `by_alias`: fields get the names of the protocol
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await self._child.write_line(text.encode())

    async def end(self) -> None:
        """Not cut short by the limit for the start, which may be over, nor by the end of lmchat."""
        import anyio

        with anyio.CancelScope(shield=True):
            ending = asyncio.create_task(self._child.end_politely())
            try:
                await asyncio.shield(ending)
            finally:
                while not ending.done():  # whoever cancels waits for it
                    with suppress(asyncio.CancelledError):
                        await asyncio.wait([ending])
            await asyncio.to_thread(self._copying.join, _ERRORS_S)


def start_of(
    settings: McpSettings, folder: Path, environ: Mapping[str, str]
) -> tuple[list[str], Path]:
    """Return the command with the path of its program, and the folder in which it starts.

    A name alone is searched in the absolute folders of the user's `PATH`, whatever the settings put
    into that of the server, then beside this Python, where pip has put it; a path, such as
    `./server`, is relative to the folder of the server. Paths start at `folder`. Raises `OSError`,
    and as `expanded_path`.
    """
    folder /= expanded_path(settings.cwd)
    command = settings.command
    if os.path.dirname(command):  # noqa: PTH120 - pathlib drops the `./` that makes the difference
        command = str(folder / expanded_path(command))
    beside_python = str(Path(sys.executable).parent)
    searched = os.pathsep.join((environ.get("PATH", os.defpath), beside_python))
    return with_absolute_program([command, *settings.args], {"PATH": searched}), folder


def _copy_errors(source: int, log_fd: int | None, last: bytearray) -> None:
    """Close both at the end; the end of stderr is left in `last`."""
    while chunk := os.read(source, _ERROR_BYTES):
        last += chunk
        del last[:-_ERROR_BYTES]
        if log_fd is not None:
            with suppress(OSError):  # a full disk must not hold up the program
                if os.fstat(log_fd).st_size > _MOST_LOG_BYTES:
                    os.ftruncate(log_fd, 0)
                os.write(log_fd, chunk)
    os.close(source)
    if log_fd is not None:
        os.close(log_fd)


def start_failure(name: str, command: str, error: OSError) -> LMChatError:
    path = Path(str(error.filename))
    program = Path(command).name
    is_missing = error.errno == errno.ENOENT
    reason = f"{error.filename} does not exist" if is_missing else f"{path}: {error.strerror}"
    next_step = "Check its command and folder."
    if path.name != program:
        pass  # it is the folder to start in
    elif path.is_absolute() and path.exists():
        # it may not be executed, or its first line names no program
        reason = f"{path} cannot be run"
        next_step = "Check its permissions (chmod u+x) and its first line (#!/usr/bin/env python3)."
        if IS_WINDOWS:
            next_step = "Name one that ends in .exe or .cmd."
    elif is_missing and program in _PROGRAMS_OF:
        next_step = f"Install {_PROGRAMS_OF[program]}, or set command to the path of {program}."
    elif is_missing and program == command:
        reason, next_step = f"{command} is not in PATH", "Install it, or write its whole path."
    return LMChatError(f"The server {name} cannot start: {reason}.", next_step=next_step)
