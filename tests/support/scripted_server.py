"""A loopback HTTP server that plays what a test writes down: raw bytes, splits, delays, cuts,
gates.

    with ScriptedServer() as server:
        server.on("GET /v1/models", json_reply({"object": "list", "data": []}))
        server.on("POST /v1/chat/completions", sse("Hel", "lo", finish(), DONE))
        ...  # talk to server.url
        assert server.requests[0].path == "/v1/models"

Several replies for one route are played one after the other; the last one stays. A reply may also
be a function of the request. With `certificate="hosts"` it speaks https: that certificate is for
this machine, `workstation.lan` and the hosts of the providers, signed by `AUTHORITY`. `elsewhere`
is for another name, `expired` is expired, `alone` is signed by itself, as servers in a home are.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from json import loads
from pathlib import Path
from typing import Self

import pytest

FOLDER = Path(__file__).parent / "certificates"
AUTHORITY = str(FOLDER / "authority.pem")
ALONE = str(FOLDER / "alone.pem")
HOSTS = str(FOLDER / "hosts.pem")
_TURNS_OF_ACCEPTING = 6


def server_context(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / f"{certificate}.pem", FOLDER / "key.pem")
    return context


def lead_here(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> list[str]:
    """Let these names mean 127.0.0.1 in this process; return a list that fills with who is looked up."""
    look_up = socket.getaddrinfo
    asked = []

    def here(host, *rest, **more):
        name = host.decode() if isinstance(host, bytes) else host
        if name in hosts:
            asked.append(name)
        return look_up("127.0.0.1" if name in hosts else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    return asked


DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Pause:
    """Wait; for tests that measure time only, others use a `Gate`."""

    seconds: float


@dataclass(frozen=True)
class Hold:
    """Send nothing more, and keep the connection open until the client leaves."""


@dataclass(frozen=True)
class Cut:
    """Close the connection here; with a reset where asked for."""

    is_reset: bool = False


class Gate:
    """A point at which the server waits until the test calls `open()`; `reached` tells that it is there."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._is_open = False
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()

    @property
    def is_open(self) -> bool:
        return self._is_open

    def open(self) -> None:
        """Let the server go on, now and whenever it comes here again."""
        with self._lock:
            self._is_open = True
            for loop, event in self._waiters:
                loop.call_soon_threadsafe(event.set)

    async def pass_through(self) -> None:
        """Wait until it is open (called by the server)."""
        event = asyncio.Event()
        with self._lock:
            if self._is_open:
                event.set()
            self._waiters.append((asyncio.get_running_loop(), event))
        self.reached.set()
        await event.wait()


Step = bytes | Pause | Gate | Hold | Cut


@dataclass(frozen=True)
class Reply:
    """Steps to play."""

    steps: Iterable[Step]
    is_last: bool = False  # whether the connection is closed afterwards


def raw_reply(*steps: Step) -> Reply:
    """Play exactly this, status line and all."""
    return Reply(steps=steps, is_last=True)


def body_reply(
    body: bytes,
    *,
    status: int = 200,
    content_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    before: Sequence[Step] = (),
) -> Reply:
    """Reply with a whole body; `before` is played ahead of the status line."""
    names = {"Content-Type": content_type, "Content-Length": str(len(body)), **(headers or {})}
    return Reply(steps=(*before, _head(status, names) + body))


def json_reply(
    value: object,
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    before: Sequence[Step] = (),
) -> Reply:
    return body_reply(json.dumps(value).encode(), status=status, headers=headers, before=before)


def error_reply(
    status: int, message: str, *, headers: Mapping[str, str] | None = None, **more: object
) -> Reply:
    """Refuse as most servers do; `more` stands beside the message."""
    return json_reply({"error": {"message": message, **more}}, status=status, headers=headers)


