"""A loopback HTTP server that plays what a test writes down: raw bytes, splits, delays, cuts, gates.

    with ScriptedServer() as server:
        server.on("GET /v1/models", json_reply({"object": "list", "data": []}))
        server.on("POST /v1/chat/completions", sse("Hel", "lo", finish(), DONE))
        ...  # talk to server.url
        assert server.requests[0].path == "/v1/models"

Several replies for one route are played one after the other; the last one stays. A reply may also be a
function of the request. With `certificate="hosts"` it speaks https (see `tls`). As a process of its own:
`python -m tests.support.scripted_server --help`.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from json import loads
from typing import Self

from tests.support.scripted_replies import (
    DONE,
    Cut,
    Gate,
    Hold,
    Pause,
    Reply,
    delta,
    finish,
    html_reply,
    json_reply,
    raw_reply,
    sse,
    text_reply,
    usage,
)
from tests.support.tls import server_context

__all__ = [
    "DONE",
    "Cut",
    "Gate",
    "Hold",
    "Pause",
    "Reply",
    "ScriptedServer",
    "Seen",
    "delta",
    "finish",
    "html_reply",
    "json_reply",
    "raw_reply",
    "sse",
    "text_reply",
    "usage",
]


@dataclass
class Seen:
    """One request as the server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    client_left: threading.Event = field(default_factory=threading.Event)
    """Set when the client closed the connection before the reply was over."""
    over: threading.Event = field(default_factory=threading.Event)
    """Set when the reply ended, in whatever way."""

    @property
    def json(self):
        """The body, decoded."""
        return loads(self.body)


Script = Reply | Callable[[Seen], Reply]


class ScriptedServer:
    """Plays replies; runs in a thread of its own, so that tests with and without asyncio can use it."""

    def __init__(self, *, host: str = "127.0.0.1", port: int = 0, certificate: str = "") -> None:
        self.host = host
        self.port = port
        self._tls = server_context(certificate) if certificate else None
        self.requests: list[Seen] = []
        self.unknown: Script = text_reply("404 page not found", status=404)
        self.connections = 0
        self._routes: dict[str, list[Script]] = {}
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop: asyncio.Event | None = None
        self._failure: BaseException | None = None

    @property
    def url(self) -> str:
        """Origin, without /v1."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http{'s' if self._tls else ''}://{host}:{self.port}"

    def on(self, route: str, *replies: Script) -> ScriptedServer:
        """Script a route: "GET /path", or "/path" for every method; the query is not looked at."""
        self._routes[route] = list(replies)
        return self

    def forget(self) -> None:
        """Remove all routes."""
        self._routes.clear()

    def seen(self, route: str = "") -> list[Seen]:
        """Return the requests of a route, or all."""
        with self._changed:
            return [one for one in self.requests if not route or _is_of(one, route)]

    def wait_for(self, route: str = "", *, count: int = 1, timeout_s: float = 5) -> Seen:
        """Block until that many requests of a route have come; return the last of them."""

        def enough() -> bool:
            return len([one for one in self.requests if not route or _is_of(one, route)]) >= count

        with self._changed:
            if not self._changed.wait_for(enough, timeout_s):
                raise AssertionError(f"{count} x {route!r} did not come; seen: {self.requests}")
        return self.seen(route)[count - 1]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> ScriptedServer:
        """Listen; afterwards `port` is set. Also after `stop`, on the same port."""
        self._ready.clear()
        self._thread = threading.Thread(target=self._run, name="scripted-server", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        """Close everything, as a server that goes down does."""
        if self._loop is not None and self._stop is not None and self._thread is not None:
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join()
        self._loop = self._thread = None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except OSError as error:
            self._failure = error
            self._ready.set()

    async def _serve(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(
            self._talk, self.host, self.port, reuse_address=True, ssl=self._tls
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        try:
            await self._stop.wait()
        finally:
            server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # what was aborted is closed with the next turn of the loop

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talk = _Talk(reader, writer, self.connections)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while (seen := await talk.request()) is not None:
                reply = self._choose(seen)
                with self._changed:
                    self.requests.append(seen)
                    self._changed.notify_all()
                try:
                    keep = await talk.play(reply, seen)
                finally:
                    seen.over.set()
                if not keep:
                    break
        with contextlib.suppress(Exception, asyncio.CancelledError):
            if self._stop.is_set():
                writer.transport.abort()  # over TLS closing would wait for the other side
            writer.close()
            await writer.wait_closed()

    def _choose(self, seen: Seen) -> Reply:
        path = seen.path.partition("?")[0]
        scripts = self._routes.get(f"{seen.method} {path}") or self._routes.get(path) or [self.unknown]
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return script(seen) if callable(script) else script


class _Talk:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.reader, self.writer, self.number = reader, writer, number
        self.early = b""

    async def request(self) -> Seen | None:
        head = self.early + await self.reader.readuntil(b"\r\n\r\n")
        self.early = b""
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return Seen(method=method, path=path, headers=headers, body=body, connection=self.number)

    async def play(self, reply: Reply, seen: Seen) -> bool:
        """Play a reply; return whether the connection stays open."""
        player = asyncio.ensure_future(self._steps(reply))
        watcher = asyncio.ensure_future(self.reader.read(1))
        try:
            await asyncio.wait({player, watcher}, return_when=asyncio.FIRST_COMPLETED)
            if _is_reset(player) or _is_reset(watcher):
                seen.client_left.set()
                return False
            if player.done():
                keep = player.result() and not reply.is_last
                if watcher.done():
                    self.early = watcher.result()
                    keep = keep and bool(self.early)
                return keep
            self.early = watcher.result()
            if self.early:
                return await player
            seen.client_left.set()
            return False
        finally:
            for task in (player, watcher):
                task.cancel()
            await asyncio.gather(player, watcher, return_exceptions=True)

    async def _steps(self, reply: Reply) -> bool:
        for step in reply.steps:
            match step:
                case bytes():
                    self.writer.write(step)
                    await self.writer.drain()
                    await asyncio.sleep(0)
                case Pause():
                    await asyncio.sleep(step.seconds)
                case Gate():
                    await step.pass_through()
                case Hold():
                    await asyncio.Event().wait()
                case Cut():
                    self._cut(is_reset=step.is_reset)
                    return False
        return True

    def _cut(self, *, is_reset: bool) -> None:
        if is_reset:
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


def _is_reset(task: asyncio.Future) -> bool:
    """Whether the client left while it was written to."""
    return task.done() and isinstance(task.exception(), ConnectionError)


def _is_of(seen: Seen, route: str) -> bool:
    path = seen.path.partition("?")[0]
    return route in (path, f"{seen.method} {path}")


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    """Yield a port on which nothing listens, and on which nothing can while the block runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


if __name__ == "__main__":
    from tests.support.scripted_process import main

    raise SystemExit(main())
