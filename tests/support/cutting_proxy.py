"""A proxy before a real server: passes bytes on, and cuts, holds and splits the reply where its plan says.

    with CuttingProxy(real_server.url) as proxy:
        proxy.plan = Plan(cut_at=700, is_reset=True)
        ...  # talk to proxy.url
        assert proxy.exchanges[-1].passed == 700

It knows nothing of HTTP beyond this: what a client sends after some reply has come is its next request.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import urlsplit

from lmchat.domain.event import PromptProgress, StreamEvent, TextDelta
from lmchat.domain.request import ChatRequest
from lmchat.domain.server import Endpoint, Product
from lmchat.proxy.client import ProxyClient
from tests.support.programs import until
from tests.support.proxy_calls import ask, events_of
from tests.support.scripted_server import Gate

_READ_BYTES = 65536


@dataclass(frozen=True)
class Plan:
    """What happens to a reply; places are counted in bytes from its status line on."""

    cut_at: int | None = None
    """Close the connection after so many bytes."""
    is_reset: bool = False
    """Whether it is closed by a reset."""
    hold_at: int | None = None
    """Wait here for the gate."""
    gate: Gate = field(default_factory=Gate)
    every: int | None = None
    """Pass on in writes of so many bytes."""

    def pieces(self, data: bytes, start: int) -> Iterator[bytes]:
        """Divide what came, of which the first byte is the `start`th of the reply, at the places named."""
        rest = data
        while rest:
            ends = [place - start for place in (self.cut_at, self.hold_at) if place is not None]
            size = min([len(rest), *(end for end in ends if end > 0), *([self.every] if self.every else [])])
            yield rest[:size]
            rest, start = rest[size:], start + size


@dataclass
class Exchange:
    """One request and what came back."""

    request: bytearray = field(default_factory=bytearray)
    arrived: bytearray = field(default_factory=bytearray)
    """Of the reply, from the server."""
    passed: int = 0
    """Bytes of it that were passed on."""
    client_left: threading.Event = field(default_factory=threading.Event)
    """Set when the client closes the connection and nobody else has."""
    left_s: float = 0.0
    """When it did, by `time.monotonic`."""

    @property
    def told(self) -> bytes:
        return bytes(self.arrived[: self.passed])


class CuttingProxy:
    """One proxy on a loopback port of its own, in a thread of its own."""

    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        """The address of the server behind it."""
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "127.0.0.1", parts.port or 80)
        self.plan = Plan()
        """For replies whose requests come from now on."""
        self.port = 0
        self.exchanges: list[Exchange] = []
        self._changed = threading.Condition()
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="cutting-proxy")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, count: int, *, timeout_s: float = 15) -> Exchange:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.exchanges) >= count, timeout_s), "no request came"
            return self.exchanges[count - 1]

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._talk, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _begin(self) -> Exchange:
        with self._changed:
            self.exchanges.append(Exchange())
            self._changed.notify_all()
            return self.exchanges[-1]

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            there, back = await asyncio.open_connection(*self._upstream)
            try:
                await _Connection(self, reader, writer, there, back).run()
            finally:
                back.transport.abort()
        writer.close()


class _Connection:
    """One connection of a client and the one to the server behind it."""

    def __init__(
        self,
        proxy: CuttingProxy,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
    ) -> None:
        self.proxy, self.reader, self.writer, self.there, self.back = proxy, reader, writer, there, back
        self.plan = proxy.plan
        self.exchange: Exchange | None = None

    async def run(self) -> None:
        ways = {asyncio.ensure_future(self._requests()), asyncio.ensure_future(self._replies())}
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(self) -> None:
        try:
            while data := await self.reader.read(_READ_BYTES):
                if self.exchange is None or self.exchange.arrived:
                    self.plan, self.exchange = self.proxy.plan, self.proxy._begin()
                self.exchange.request += data
                self.back.write(data)
                await self.back.drain()
        except ConnectionError:
            pass
        self._note_left()

    def _note_left(self) -> None:
        if self.exchange is not None and not self.exchange.client_left.is_set():
            self.exchange.left_s = time.monotonic()
            self.exchange.client_left.set()

    async def _replies(self) -> None:
        while data := await self.there.read(_READ_BYTES):
            exchange = self.exchange
            assert exchange is not None, "a reply without a request"
            start = len(exchange.arrived)
            exchange.arrived += data
            for piece in self.plan.pieces(data, start):
                if not await self._pass_on(piece, exchange):
                    return

    async def _pass_on(self, piece: bytes, exchange: Exchange) -> bool:
        if exchange.passed == self.plan.hold_at:
            await self.plan.gate.pass_through()
        if exchange.passed == self.plan.cut_at:
            self._cut()
            return False
        exchange.passed += len(piece)  # before it goes out: a client may be done with it before this goes on
        try:
            self.writer.write(piece)
            await self.writer.drain()
        except ConnectionError:
            self._note_left()
            return False
        if exchange.passed == self.plan.cut_at:
            self._cut()
            return False
        await asyncio.sleep(0)
        return True

    def _cut(self) -> None:
        if self.plan.is_reset:
            raw = self.writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.writer.transport.abort()
        else:
            self.writer.close()


STORY = "Tell me a very long story about a dog and a cat. Use many paragraphs."
NOTES = "\n".join(f"Note {number}: the quick brown fox jumps over the lazy dog." for number in range(80))


@dataclass(frozen=True)
class Stop:
    """What is known of it."""

    exchange: Exchange
    """As the proxy saw it."""
    took_ms: float
    """From the cancel to the close of the connection, by one monotonic clock."""
    events: list[StreamEvent]
    """What had come before."""


def to(address: str, model: str, text: str = STORY, **more: object) -> ChatRequest:
    """Ask a llama.cpp for an answer that does not end by itself for a long time."""
    sampling = {"max_tokens": 2000, "temperature": 0} | more
    return ask(Endpoint.parse(address), text, product=Product.LLAMA_CPP, model=model, **sampling)


async def stop(
    client: ProxyClient,
    request: ChatRequest,
    proxy: CuttingProxy,
    is_time: Callable[[list, Exchange], object],
) -> Stop:
    """Send a request through the proxy, cancel it when `is_time(events, exchange)`, wait until it is seen."""
    before, events = len(proxy.exchanges), []
    task = asyncio.create_task(events_of(client, request, on_event=events.append))

    def is_now() -> object:
        return task.done() or (len(proxy.exchanges) > before and is_time(events, proxy.exchanges[before]))

    try:
        await until(is_now, "the moment to stop")
        assert not task.done(), f"it ended before: {task.result()}"
    finally:
        began_s = time.monotonic()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    exchange = proxy.exchanges[before]
    assert await asyncio.to_thread(exchange.client_left.wait, 15), "the connection stays open"
    return Stop(exchange=exchange, took_ms=(exchange.left_s - began_s) * 1000, events=events)


async def stop_queued(client: ProxyClient, other: ProxyClient, proxy: CuttingProxy, model: str) -> Stop:
    """Stop while the server's only slot is busy with another answer, which goes on."""
    async with aclosing(other.stream(to(proxy.upstream, model))) as story:
        async for event in story:
            if isinstance(event, TextDelta):
                break
        stopped = await stop(client, to(proxy.url, model), proxy, lambda _, seen: seen.request)
        assert isinstance(await anext(story), TextDelta), "the other answer had ended"
    return stopped


async def stop_before_headers(client: ProxyClient, _: ProxyClient, proxy: CuttingProxy, model: str) -> Stop:
    proxy.plan = plan = Plan(hold_at=0)
    try:
        return await stop(client, to(proxy.url, model), proxy, lambda *_: plan.gate.reached.is_set())
    finally:
        proxy.plan = Plan()


async def stop_reading(client: ProxyClient, _: ProxyClient, proxy: CuttingProxy, model: str) -> Stop:
    """Stop while the server reads a prompt that it has never read."""
    request = to(proxy.url, model, f"{time.time()} {NOTES}")
    return await stop(client, request, proxy, lambda events, _: _has(events, PromptProgress))


async def stop_answering(client: ProxyClient, _: ProxyClient, proxy: CuttingProxy, model: str) -> Stop:
    return await stop(client, to(proxy.url, model), proxy, lambda events, _: _has(events, TextDelta))


def _has(events: list[StreamEvent], kind: type[StreamEvent]) -> bool:
    return any(isinstance(one, kind) for one in events)


STAGES = {
    "queued": stop_queued,
    "before the headers": stop_before_headers,
    "reading": stop_reading,
    "answering": stop_answering,
}
