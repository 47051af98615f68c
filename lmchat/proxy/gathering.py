"""Reads a trickle of bytes in gulps: each read costs as much as all that is done with what it brings."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import httpcore
import httpx

TRICKLE_BYTES = 4096
"""A read that brings more has nothing to wait for: the server is faster than we are."""
MOST_S = 0.05
"""Longer than this no byte waits: what is on its way to the disk must be there in a quarter of a second."""


class GatheringStream(httpcore.AsyncNetworkStream):
    """A connection that can be told to let bytes come together before it reads them."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self.gather_s = 0.0
        """From one read to the next, while only a trickle comes; 0 reads each byte at once."""
        self.before_read: Callable[[], Awaitable[None]] | None = None
        """Called when all that was read has been taken, and more is to come from the network."""
        self._stream = stream
        self._loop = asyncio.get_running_loop()
        self._read_s = 0.0
        self._is_trickle = False

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - httpcore's
        """Read what is there, once it is time."""
        if self.before_read is not None:
            await self.before_read()
        if self.gather_s and self._is_trickle:
            pause_s = self._read_s + self.gather_s - self._loop.time()
            if pause_s > 0:
                await asyncio.sleep(pause_s)
        data = await self._stream.read(max_bytes, timeout)
        if self.gather_s:
            self._read_s, self._is_trickle = self._loop.time(), len(data) < TRICKLE_BYTES
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - httpcore's
        """Write at once."""
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        """Close it."""
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
    ) -> httpcore.AsyncNetworkStream:
        """Go on in secret."""
        return GatheringStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        """Tell what the connection itself tells."""
        return self._stream.get_extra_info(info)


class GatheringBackend(httpcore.AnyIOBackend):
    """Makes such connections."""

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect."""
        return GatheringStream(await super().connect_tcp(host, port, timeout, local_address, socket_options))


def gathering_transport(
    verify: ssl.SSLContext | bool, limits: httpx.Limits, options: Iterable[httpcore.SOCKET_OPTION] = ()
) -> httpx.AsyncHTTPTransport:
    """Return httpx's own transport over such connections; it has no public way to be given them."""
    transport = httpx.AsyncHTTPTransport(
        verify=verify, limits=limits, trust_env=False, socket_options=list(options)
    )
    transport._pool._network_backend = GatheringBackend()  # noqa: SLF001 - a test tells when it goes
    return transport


def call_before_reads(response: httpx.Response, call: Callable[[], Awaitable[None]] | None) -> bool:
    """Have something called before each read of the network, where the connection of a response can do that.

    What one read brought may be many chunks of HTTP, and costs less to take together.
    """
    stream = response.extensions.get("network_stream")
    if isinstance(stream, GatheringStream):
        stream.before_read = call
    return isinstance(stream, GatheringStream)


def gather(response: httpx.Response, seconds: float) -> None:
    """Let the bytes of a response come together for so long, wherever its connection can do that."""
    stream = response.extensions.get("network_stream")
    if isinstance(stream, GatheringStream):
        stream.gather_s = min(seconds, MOST_S)
