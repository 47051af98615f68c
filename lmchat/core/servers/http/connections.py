"""HTTP clients, one for each origin, the replies that they read, and the source of API keys."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, contextmanager, suppress
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from lmchat import __version__
from lmchat.base.errors import FileRefused, RequestInvalid, ServerUnavailable, WrongUse
from lmchat.base.files.disk import expanded_path, read_plain
from lmchat.base.json_values import JsonObject, NotJsonError, decode, dict_or_empty
from lmchat.base.safe_text import header_value, safe_line
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.network_errors import unavailable_error
from lmchat.core.servers.http.paced import PacedTransport
from lmchat.core.servers.http.proxies import proxy_for
from lmchat.core.servers.http.reply import MAX_REPLY_BYTES, Reply
from lmchat.core.servers.http.sse import MalformedStreamError, SseReader

CONNECT_LOOPBACK_S = 2.0
CONNECT_ELSEWHERE_S = 10.0
WRITE_S = 30.0
POOL_S = 5.0  # for a free connection of the pool
_CHUNKS_OF_A_TURN = 64  # the least have a byte; one read of the network may have 10,000
_STEP_BYTES = 64 * 1024  # decompressed at once: as much as one read of the network
_MAX_LINE_BYTES = 1024 * 1024  # of a reply with one JSON value on each line
_JSON_TYPES = ("application/x-ndjson", "application/json")
_GZIP = b"\x1f\x8b"  # at the beginning
_HEADER_BYTES = 2  # they show the format
_MAX_NAME = 40  # characters of a compression
_NOT_COMPRESSED = ("", "identity", "none", "utf-8")  # the last two are no encodings, but are sent
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS
_MAX_CERTIFICATE_BYTES = 4 * 1024 * 1024  # the usual list of all authorities has 250 kB
KEEPALIVE_S = 2.0  # LM Studio and llama.cpp close an idle connection after 5 s
TRANSPORT_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)
"""All that httpx and its sockets raise."""


@contextmanager
def errors_as_unavailable(endpoint: Endpoint, *, has_answered: bool = False) -> Iterator[None]:
    try:
        yield
    except httpx.ProtocolError as error:
        # it may quote a header with the key
        raise unavailable_error(error, endpoint, has_answered=has_answered) from None
    except TRANSPORT_ERRORS as error:
        raise unavailable_error(error, endpoint, has_answered=has_answered) from error


class Connections:
    """HTTP clients, one for each origin, made when they are first needed."""

    def __init__(
        self,
        transport: httpx.AsyncBaseTransport | None = None,
        *,
        ca_file: str = "",
        reads_per_second: float | None = None,
        headers_for: Callable[[Endpoint], Mapping[str, str]] = lambda _: {},
    ) -> None:
        """`headers_for` returns secret headers of all requests, or raises `RequestInvalid`.

        `reads_per_second` is for near streams; `transport` for tests.
        """
        self.headers_for = headers_for
        self._transport = transport
        self._reads_per_second = reads_per_second
        self._ca_file = ca_file
        self._is_closed = False
        self._clients: dict[str, httpx.AsyncClient] = {}  # by origin
        self._answered: set[str] = set()  # origins
        # without certificates, which take 30 ms to load: over http there is nothing to verify
        self._empty_tls_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    async def client(self, endpoint: Endpoint) -> httpx.AsyncClient:
        """Raise `WrongUse` after `aclose`, `ServerUnavailable` for a wrong proxy or certificate."""
        if self._is_closed:
            raise WrongUse("This client is closed.")
        if endpoint.origin in self._clients:
            return self._clients[endpoint.origin]
        headers = self.headers_for(endpoint)
        limits = httpx.Limits(keepalive_expiry=KEEPALIVE_S)
        tls_context = self._empty_tls_context  # nothing is verified
        transport = self._transport  # of tests, else None
        if transport is None and endpoint.scheme == "https":
            tls_context = await asyncio.to_thread(new_tls_context, self._ca_file)
        elif transport is None and endpoint.is_near:
            # read once a frame: see the head of `paced.py`
            transport = PacedTransport(self._reads_per_second)
        proxy = proxy_for(endpoint) if transport is None else ""
        try:
            urlsplit(proxy).port  # noqa: B018 - it raises for 99999, which httpx takes
            # `setdefault`: while certificates were loaded, another call may have made the client
            return self._clients.setdefault(
                endpoint.origin,
                httpx.AsyncClient(
                    transport=transport,
                    verify=tls_context,
                    proxy=proxy or None,
                    trust_env=False,  # httpx fails at networks in NO_PROXY
                    follow_redirects=False,
                    event_hooks={"response": [_move_location]},
                    limits=limits,
                    headers={
                        "User-Agent": f"lmchat/{__version__}",
                        "Accept-Encoding": "gzip, deflate",
                        **headers,
                    },
                ),
            )
        except (ValueError, ImportError, OSError, httpx.InvalidURL) as error:
            # no message: the address of a proxy may hold a password
            raise ServerUnavailable(
                f"Cannot connect to {endpoint.netloc}: "
                "a proxy set in the environment cannot be used.",
                next_step="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; "
                "SOCKS proxies are not supported.",
                details=type(error).__name__,
            ) from None

    async def ask(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        body: bytes | None = None,
        max_bytes: int = MAX_REPLY_BYTES,
        *,
        key: str,
        timeout: httpx.Timeout,  # noqa: ASYNC109 - of httpx
    ) -> Reply:
        """Return the whole reply, cut behind about `max_bytes`; raise `ServerUnavailable`.

        The timeout for reading is that of the whole reply: httpx has one for each read, which a
        server that sends a byte now and then would never exceed.
        """
        started_s = time.perf_counter()
        headers = request_headers(key, has_body=body is not None)
        limit_s = None if timeout.read is None else timeout.read + (timeout.connect or 0)
        with errors_as_unavailable(endpoint):
            try:
                async with asyncio.timeout(limit_s):
                    response = await self.send(
                        endpoint, method, url, headers=headers, timeout=timeout, body=body
                    )
                    content = await read_up_to(response, max_bytes)
            except TimeoutError as error:
                raise httpx.ReadTimeout("the reply takes too long") from error
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=content,
            elapsed_ms=(time.perf_counter() - started_s) * 1e3,
        )

    async def send(
        self,
        endpoint: Endpoint,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        timeout: httpx.Timeout,  # noqa: ASYNC109 - of httpx
        body: bytes | None = None,
    ) -> httpx.Response:
        """Return a response that is not read yet; raise `ServerUnavailable`."""
        client = await self.client(endpoint)
        request = client.build_request(method, url, content=body, headers=headers, timeout=timeout)
        has_answered = endpoint.origin in self._answered
        with errors_as_unavailable(endpoint, has_answered=has_answered):
            response = await client.send(request, stream=True)
            self._answered.add(endpoint.origin)
            if endpoint.scheme == "http" and proxy_for(endpoint) and _is_of_proxy(response):
                await response.aclose()
                raise httpx.ProxyError(f"{response.status_code} {response.reason_phrase}")
        if location := response.extensions.pop("location", ""):
            response.headers["Location"] = location
        return response

    async def json_events(
        self, endpoint: Endpoint, url: str, body: bytes | None, *, key: str
    ) -> AsyncGenerator[JsonObject]:
        """Yield the JSON objects of an event stream, or one on each line of a JSON reply.

        Data that is not JSON is left out. The generator also ends after any failure, and if the
        reply is of another type.
        """
        headers = request_headers(key, has_body=body is not None)
        headers["Accept"] = "text/event-stream"
        method = "GET" if body is None else "POST"
        # no limit for the wait between two events
        timeout = httpx.Timeout(POOL_S, read=None)
        reader = SseReader()
        with suppress(MalformedStreamError, ServerUnavailable, *TRANSPORT_ERRORS):
            response = await self.send(
                endpoint, method, url, headers=headers, timeout=timeout, body=body
            )
            async with aclosing(response):
                media_type = response.headers.get("content-type", "")
                is_event_stream = media_type.startswith("text/event-stream")
                if not (is_event_stream or media_type.startswith(_JSON_TYPES)):
                    return
                line = b""  # without its end yet
                async for chunk in body_chunks(response):
                    if is_event_stream:
                        values = [event.data for event in reader.feed(chunk)]
                    else:
                        *values, line = (line + chunk).split(b"\n")
                    for value in values:
                        with suppress(NotJsonError):
                            yield dict_or_empty(decode(value))
                    if len(line) > _MAX_LINE_BYTES:
                        return
                with suppress(NotJsonError):
                    if line:
                        yield dict_or_empty(decode(line))

    async def aclose(self) -> None:
        self._is_closed = True
        clients = list(self._clients.values())
        self._clients.clear()
        for client in clients:
            await client.aclose()


async def _move_location(response: httpx.Response) -> None:
    """Hide the address of a redirect: httpx would parse it, and fail at a wrong one."""
    response.extensions["location"] = response.headers.pop("Location", "")


def _is_of_proxy(response: httpx.Response) -> bool:
    """Whether a proxy does not reach the server, which itself would send JSON."""
    is_page = "json" not in response.headers.get("content-type", "")
    codes = httpx.codes
    failures = (codes.BAD_GATEWAY, codes.SERVICE_UNAVAILABLE, codes.GATEWAY_TIMEOUT)
    is_failure = is_page and response.status_code in failures
    return is_failure or response.status_code == codes.PROXY_AUTHENTICATION_REQUIRED


def request_headers(key: str, *, has_body: bool) -> dict[str, str]:
    """Leave out an empty key (R-10); raise `RequestInvalid` for forbidden characters."""
    headers = {"Accept": "application/json"}
    if has_body:
        headers["Content-Type"] = "application/json"
    try:
        key = header_value(key)
    except ValueError as error:
        # the forbidden characters of the key
        raise RequestInvalid(
            f"The API key {error}, and was not sent.",
            next_step="Type or set it again without them.",
            kind="auth",
        ) from None
    if key:
        headers["Authorization"] = f"Bearer {key}"
    return headers


async def body_chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    """Yield a body, decompressed in steps: a small one may become huge.

    The event loop runs between two steps, and within a read of many chunks. httpx would read data
    behind the end of the compressed data, and zlib would keep and copy all of it with each chunk.
    """
    header = response.headers.get("Content-Encoding", "").lower()
    names = [name.strip() for name in header.split(",")]
    encoding = ", ".join(name for name in names if name not in _NOT_COMPRESSED)
    if not encoding:
        async for chunk in _raw_chunks(response):
            yield chunk
        return
    if encoding not in ("gzip", "x-gzip", "deflate"):
        name = safe_line(encoding, limit=_MAX_NAME)
        raise httpx.DecodingError(f'its compression "{name}" was not asked for')
    decompressor = None
    has_ended = False
    rest = b""
    try:
        async for chunk in _raw_chunks(response):
            rest += chunk
            # gzip may have several members (RFC 1952, 2.2)
            if has_ended and not _GZIP.startswith(rest[:_HEADER_BYTES]):
                return
            while decompressor is not None or len(rest) >= _HEADER_BYTES:
                if decompressor is None:
                    has_ended = False
                    # some servers send deflate without the zlib header (RFC 9110, 8.4.1.2)
                    is_bare = encoding == "deflate" and not _has_header(rest)
                    decompressor = zlib.decompressobj(-zlib.MAX_WBITS if is_bare else _ZLIB_OR_GZIP)
                content = decompressor.decompress(rest, _STEP_BYTES)
                rest = decompressor.unconsumed_tail
                if content:
                    yield content
                if decompressor.eof:
                    rest = decompressor.unused_data
                    decompressor = None
                    has_ended = True
                    if encoding == "deflate" or not _GZIP.startswith(rest[:_HEADER_BYTES]):
                        return
                # behind a full step, zlib may hold the rest even if it has taken all input
                elif len(content) < _STEP_BYTES:
                    break
                await asyncio.sleep(0)
    except zlib.error as error:
        raise httpx.DecodingError("its compression is damaged") from error
    if decompressor is not None:  # the body has ended before its compressed data did
        raise httpx.DecodingError("its compression is damaged")


async def _raw_chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    count = 0
    async for chunk in response.aiter_raw():
        yield chunk
        count += 1
        if count % _CHUNKS_OF_A_TURN == 0:
            await asyncio.sleep(0)


def _has_header(content: bytes) -> bool:
    """Return whether data starts as zlib (RFC 1950, 2.2) or gzip does."""
    is_zlib = content[0] & 15 == zlib.DEFLATED and int.from_bytes(content[:2], "big") % 31 == 0
    return is_zlib or content.startswith(_GZIP)


async def read_up_to(
    response: httpx.Response, limit_bytes: int, timeout_s: float | None = None
) -> bytes:
    """Return what has arrived, up to the chunk beyond `limit_bytes` or to `timeout_s`; close."""
    content = bytearray()
    try:
        async with asyncio.timeout(timeout_s):
            async for chunk in body_chunks(response):
                content += chunk
                if len(content) > limit_bytes:
                    break
    except TimeoutError:
        pass
    finally:
        await response.aclose()
    return bytes(content)


def connect_timeout_s(endpoint: Endpoint, configured_s: float | None) -> float:
    if configured_s is not None:
        return configured_s
    return CONNECT_LOOPBACK_S if endpoint.is_loopback else CONNECT_ELSEWHERE_S


def new_tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Return a context with the usual certificates; raise `ServerUnavailable`. Reads files.

    They are those of certifi and the operating system, which `SSL_CERT_FILE` and `SSL_CERT_DIR`
    replace; those of `ca_file` are added.
    """
    variable_file = os.environ.get("SSL_CERT_FILE", "")
    # for the error
    setting = "SSL_CERT_FILE" if variable_file else "SSL_CERT_DIR"
    path = os.environ.get(setting, "")
    try:
        context = httpx.create_ssl_context()  # with the certificates of a variable, or of certifi
        if not path:
            context.load_default_certs()
        if ca_file:
            # from here on, an error is about `ca_file`
            setting = "ca_file"
            path = ca_file
            content = read_plain(expanded_path(ca_file), max_bytes=_MAX_CERTIFICATE_BYTES)
            # PEM is ASCII; only comments between the certificates may have other characters
            context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ValueError, OSError, FileRefused) as error:
        reason = getattr(error, "strerror", "") or str(error)
        if isinstance(error, ssl.SSLError | ValueError):
            reason = "it contains no certificates"
        raise ServerUnavailable(
            f"The certificates in {setting} cannot be used: {path}: {reason.rstrip('.')}.",
            kind="certificate",
            next_step=f"Set {setting} to a PEM file with certificates, or unset it.",
            details=type(error).__name__,
        ) from None
    if ca_file or variable_file:
        # The user trusts all certificates in the file. It may have that of one server without its
        # issuer (a partial chain), or that of an authority that breaks rules of RFC 5280.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


