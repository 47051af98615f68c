"""HTTP clients, one per origin, and whole replies over them."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpcore
import httpx

from lmchat import __version__
from lmchat.domain.server import Endpoint
from lmchat.errors import RequestInvalid, ServerUnavailable, WrongUse
from lmchat.machine.sockets import OWN_USER, foreign_owner
from lmchat.proxy.errors import reaching, trusted
from lmchat.proxy.json_values import NotJsonError, decode, mapping
from lmchat.proxy.paced import PacedTransport
from lmchat.proxy.refusals import is_error
from lmchat.text import header_value

MAX_REPLY_BYTES = 16 << 20
CONNECT_LOOPBACK_S = 2.0
CONNECT_ELSEWHERE_S = 10.0
WRITE_S = 30.0
POOL_S = 5.0
KEEPALIVE_S = 2.0  # LM Studio and llama.cpp close an idle connection after 5 s


@dataclass(frozen=True, kw_only=True)
class Reply:
    """Status, headers and body; a status alone proves nothing (R-1)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: float  # from asking to the last byte
    withheld: str = ""  # why the key was not sent

    @cached_property
    def value(self) -> Any:
        try:
            return decode(self.body)
        except NotJsonError:
            return None

    @property
    def object(self) -> dict[str, Any]:
        return mapping(self.value)

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300 and self.value is not None and not is_error(self.value)  # noqa: PLR2004 - HTTP

    @property
    def is_unknown_path(self) -> bool:
        return self.status in (404, 405) or "Unexpected endpoint" in str(
            self.object.get("error", "")
        )


class ForeignPortError(Exception):
    """A program of another user holds a port of this machine; it may not get a key."""


class Connections:
    """One client for each origin; made when first needed.

    Over http, nothing proves which program of this machine answers. So a request with a key has connections
    of its own there, each checked after it was made: who holds the port then is the one who took it.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        ca_file: str = "",
        owner_of: Callable[[str, int], str] = foreign_owner,
        reads_per_second: float | None = None,
    ) -> None:
        """Create it; nothing is connected yet.

        `owner_of` returns the user who holds a port, where that is another one; it blocks. With
        `reads_per_second`, streams of this machine are read so often at most.
        """
        self._transport = transport
        self._owner_of = owner_of
        self._reads_per_second = reads_per_second
        self._ca_file = ca_file
        self._trusted: ssl.SSLContext | None = None
        self._is_closed = False
        self._clients: dict[
            tuple[str, bool], httpx.AsyncClient
        ] = {}  # by origin, and whether checked
        # Loading the certificates takes 30 ms; over plain http there is nothing to verify.
        self._no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def client(self, endpoint: Endpoint, *, is_checked: bool = False) -> httpx.AsyncClient:
        """Return the client of an endpoint's origin; raises `WrongUse` where they are closed."""
        if self._is_closed:
            raise WrongUse("This client is closed.")
        if endpoint.scheme == "https" and self._trusted is None and self._transport is None:
            self._trusted = await asyncio.to_thread(trusted, self._ca_file)
        if (endpoint.origin, is_checked) not in self._clients:
            self._clients[endpoint.origin, is_checked] = self._new_client(endpoint)
        return self._clients[endpoint.origin, is_checked]

    def _new_client(self, endpoint: Endpoint) -> httpx.AsyncClient:
        verify = self._trusted if endpoint.scheme == "https" and self._trusted else self._no_tls
        limits = httpx.Limits(max_connections=8, keepalive_expiry=KEEPALIVE_S)
        transport = self._transport
        is_plain = endpoint.is_local and endpoint.scheme == "http"  # to others a proxy may lead
        if transport is None and self._reads_per_second is not None and is_plain:
            transport = PacedTransport(limits, self._reads_per_second)
        try:
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
                f"Cannot connect to {endpoint.netloc}: a proxy set in the environment cannot be used.",
                hint="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; SOCKS proxies are not supported.",
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
        """Ask and read the whole answer, or raise `ServerUnavailable`."""
        started_s = time.perf_counter()
        headers = request_headers(key, has_body=body is not None)
        client = await self.client(endpoint)
        request = client.build_request(method, url, content=body, headers=headers, timeout=patience)
        freshness = Freshness()
        response = await self.send(endpoint, request, freshness)
        with reaching(endpoint):
            content = await read_up_to(response, MAX_REPLY_BYTES)
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=content,
            elapsed_ms=(time.perf_counter() - started_s) * 1e3,
            withheld=freshness.withheld,
        )

    async def send(
        self, endpoint: Endpoint, request: httpx.Request, freshness: Freshness
    ) -> httpx.Response:
        """Send a request and return the response, its body unread; a stale connection is tried again.

        Where another user holds the port, it is sent without its key, and `freshness.withheld` says why.
        """
        is_unproven = endpoint.is_loopback and endpoint.scheme == "http"
        if not (is_unproven and "Authorization" in request.headers):
            return await self._send(endpoint, request, freshness)
        freshness.check = self._check_owner
        try:
            return await self._send(endpoint, request, freshness, is_checked=True)
        except ForeignPortError as error:
            freshness.withheld = f"The API key was not sent: {error}. {OWN_USER}"
        del request.headers["Authorization"]
        freshness.check = None
        return await self._send(endpoint, request, freshness)

    async def _check_owner(self, stream: httpcore.AsyncNetworkStream) -> None:
        """Close a connection to a port that another user holds, and raise `ForeignPortError`."""
        host, port, *_ = stream.get_extra_info("server_addr")
        owner = await asyncio.to_thread(self._owner_of, host, port)
        if owner:
            await stream.aclose()
            raise ForeignPortError(f"port {port} is held by a program of another user ({owner})")

    async def _send(
        self,
        endpoint: Endpoint,
        request: httpx.Request,
        freshness: Freshness,
        *,
        is_checked: bool = False,
    ) -> httpx.Response:
        client = await self.client(endpoint, is_checked=is_checked)
        request.extensions["trace"] = freshness.trace
        try:
            with reaching(endpoint):
                return await client.send(request, stream=True)
        except ServerUnavailable as error:
            if error.kind != "dropped" or not freshness.is_reused:
                raise
        with reaching(endpoint):
            return await client.send(request, stream=True)

    async def aclose(self) -> None:
        self._is_closed = True
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()


