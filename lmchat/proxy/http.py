"""HTTP clients, one per origin, and whole replies over them."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
import zlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.request import getproxies

import httpx

from lmchat import __version__
from lmchat.domain.server import Endpoint
from lmchat.errors import RequestInvalid, ServerRejected, ServerUnavailable, WrongUse
from lmchat.proxy.errors import VANISHED_S, reaching, trusted
from lmchat.proxy.json_values import NotJsonError, decode, mapping
from lmchat.proxy.refusals import is_error

MAX_PIECE_BYTES = 64 << 10
"""Size of the pieces of an unpacked body: one read of 64 KiB may unpack to 64 MiB."""
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


async def pieces_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Read a body in pieces of bounded size.

    Raises:
        ServerRejected: it is packed in a way that was not asked for, such as twice.
        httpx.DecodingError: it cannot be unpacked.
    """
    if response.is_stream_consumed:
        yield response.content
        return
    packing = response.headers.get("content-encoding", "").strip().lower()
    if packing in ("", "identity"):
        async for chunk in response.aiter_raw():
            yield chunk
        return
    if packing not in _WINDOW_BITS:
        raise ServerRejected(
            "The server packs its answer in a way that nobody asked for.",
            kind="not_an_llm",
            hint="Check the port and the path of the address.",
            details="Content-Encoding other than gzip and deflate",
        )
    inflate, is_begun = zlib.decompressobj(_WINDOW_BITS[packing]), False
    async for chunk in response.aiter_raw():
        data = chunk
        while data and not inflate.eof:
            try:
                piece = inflate.decompress(data, MAX_PIECE_BYTES)
            except zlib.error as error:
                if is_begun or packing != "deflate":
                    raise httpx.DecodingError(str(error)) from error
                # some servers send raw deflate without the zlib header
                inflate, piece = zlib.decompressobj(-zlib.MAX_WBITS), b""
            else:
                data = inflate.unconsumed_tail
            is_begun = True
            if piece:
                yield piece
                await asyncio.sleep(0)


EVERY_S = 5
"""Interval of the system's probes on a connection on which nothing moves."""


def keepalive_options() -> list[tuple[int, int, int]]:
    """Return the socket options by which the system notices that the other machine is gone.

    An option that the system refuses is left out: it would make every connection fail.
    """
    named = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", EVERY_S),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", EVERY_S),  # the same on macOS
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", EVERY_S),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", VANISHED_S // EVERY_S - 1),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", VANISHED_S * 1000),  # also for sent data
    ]
    known = []
    with socket.socket() as trial:
        for level, name, value in named:
            with suppress(AttributeError, OSError):
                trial.setsockopt(level, getattr(socket, name), value)
                known.append((level, getattr(socket, name), value))
    return known


MAX_REPLY_BYTES = 16 << 20
CONNECT_LOOPBACK_S = 2.0
CONNECT_ELSEWHERE_S = 10.0
WRITE_S = 30.0
POOL_S = 5.0
KEEPALIVE_S = 2.0
"""Shorter than the 5 s after which LM Studio and llama.cpp close an idle connection (R-33)."""


_OK = range(200, 300)


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Status, headers and body; a status alone proves nothing (R-1)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: float
    """From asking to the last byte."""

    @cached_property
    def value(self) -> Any:
        """The body as JSON; None where it is not JSON."""
        try:
            return decode(self.body)
        except NotJsonError:
            return None

    @property
    def object(self) -> dict[str, Any]:
        """The body as a JSON object; empty where it is not one."""
        return mapping(self.value)

    @property
    def is_good(self) -> bool:
        return self.status in _OK and self.value is not None and not is_error(self.value)

    @property
    def is_unknown_path(self) -> bool:
        """Whether the server does not know what was asked, as LM Studio says it (status 200) or others do."""
        return self.status in (404, 405) or "Unexpected endpoint" in str(self.object.get("error", ""))


