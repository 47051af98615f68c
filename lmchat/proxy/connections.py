"""HTTP clients, one for each origin, and whole replies over them."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

import httpcore
import httpx
from msgspec import Struct

from lmchat import __version__
from lmchat.domain.server import Endpoint
from lmchat.errors import RequestInvalid, ServerUnavailable, WrongUse
from lmchat.machine.sockets import OWN_USER, foreign_owner
from lmchat.proxy.certificates import trusted
from lmchat.proxy.error_body import is_error
from lmchat.proxy.json_values import NotJsonError, decode, dict_or_empty
from lmchat.proxy.network_errors import reaching
from lmchat.proxy.paced import PacedTransport
from lmchat.text import header_value

MAX_REPLY_BYTES = 16 << 20
CONNECT_LOOPBACK_S = 2.0
CONNECT_ELSEWHERE_S = 10.0
WRITE_S = 30.0
POOL_S = 5.0
KEEPALIVE_S = 2.0  # LM Studio and llama.cpp close an idle connection after 5 s
_SUCCESSES = range(200, 300)


class Reply(Struct, frozen=True, kw_only=True, dict=True):
    """Status, headers and body; a status alone proves nothing (R-1)."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: float  # from sending to the last byte
    key_withheld: str = ""  # why the key was not sent

    @cached_property
    def value(self) -> Any:
        try:
            return decode(self.body)
        except NotJsonError:
            return None

    @property
    def object(self) -> dict[str, Any]:
        return dict_or_empty(self.value)

    @property
    def is_good(self) -> bool:
        if self.status not in _SUCCESSES or self.value is None:
            return False
        return not is_error(self.value)

    @property
    def is_unknown_path(self) -> bool:
        is_refused_path = self.status in (404, 405)
        return is_refused_path or "Unexpected endpoint" in str(self.object.get("error", ""))


class ForeignPortError(Exception):
    """A program of another user holds a port of this machine; it may not get a key."""