class Freshness:
    """Whether a request went over a used connection, which may be stale (R-33)."""

    def __init__(self) -> None:
        self.is_reused = True
        self.is_connecting = False
        self.withheld = ""  # why the key was not sent
        self.check: Callable[[httpcore.AsyncNetworkStream], Awaitable[None]] | None = None
        """Checks a new connection before anything is sent over it."""

    async def trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name == "connection.connect_tcp.complete" and self.check is not None:
            await self.check(info["return_value"])
        if name.startswith(("connection.connect", "connection.start_tls")):
            self.is_reused = False
            self.is_connecting = name.endswith(".started")


def request_headers(key: str | None, *, has_body: bool = False) -> dict[str, str]:
    """Return the headers of a request; without a key there is no Authorization header (R-10)."""
    headers = {"Accept": "application/json"}
    if has_body:
        headers["Content-Type"] = "application/json"
    try:
        key = header_value(key or "")
    except ValueError as error:
        hint = "Type or set it again without them."
        raise RequestInvalid(
            f"The API key {error}, and was not sent.", hint=hint, kind="auth"
        ) from None
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return headers


async def read_up_to(
    response: httpx.Response, limit: int, patience_s: float | None = None
) -> bytes:
    """Read and close a body, up to a limit and a time."""
    content = bytearray()
    try:
        async with asyncio.timeout(patience_s):
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > limit:
                    break
    except TimeoutError:
        pass
    finally:
        await response.aclose()
    return bytes(content)


def connect_timeout_s(endpoint: Endpoint, configured_s: float | None) -> float:
    """Return how long connecting may take."""
    if configured_s is not None:
        return configured_s
    return CONNECT_LOOPBACK_S if endpoint.is_loopback else CONNECT_ELSEWHERE_S