class Connections:
    """One client for each origin; made when first needed."""

    def __init__(self, transport: httpx.AsyncBaseTransport | None = None, *, ca_file: str = "") -> None:
        self._transport = transport
        self._ca_file = ca_file
        self._trusted: ssl.SSLContext | None = None
        self._is_closed = False
        self._clients: dict[str, httpx.AsyncClient] = {}
        # Loading the certificates takes 30 ms; over plain http there is nothing to verify.
        self._no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def client(self, endpoint: Endpoint) -> httpx.AsyncClient:
        """Return the client of an endpoint's origin.

        Raises:
            WrongUse: they are closed.
            ServerUnavailable: none can be made, with the certificates and proxies that are named.
        """
        if self._is_closed:
            raise WrongUse("This client is closed.")
        if endpoint.scheme == "https" and self._trusted is None and self._transport is None:
            self._trusted = await asyncio.to_thread(trusted, self._ca_file)
        client = self._clients.get(endpoint.origin)
        if client is None:
            client = self._clients[endpoint.origin] = self._new_client(endpoint)
        return client

    def _new_client(self, endpoint: Endpoint) -> httpx.AsyncClient:
        verify = self._trusted if endpoint.scheme == "https" and self._trusted else self._no_tls
        limits = httpx.Limits(max_connections=8, keepalive_expiry=KEEPALIVE_S)
        try:
            transport = self._transport
            # httpx looks for proxies of the environment only if it is given no transport
            if transport is None and (endpoint.is_local or not getproxies()):
                transport = httpx.AsyncHTTPTransport(
                    verify=verify, limits=limits, trust_env=False, socket_options=keepalive_options()
                )
            return httpx.AsyncClient(
                transport=transport,
                verify=verify,
                # a proxy of the environment cannot reach this machine
                trust_env=not endpoint.is_local,
                follow_redirects=False,
                limits=limits,
                headers={"User-Agent": f"lmchat/{__version__}"},
            )
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            # without the words of the error: the address of a proxy may hold a password
            raise ServerUnavailable(
                f"No connection to {endpoint.netloc} can be prepared: a proxy that the environment names "
                "cannot be used.",
                hint="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; no SOCKS proxies.",
                details=type(error).__name__,
            ) from None

    async def ask(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        *,
        key: str | None,
        patience: httpx.Timeout,
        body: bytes | None = None,
    ) -> Reply:
        """Ask and read the whole answer.

        Raises:
            ServerUnavailable: nothing answers, or not in time, or no client can be made.
            ServerRejected: the answer is beyond all size.
        """
        headers = request_headers(key, has_body=body is not None)
        client = await self.client(endpoint)
        request = client.build_request(method, url, content=body, headers=headers, timeout=patience)
        freshness = Freshness()
        request.extensions["trace"] = freshness.trace
        try:
            return await self._read(endpoint, request)
        except ServerUnavailable as error:
            if error.kind != "dropped" or not freshness.is_reused:
                raise
        return await self._read(endpoint, request)

    async def _read(self, endpoint: Endpoint, request: httpx.Request) -> Reply:
        started_s = time.perf_counter()
        with reaching(endpoint):
            async with _whole_limit(request):
                response = await (await self.client(endpoint)).send(request, stream=True)
                try:
                    content = await read_capped(response, MAX_REPLY_BYTES)
                finally:
                    await response.aclose()
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=content,
            elapsed_ms=(time.perf_counter() - started_s) * 1e3,
        )

    async def aclose(self) -> None:
        self._is_closed = True
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()


@asynccontextmanager
async def _whole_limit(request: httpx.Request) -> AsyncIterator[None]:
    """Limit the time of a whole reply: one byte now and then keeps every other clock from running out."""
    times: dict[str, float | None] = request.extensions["timeout"]
    connect_s, read_s = times.get("connect"), times.get("read")
    try:
        async with asyncio.timeout(None if read_s is None else (connect_s or 0.0) + 2 * read_s):
            yield
    except TimeoutError:
        raise httpx.ReadTimeout("the reply has no end") from None


class Freshness:
    """Whether a request went over a connection that had been used before; that one may be stale (R-33)."""

    def __init__(self) -> None:
        self.is_reused = True
        self.is_connecting = False
        """Whether the connection is not made yet."""

    async def trace(self, name: str, _: object) -> None:
        if name.startswith(("connection.connect", "connection.start_tls")):
            self.is_reused = False
            self.is_connecting = name.endswith(".started")


def request_headers(key: str | None, *, has_body: bool = False) -> dict[str, str]:
    """Return the headers of a request; without a key there is no Authorization header (R-10).

    Raises:
        RequestInvalid: the key cannot stand in a header.
    """
    headers = {"Accept": "application/json"}
    if has_body:
        headers["Content-Type"] = "application/json"
    key = (key or "").strip()
    if key:
        if not key.isascii() or not key.isprintable():
            raise RequestInvalid(
                "The API key holds characters that no key has.", hint="Enter it again.", kind="auth"
            )
        headers["Authorization"] = f"Bearer {key}"
    return headers


async def read_begun(response: httpx.Response, limit: int, patience_s: float) -> bytes:
    """Read what comes of a body in this time and up to this size; what is missing is not missed."""
    content = bytearray()
    try:
        async with asyncio.timeout(patience_s):
            async for chunk in pieces_of(response):
                content += chunk
                if len(content) > limit:
                    break
    except TimeoutError:
        pass
    return bytes(content[:limit])


async def read_capped(response: httpx.Response, limit: int) -> bytes:
    """Read a body up to a limit.

    Raises:
        ServerRejected: it is longer.
    """
    content = bytearray()
    async for chunk in pieces_of(response):
        content += chunk
        if len(content) > limit:
            raise ServerRejected(
                f"The server sent more than {limit >> 20} MiB where a short answer was due.",
                kind="not_an_llm",
                hint="Check the port and the path of the address.",
            )
    return bytes(content)


def connect_timeout_s(endpoint: Endpoint, configured_s: float | None) -> float:
    """Return how long connecting may take."""
    if configured_s is not None:
        return configured_s
    return CONNECT_LOOPBACK_S if endpoint.is_loopback else CONNECT_ELSEWHERE_S