class KeySource(Protocol):
    """Source of API keys; an empty one means none."""

    may_get_any: Callable[[Endpoint], bool]
    """Whether a key without an address may go there: see `Access.may_get_any_key`."""

    def known_key(self, endpoint: Endpoint) -> str:
        """Return it without asking the user."""

    async def key_for(self, endpoint: Endpoint) -> str:
        """The user may be asked for a password."""

    def why_withheld(self, endpoint: Endpoint) -> str:
        """Return why a key that is set is not sent, and the next step; else ""."""

    def take_fault(self, endpoint: Endpoint) -> str:
        """Return why a key could not be had, the first time only; else ""."""


class OneKey:
    """A key, or none, for the servers that are named, or else for those of this machine."""

    def __init__(self, key: str = "", *named: Endpoint) -> None:
        self.key = key
        self.may_get_any: Callable[[Endpoint], bool] = lambda endpoint: endpoint.is_loopback
        self._origins = [endpoint.origin for endpoint in named]

    def known_key(self, endpoint: Endpoint) -> str:
        origins = self._origins
        may_send = endpoint.origin in origins if origins else self.may_get_any(endpoint)
        return self.key if may_send else ""

    async def key_for(self, endpoint: Endpoint) -> str:
        return self.known_key(endpoint)

    def why_withheld(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - of `KeySource`
        return ""

    def take_fault(self, endpoint: Endpoint) -> str:  # noqa: ARG002 - of `KeySource`
        return ""