def text_reply(text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return body_reply(text.encode(), status=status, content_type="text/plain", headers=headers)


def html_reply(*, status: int = 200) -> Reply:
    html = b"<!doctype html><title>Hello</title>"
    return body_reply(html, status=status, content_type="text/html; charset=utf-8")


def sse(
    *chunks: str | dict | list | Step,
    every: int | None = None,
    framing: str = "chunked",
    content_type: str = "text/event-stream",
    before: Sequence[Step] = (),
) -> Reply:
    r"""Stream events: text is a delta of content, a dict is one JSON event, bytes are sent as they
    stand.

    `every=n` cuts the bytes into writes of n; `framing` is "chunked" or "close" (HTTP/1.0, ended by
    closing).
    """
    steps: list[Step] = []
    for chunk in chunks:
        steps += _event(chunk, every)
    names = {"Content-Type": content_type}
    if framing == "close":
        return Reply(steps=(*before, _head(200, names, version="1.0"), *steps), is_last=True)
    framed = [_frame(step) if isinstance(step, bytes) else step for step in steps]
    is_cut = bool(steps) and isinstance(steps[-1], Cut | Hold)
    tail: tuple[Step, ...] = () if is_cut else (b"0\r\n\r\n",)
    return Reply(
        steps=(*before, _head(200, {**names, "Transfer-Encoding": "chunked"}), *framed, *tail)
    )


def delta(text: str | None = None, *, model: str = "tiny", **fields: object) -> dict:
    inner = ({} if text is None else {"content": text}) | fields
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "delta": inner, "finish_reason": None}],
    }


def finish(reason: str = "stop", *, model: str = "tiny") -> dict:
    return {**delta(model=model), "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]}


def usage(prompt: int = 5, completion: int = 2, *, model: str = "tiny") -> dict:
    counts = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
    }
    return {**delta(model=model), "choices": [], "usage": counts}


def _event(chunk: str | dict | list | Step, every: int | None) -> list[Step]:
    if isinstance(chunk, str):
        chunk = delta(chunk)
    if isinstance(chunk, dict | list):
        chunk = b"data: " + _as_json(chunk) + b"\n\n"
    if not isinstance(chunk, bytes) or every is None:
        return [chunk]
    return [chunk[start : start + every] for start in range(0, len(chunk), every)]


def _as_json(value: object) -> bytes:
    try:
        return json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # half of a pair can only be sent as an escape
        return json.dumps(value).encode()


def _frame(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _head(status: int, headers: Mapping[str, str], *, version: str = "1.1") -> bytes:
    lines = [
        f"HTTP/{version} {status} Scripted",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


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
    def route(self) -> str:
        return f"{self.method} {self.path.partition('?')[0]}"

    @property
    def json(self):
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
        return f"http{'s' if self._tls else ''}://localhost:{self.port}"

    def on(self, route: str, *replies: Script) -> ScriptedServer:
        """Script a route such as "GET /path"; the query is not looked at."""
        if not all(isinstance(reply, Reply) or callable(reply) for reply in replies):
            raise TypeError(f"{route}: {replies} are not all replies")
        self._routes[route] = list(replies)
        return self

    def forget(self) -> None:
        self._routes.clear()

    def seen(self, route: str = "") -> list[Seen]:
        with self._changed:
            return [one for one in self.requests if route in ("", one.route)]

    def wait_for(self, route: str = "", *, count: int = 1, timeout_s: float = 5) -> Seen:
        """Block until that many requests of a route have come; return the last of them."""
        with self._changed:
            if not self._changed.wait_for(lambda: len(self.seen(route)) >= count, timeout_s):
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
            # A connection that was accepted just now needs some turns of the loop until `_talk`
            # starts; on a closed server, asyncio would forget its socket without closing it.
            if os.name == "posix":  # the loop of Windows has no readers
                for listening in server.sockets:
                    self._loop.remove_reader(listening.fileno())
            for _ in range(_TURNS_OF_ACCEPTING):
                await asyncio.sleep(0)
            server.close()
            tasks = asyncio.all_tasks() - {asyncio.current_task()}
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.sleep(0)  # what was aborted is closed with the next turn of the loop

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        talk = _Talk(reader, writer, self.connections)
        try:
            with contextlib.suppress(
                ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError
            ):
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
        finally:  # also of a script that raises: asyncio before 3.11.5 would keep the connection
            with contextlib.suppress(Exception, asyncio.CancelledError):
                if self._stop.is_set():
                    writer.transport.abort()  # over TLS closing would wait for the other side
                writer.close()
                await writer.wait_closed()

    def _choose(self, seen: Seen) -> Reply:
        scripts = self._routes.get(seen.route) or [self.unknown]
        script = scripts.pop(0) if len(scripts) > 1 else scripts[0]
        return script(seen) if callable(script) else script


class _Talk:
    """One connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int
    ) -> None:
        self.reader = reader
        self.writer = writer
        self.number = number
        self.early = b""

    async def request(self) -> Seen | None:
        head = self.early + await self.reader.readuntil(b"\r\n\r\n")
        self.early = b""
        first, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
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


@contextlib.contextmanager
def free_port() -> Iterator[int]:
    """Yield a port on which nothing listens, and on which nothing can while the block runs."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
