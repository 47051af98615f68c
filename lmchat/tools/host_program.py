"""Program of the tool host: MCP servers and the functions of `tools.py`, in a child process.

It reads lines of JSON from its parent on stdin, and writes such lines on stdout. All other output
goes to stderr, which is the log. At the end of stdin, the program ends its servers and itself.
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
from lmchat.tools.function_server import FunctionServer
from lmchat.tools.mcp_server import McpServer
from lmchat.tools.secrets import secrets_of, without_secrets
from lmchat.tools.tool import ToolResult, cut_result
from lmchat.tools.tool_host import SERVERS_END_S, Order, Orders, ToolReport


def main() -> None:
    """Follow the orders of the parent until stdin ends, then end this process."""
    source = os.fdopen(os.dup(0), "rb")
    sink = os.fdopen(os.dup(1), "wb")
    # Only `source` and `sink` still lead to the parent. What functions and the programs that they
    # start read is empty, and what they print goes into the log: it would disturb the protocol.
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    with suppress(BrokenPipeError):  # the parent has ended
        asyncio.run(_serve(source, sink))
    os._exit(0)  # threads of functions must not delay the end


async def _serve(source: BinaryIO, sink: BinaryIO) -> None:
    """Read lines from `source` until it ends, and follow them; reports go to `sink`.

    The first line (`Orders`) says which servers there are; each further one is an `Order`. When
    this returns, `asyncio.run` cancels all tasks, which ends the servers.
    """
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes] = asyncio.Queue()

    def read_lines() -> None:
        """Queue the lines of `source`, and an empty one at its end."""
        with suppress(RuntimeError):  # the loop has ended
            for line in source:
                loop.call_soon_threadsafe(lines.put_nowait, line)
            loop.call_soon_threadsafe(lines.put_nowait, b"")

    # in a thread, as no event loop of Windows can read such a pipe
    threading.Thread(target=read_lines, daemon=True).start()
    orders = msgspec.json.decode(await lines.get(), type=Orders)
    secrets = secrets_of(orders.servers)
    sys.stdout = sys.stderr = _Log(secrets)
    host = _Host(orders, secrets, sink)
    while line := await lines.get():
        host.follow(msgspec.json.decode(line, type=Order))
    # `asyncio.run` now ends the servers, and this timer runs beside it: a server that does not end
    # must not keep this process alive
    loop.call_later(SERVERS_END_S, os._exit, 1)


class _Host:
    """Servers of this process, and the tasks that work on orders."""

    def __init__(self, orders: Orders, secrets: tuple[str, ...], sink: BinaryIO) -> None:
        """Start no MCP server yet, but begin to execute the file of functions.

        `secrets` are cut out of all errors. Reports are written to `sink`.
        """
        self._secrets = secrets
        self._sink = sink
        self._tasks: dict[int, asyncio.Task[None]] = {}  # by the number of the order
        self._servers: dict[str, McpServer | FunctionServer] = {}
        for server in orders.servers:
            self._servers[server.name] = McpServer(server, orders, self._send)
        if orders.functions:
            self._servers[FUNCTIONS] = FunctionServer(Path(orders.functions), self._send)

    def follow(self, order: Order) -> None:
        """Begin to work on an order, or cancel the work on an earlier one.

        Nothing happens if the earlier order has been done.
        """
        number = order.number
        if order.is_cancelled:
            if number in self._tasks:
                self._tasks[number].cancel()
            return
        task = asyncio.create_task(self._run_and_report(order), name=f"order {number}")
        self._tasks[number] = task
        task.add_done_callback(lambda _: self._tasks.pop(number))

    async def _run_and_report(self, order: Order) -> None:
        """Work on an order and send its result.

        A long result is cut by `cut_result`, and secrets are cut out of an error.
        """
        result = await self._run(order)
        text = result.text
        if result.is_error:  # an error may quote the settings of its server
            text = without_secrets(text, self._secrets)
        # lone surrogates, as in names of files, cannot be sent as UTF-8
        text = cut_result(text).encode(errors="replace").decode()
        self._send(ToolReport(number=order.number, result=replace(result, text=text)))

    async def _run(self, order: Order) -> ToolResult:
        """Call the tool that an order names and return its result.

        If the order names no server, start all servers and return an empty result.
        """
        if order.server:
            return await self._servers[order.server].call(order.tool, order.arguments)
        servers = self._servers.values()
        starts = [server.ensure_settled(restarts=order.restarts) for server in servers]
        await asyncio.gather(*starts)
        return ToolResult(text="")

    def _send(self, report: ToolReport) -> None:
        """Send a report to the parent, with secrets cut out of the error of a server."""
        if report.server is not None and report.server.error:
            error = without_secrets(report.server.error, self._secrets)
            report = replace(report, server=replace(report.server, error=error))
        self._sink.write(msgspec.json.encode(report) + b"\n")
        self._sink.flush()


class _Log(io.TextIOWrapper):
    """Text file that writes to stderr, the log, and cuts secrets out of what it writes."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        # it stays open until the process ends
        raw = open(2, "wb", buffering=0, closefd=False)  # noqa: SIM115
        super().__init__(raw, encoding="utf-8", errors="backslashreplace", write_through=True)
        self._secrets = secrets

    def write(self, text: str) -> int:
        super().write(without_secrets(text, self._secrets))
        return len(text)  # callers expect the length of what they have passed
