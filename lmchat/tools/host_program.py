"""Program of the tool host: MCP servers and the functions of `tools.py`, in a child process.

Speaks lines of JSON with its parent over stdin and stdout; all other output goes to stderr, the
log. The end of stdin ends it and its servers.
"""

from __future__ import annotations

import asyncio
import io
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec.structs import replace

from lmchat.config.settings import FUNCTIONS
from lmchat.domain.tool import ToolResult, cut_result
from lmchat.machine.watchdog import bound_log
from lmchat.tools.function_server import FunctionServer
from lmchat.tools.mcp_server import McpServer
from lmchat.tools.secrets import secrets_of, without_secrets
from lmchat.tools.tool_host import SERVERS_END_S, Order, Orders, ToolReport

_LOG_BYTES = 1_000_000  # size at which the log is emptied


def _without_surrogates(text: str) -> str:
    """Replace what cannot be written as UTF-8: names of files may hold such bytes."""
    return text.encode(errors="replace").decode()


def main() -> None:
    """Run until stdin ends."""
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    # what functions read and print, and the programs that they start, must not meet the protocol
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    threading.Thread(target=bound_log, args=(_LOG_BYTES,), daemon=True).start()
    with suppress(BrokenPipeError):  # the parent has ended
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
    secrets = secrets_of(orders.servers)
    sys.stdout = sys.stderr = _Log(secrets)
    host = _Host(orders, secrets, sink)
    while line := await lines.get():
        host.follow(msgspec.json.decode(line, type=Order))
    loop.call_later(SERVERS_END_S, os._exit, 1)


class _Host:
    """Servers of this process, and the orders that are worked on."""

    def __init__(self, orders: Orders, secrets: tuple[str, ...], sink: BinaryIO) -> None:
        self._secrets = secrets
        self._sink = sink
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._servers: dict[str, McpServer | FunctionServer] = {}
        for server in orders.servers:
            self._servers[server.name] = McpServer(server, orders, self._send)
        if orders.functions:
            self._servers[FUNCTIONS] = FunctionServer(Path(orders.functions), self._send)

    def follow(self, order: Order) -> None:
        """Begin the work on an order, or end that on a cancelled one."""
        number = order.number
        if not order.is_cancelled:
            task = asyncio.create_task(self._answer(order), name=f"order {number}")
            self._tasks[number] = task
            task.add_done_callback(lambda _: self._tasks.pop(number))
        elif number in self._tasks:
            self._tasks[number].cancel()

    async def _answer(self, order: Order) -> None:
        result = await self._result_of(order)
        text = result.text
        if result.is_error:  # an error may quote the settings of its server
            text = without_secrets(text, self._secrets)
        text = _without_surrogates(cut_result(text))
        self._send(ToolReport(number=order.number, result=replace(result, text=text)))

    async def _result_of(self, order: Order) -> ToolResult:
        if order.server:
            return await self._servers[order.server].call(order.tool, order.arguments)
        starts = [server.settled(again=order.again) for server in self._servers.values()]
        await asyncio.gather(*starts)
        return ToolResult(text="")

    def _send(self, report: ToolReport) -> None:
        if report.server is not None and report.server.error:
            error = without_secrets(report.server.error, self._secrets)
            report = replace(report, server=replace(report.server, error=error))
        self._sink.write(msgspec.json.encode(report) + b"\n")
        self._sink.flush()


class _Log(io.TextIOWrapper):
    """The log, without secrets of the settings."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        # open until the process ends
        raw = open(2, "wb", buffering=0, closefd=False)  # noqa: SIM115
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        self._secrets = secrets

    def write(self, text: str) -> int:
        super().write(without_secrets(text, self._secrets))
        return len(text)