class Connections:
    """One client for each origin; made when first needed.

    Over http, nothing proves which program of this machine answers. So a request with a key has
    connections of its own there. Each is checked after it was made: the program that holds the
    port then is the one that accepted it.
    """

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        ca_file: str = "",
        owner_of: Callable[[str, int], str] | None = None,
        reads_per_second: float | None = None,
    ) -> None:
        """Create it; nothing is connected yet.

        `owner_of` blocks and takes the place of `foreign_owner`. With
        `reads_per_second`, streams of this machine are read at most so often.
        """
        self._transport = transport
        self._owner_of = owner_of or foreign_owner
        self._reads_per_second = reads_per_second
        self._ca_file = ca_file
        self._trusted: ssl.SSLContext | None = None
        self._is_closed = False
        self._clients: dict[tuple[str, bool], httpx.AsyncClient] = {}  # by origin and `is_checked`
        # Loading the certificates takes 30 ms; over plain http there is nothing to verify.
        self._no_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def client(self, endpoint: Endpoint, *, is_checked: bool = False) -> httpx.AsyncClient:
        """Return the client of an endpoint's origin; raises `WrongUse` if they are closed."""
        if self._is_closed:
            raise WrongUse("This client is closed.")
        needs_tls = endpoint.scheme == "https" and self._transport is None
        if needs_tls and self._trusted is None:
            self._trusted = await asyncio.to_thread(trusted, self._ca_file)
        key = (endpoint.origin, is_checked)
        if key not in self._clients:
            self._clients[key] = self._new_client(endpoint)
        return self._clients[key]

    def _new_client(self, endpoint: Endpoint) -> httpx.AsyncClient:
        verify = self._no_tls
        if endpoint.scheme == "https" and self._trusted is not None:
            verify = self._trusted
        limits = httpx.Limits(max_connections=8, keepalive_expiry=KEEPALIVE_S)
        try:
            return httpx.AsyncClient(
                transport=self._transport or self._paced_transport(endpoint, limits),
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
                f"Cannot connect to {endpoint.netloc}: "
                "a proxy set in the environment cannot be used.",
                hint="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; "
                "SOCKS proxies are not supported.",
                details=type(error).__name__,
            ) from None

    def _paced_transport(self, endpoint: Endpoint, limits: httpx.Limits) -> PacedTransport | None:
        is_direct = endpoint.is_local and endpoint.scheme == "http"  # others may need a proxy
        if self._reads_per_second is None or not is_direct:
            return None
        return PacedTransport(limits, self._reads_per_second)

    async def ask(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        *,
        key: str | None,
        timeout: httpx.Timeout,  # noqa: ASYNC109 - of httpx
        body: bytes | None = None,
    ) -> Reply:
        """Send a request and read the whole reply, or raise `ServerUnavailable`."""
        started_s = time.perf_counter()
        headers = request_headers(key, has_body=body is not None)
        client = await self.client(endpoint)
        request = client.build_request(method, url, content=body, headers=headers, timeout=timeout)
        trace = RequestTrace()
        response = await self.send(endpoint, request, trace)
        with reaching(endpoint):
            content = await read_up_to(response, MAX_REPLY_BYTES)
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=content,
            elapsed_ms=(time.perf_counter() - started_s) * 1e3,
            key_withheld=trace.key_withheld,
        )

    async def send(
        self, endpoint: Endpoint, request: httpx.Request, trace: RequestTrace
    ) -> httpx.Response:
        """Send a request and return the response, its body unread.

        If another user holds the port, it is sent without its key; `trace.key_withheld` says why.
        """
        is_unproven = endpoint.is_loopback and endpoint.scheme == "http"
        if not is_unproven or "Authorization" not in request.headers:
            return await self._send(endpoint, request, trace)
        trace.check = self._check_owner
        try:
            return await self._send(endpoint, request, trace, is_checked=True)
        except ForeignPortError as error:
            trace.key_withheld = f"The API key was not sent: {error}. {OWN_USER}"
        del request.headers["Authorization"]
        trace.check = None
        return await self._send(endpoint, request, trace)

    async def _check_owner(self, stream: httpcore.AsyncNetworkStream) -> None:
        """Close a connection to a port of another user, and raise `ForeignPortError`."""
        host, port, *_ = stream.get_extra_info("server_addr")
        owner = await asyncio.to_thread(self._owner_of, host, port)
        if owner:
            await stream.aclose()
            message = f"port {port} is held by a program of another user ({owner})"
            raise ForeignPortError(message)

    async def _send(
        self,
        endpoint: Endpoint,
        request: httpx.Request,
        trace: RequestTrace,
        *,
        is_checked: bool = False,
    ) -> httpx.Response:
        """Send a request; over a stale connection it is sent once more."""
        client = await self.client(endpoint, is_checked=is_checked)
        request.extensions["trace"] = trace.on_event
        try:
            with reaching(endpoint):
                return await client.send(request, stream=True)
        except ServerUnavailable as error:
            if error.kind != "dropped" or not trace.is_reused:
                raise
        with reaching(endpoint):
            return await client.send(request, stream=True)

    async def aclose(self) -> None:
        self._is_closed = True
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()


class RequestTrace:
    """What is known of the connection of a request: a used one may be stale (R-33)."""

    def __init__(self) -> None:
        self.is_reused = True
        self.is_connecting = False
        self.key_withheld = ""  # why the key was not sent
        self.check: Callable[[httpcore.AsyncNetworkStream], Awaitable[None]] | None = None
        """Checks a new connection before anything is sent over it."""

    async def on_event(self, name: str, info: Mapping[str, Any]) -> None:
        """Take an event of httpcore."""
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
        raise RequestInvalid(
            f"The API key {error}, and was not sent.",
            hint="Type or set it again without them.",
            kind="auth",
        ) from None
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return headers


async def read_up_to(
    response: httpx.Response, limit_bytes: int, timeout_s: float | None = None
) -> bytes:
    """Read and close a body, up to a limit and a time."""
    content = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > limit_bytes:
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
