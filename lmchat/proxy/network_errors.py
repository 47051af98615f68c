"""Errors on the way to a server: the network, TLS and proxies of the environment."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import httpx

from lmchat.domain.server import Endpoint
from lmchat.errors import ServerUnavailable
from lmchat.text import shell_word

TRANSPORT_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)
"""All that httpx and the sockets below it raise."""
_QUOTES = ("bytearray(b", "b'", 'b"')
"""Beginnings of what h11 quotes in its messages."""


class NothingAnswers(ServerUnavailable):
    """No program takes the connection: it is refused (kind `offline`) or unanswered (`timeout`)."""


class ProxyUnavailable(ServerUnavailable):
    """A proxy of the environment does not answer."""


@contextmanager
def reaching(endpoint: Endpoint) -> Iterator[None]:
    """Turn what the network raises inside the block into `ServerUnavailable`."""
    try:
        yield
    except httpx.ProtocolError as error:
        raise unavailable(error, endpoint) from None  # a traceback would show its words
    except TRANSPORT_ERRORS as error:
        raise unavailable(error, endpoint) from error


def error_words(error: BaseException) -> str:
    """Return type and words of an error, without what h11 quotes: a header may hold the key."""
    words = str(error)
    for mark in _QUOTES:
        words = words.partition(mark)[0]
    return f"{type(error).__name__}: {words}".rstrip(" :({")


def unavailable(error: BaseException, endpoint: Endpoint) -> ServerUnavailable:
    """Return our error for one of the network's."""
    details = error_words(error)
    if isinstance(error, httpx.ConnectTimeout):
        return NothingAnswers(
            f"Nothing answers at {endpoint.netloc}.",
            kind="timeout",
            hint="Check the address and the network.",
            details=details,
        )
    if isinstance(error, httpx.TimeoutException):
        return ServerUnavailable(
            f"Request timeout: {endpoint.netloc} does not answer in time.",
            kind="timeout",
            hint="Check whether the server is busy or hangs.",
            details=details,
        )
    if isinstance(error, httpx.ConnectError) or not isinstance(error, httpx.TransportError):
        return _not_connected(error, endpoint, details)
    https = "; if it uses https, write https:// in its address" if endpoint.scheme == "http" else ""
    return ServerUnavailable(
        f"Streaming failed: {endpoint.netloc} closed the connection before it answered.",
        kind="dropped",
        hint=f"Check the server's log, then try again{https}.",
        details=details,
    )


def _not_connected(error: BaseException, endpoint: Endpoint, details: str) -> ServerUnavailable:
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls_error(cause, endpoint)
    through_proxy = None if endpoint.is_local else proxy_unavailable(endpoint, details)
    if through_proxy is not None:
        return through_proxy
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        message = f"The name {endpoint.host} is unknown."
        return ServerUnavailable(message, hint="Check the address.", details=details)
    message = f"Nothing answers at {endpoint.netloc}."
    return NothingAnswers(message, hint="Start the server there.", details=details)


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for cause in (error.__cause__ or error.__context__, *getattr(error, "exceptions", ())):
        if cause is not None:
            yield from _causes(cause)


_TRUST_IT = (
    "If you trust it, save it or its issuer's certificate, and set ca_file in config.toml "
    "or SSL_CERT_FILE to that file."
)
_UNKNOWN_ISSUER = ("is not trusted: its issuer is unknown", _TRUST_IT)
_OTHER_NAME = (
    "is not for {host}",
    "Use the certificate's name in the address, or create a certificate for this name.",
)
_CERTIFICATE_FAULTS = {
    9: ("is not valid yet", "Correct the clock of this machine or of the server."),
    10: (
        "has expired",
        "Renew it on the server. If it is still valid, correct the clock of this machine.",
    ),
    **dict.fromkeys((18, 19, 20, 21), _UNKNOWN_ISSUER),
    **dict.fromkeys((62, 64), _OTHER_NAME),
}
"""End of the message and hint by OpenSSL's code."""


def _tls_error(error: ssl.SSLError, endpoint: Endpoint) -> ServerUnavailable:
    place = endpoint.netloc
    if isinstance(error, ssl.SSLCertVerificationError):
        other_fault = (f"is not trusted: {error.verify_message}", _TRUST_IT)
        fault, hint = _CERTIFICATE_FAULTS.get(error.verify_code, other_fault)
        message = f"The certificate of {place} {fault.replace('{host}', endpoint.host)}."
    else:
        message = f"{place} does not use https."
        hint = "Check its port, and whether its address should begin with http://."
    return ServerUnavailable(
        f"{message} Nothing was sent.",
        kind="certificate",
        hint=hint,
        details=f"{type(error).__name__}: {error}",
    )


def proxies_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that name a proxy; of two spellings the lower-case one counts."""
    proxies: dict[str, str] = {}
    for lower in ("http_proxy", "https_proxy", "all_proxy"):
        for name in (lower, lower.upper()):
            if value := environ.get(name, "").strip():
                proxies[name] = value
                break
    return proxies


def host_and_port(value: str) -> str:
    """Return host and port of a proxy, never its password; empty for none."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if "@" in parts.path + parts.query + parts.fragment:  # of a password that ends the host
        return ""
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{port}" if port else host


def proxy_unavailable(endpoint: Endpoint, details: str) -> ProxyUnavailable | None:
    """Return the error for an address that is asked through a proxy, if it is."""
    if proxy_bypass(endpoint.host):
        return None
    for name, value in proxies_of(os.environ).items():
        if name.lower() in (f"{endpoint.scheme}_proxy", "all_proxy"):
            proxy = host_and_port(value) or "of the environment"
            return ProxyUnavailable(
                f"The proxy {proxy} does not answer; {name} sets it for {endpoint.netloc}.",
                hint=f"Start the proxy {proxy}, or run: "
                f"NO_PROXY={shell_word(endpoint.host)} lmchat",
                details=details,
            )
    return None
