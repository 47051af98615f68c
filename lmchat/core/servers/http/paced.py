"""HTTP transport that reads a near stream about as often as a screen shows a frame.

Each read wakes the event loop, anyio, httpcore, h11, httpx and our reader: a quarter of what a
stream of 100 tokens a second costs. So events wait in the socket until the next frame.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

import httpcore
import httpx

# of each response: its head and first words
_UNPACED_READS = 20
# more data is probably there: the next read does not wait
_FULL_READ_BYTES = 16 * 1024
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked[ \t]*\r\n", re.IGNORECASE)
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})\r\n")
_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
)


class PacedTransport(httpx.AsyncBaseTransport):
    """Connections over http, without a proxy, one for each request.

    llama.cpp closes a connection behind a streamed reply without having said so. A request that
    came upon it at that moment would fail, and cannot be told from one that was started.
    """

    def __init__(self, reads_per_second: float | None) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            max_connections=None,
            max_keepalive_connections=0,
            network_backend=_PacedBackend(reads_per_second),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = httpcore.URL(
            scheme=request.url.raw_scheme,
            host=request.url.raw_host,
            port=request.url.port,
            target=request.url.raw_path,
        )
        with _errors_of_httpx():
            response = await self._pool.handle_async_request(
                httpcore.Request(
                    request.method,
                    url,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response),
            extensions=response.extensions,
        )

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _errors_of_httpx():
            async for chunk in self._response.aiter_stream():
                yield chunk

    async def aclose(self) -> None:
        await self._response.aclose()


class PacedStream(httpcore.AsyncNetworkStream):
    """Connection whose reads wait for the next frame, after the first ones of a response."""

    def __init__(self, inner: httpcore.AsyncNetworkStream, reads_per_second: float) -> None:
        self._inner = inner
        self._gap_s = 1 / reads_per_second
        self._read_count = 0  # since the last request was written
        self._next_read_s = 0.0  # monotonic time before which a paced read waits
        self._has_chunks = False  # the next read starts with a chunk

    async def read(
        self,
        max_bytes: int,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore
    ) -> bytes:
        self._read_count += 1
        pause_s = self._next_read_s - monotonic()
        if self._read_count > _UNPACED_READS and pause_s > 0:
            await asyncio.sleep(pause_s)
        data = await self._inner.read(max_bytes, timeout)
        is_full = len(data) >= _FULL_READ_BYTES
        self._next_read_s = 0.0 if is_full else monotonic() + self._gap_s
        head = b""
        if self._read_count == 1:
            head, blank_line, body = data.partition(b"\r\n\r\n")
            self._has_chunks = bool(blank_line and _CHUNKED.search(head + b"\r\n"))
            if self._has_chunks:
                head = head + blank_line
                data = body
        return head + self._with_joined_chunks(data) if self._has_chunks else data

    def _with_joined_chunks(self, data: bytes) -> bytes:
        """Join chunks that came together: h11, httpcore and httpx take each as long as all.

        From what is no whole chunk on, the reply is passed on as it comes.
        """
        chunks = []
        position = 0
        while size := _CHUNK_SIZE.match(data, position):
            end = size.end() + int(size[1], 16)
            if end == size.end() or data[end : end + 2] != b"\r\n":  # the last one, or a part
                break
            chunks.append(data[size.end() : end])
            position = end + 2
        self._has_chunks = position == len(data)
        if len(chunks) < 2:  # noqa: PLR2004 - nothing to join
            return data
        joined = b"".join(chunks)
        return b"%x\r\n%b\r\n%b" % (len(joined), joined, data[position:])

    async def write(
        self,
        buffer: bytes,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore
    ) -> None:
        """Count the reads of the response from 0."""
        self._read_count = 0
        await self._inner.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _PacedBackend(httpcore.AnyIOBackend):
    def __init__(self, reads_per_second: float | None) -> None:
        self._reads_per_second = reads_per_second

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - of httpcore
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to `localhost` at 127.0.0.1, then at ::1, without looking it up.

        Some machines know it for one of these only; others for ::1 first, where few servers listen.
        """
        if host == "localhost":
            try:
                return await self.connect_tcp(
                    "127.0.0.1", port, timeout, local_address, socket_options
                )
            except httpcore.ConnectError:
                host = "::1"
        stream = await super().connect_tcp(host, port, timeout, local_address, socket_options)
        if self._reads_per_second is None:
            return stream
        return PacedStream(stream, self._reads_per_second)


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        raise getattr(httpx, type(error).__name__)(str(error)) from error
