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
_QUOTE_BEGINNINGS = ("bytearray(b", "b'", 'b"')
"""How a quotation of sent or received bytes begins in messages of h11."""


class NothingAnswers(ServerUnavailable):
    """No program takes the connection: it is refused (kind `offline`) or unanswered (`timeout`)."""


class ProxyUnavailable(ServerUnavailable):
    """A proxy of the environment does not answer."""


@contextmanager
def errors_as_unavailable(endpoint: Endpoint) -> Iterator[None]:
    """Raise `ServerUnavailable` for any error of the network inside the block."""
    try:
        yield
    except httpx.ProtocolError as error:
        raise unavailable(error, endpoint) from None  # a traceback would show a quoted key
    except TRANSPORT_ERRORS as error:
        raise unavailable(error, endpoint) from error


def error_words(error: BaseException) -> str:
    """Return type and message of an error, up to the bytes that h11 quotes in it.

    These bytes may contain the API key.
    """
    message = str(error)
    for beginning in _QUOTE_BEGINNINGS:
        message = message.partition(beginning)[0]
    # Without the signs that came before a quotation, or without ": " if there is no message.
    return f"{type(error).__name__}: {message}".rstrip(" :({")


def unavailable(error: BaseException, endpoint: Endpoint) -> ServerUnavailable:
    """Return the `ServerUnavailable` for an error of the network.

    It says whether connecting took too long, a reply took too long, connecting failed, or the
    connection broke.
    """
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
    # Errors that are not of httpx, such as `OSError`, come from making the connection.
    if isinstance(error, httpx.ConnectError) or not isinstance(error, httpx.TransportError):
        return _not_connected(error, endpoint, details)
    hint = "Check the server's log, then try again"
    if endpoint.scheme == "http":  # a port with TLS closes a connection without it
        hint += "; if it uses https, write https:// in its address"
    return ServerUnavailable(
        f"Streaming failed: {endpoint.netloc} closed the connection before it answered.",
        kind="dropped",
        hint=f"{hint}.",
        details=details,
    )


def _not_connected(error: BaseException, endpoint: Endpoint, details: str) -> ServerUnavailable:
    """Return the error for a connection that could not be made.

    The reason is TLS, a proxy, or a name that cannot be resolved; otherwise nothing answers.
    """
    causes = list(_causes(error))
    for cause in causes:
        if isinstance(cause, ssl.SSLError):
            return _tls_error(cause, endpoint)
    proxy_error = None if endpoint.is_local else proxy_unavailable(endpoint, details)
    if proxy_error is not None:
        return proxy_error
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        message = f"The name {endpoint.host} is unknown."
        return ServerUnavailable(message, hint="Check the address.", details=details)
    message = f"Nothing answers at {endpoint.netloc}."
    return NothingAnswers(message, hint="Start the server there.", details=details)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, the errors that caused it, and the members of error groups among these."""
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
    18: _UNKNOWN_ISSUER,  # self-signed
    19: _UNKNOWN_ISSUER,  # self-signed in the chain
    20: _UNKNOWN_ISSUER,  # its issuer's certificate is not found
    21: _UNKNOWN_ISSUER,  # its signature cannot be verified
    62: _OTHER_NAME,
    64: _OTHER_NAME,  # another IP address
}
"""End of the message, and hint, by the `verify_code` of OpenSSL (X509_V_ERR_…)."""


def _tls_error(error: ssl.SSLError, endpoint: Endpoint) -> ServerUnavailable:
    """Return the error for a refused certificate; any other error means a port without TLS."""
    address = endpoint.netloc
    if isinstance(error, ssl.SSLCertVerificationError):
        other_fault = (f"is not trusted: {error.verify_message}", _TRUST_IT)
        fault, hint = _CERTIFICATE_FAULTS.get(error.verify_code, other_fault)
        # Not by `format`: the words of OpenSSL may have braces.
        message = f"The certificate of {address} {fault.replace('{host}', endpoint.host)}."
    else:
        message = f"{address} does not use https."
        hint = "Check its port, and whether its address should begin with http://."
    return ServerUnavailable(
        f"{message} Nothing was sent.",
        kind="certificate",
        hint=hint,
        details=f"{type(error).__name__}: {error}",
    )


def proxies_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment variables that name a proxy, with their values.

    If a variable is set in both spellings, the lower-case one counts.
    """
    proxies: dict[str, str] = {}
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        upper_name = name.upper()
        if value := environ.get(name, "").strip():
            proxies[name] = value
        elif value := environ.get(upper_name, "").strip():
            proxies[upper_name] = value
    return proxies


def host_and_port(value: str) -> str:
    """Return host and port of a proxy's address, never its password.

    Empty if the address has no host, or if a part of a password may have been read as the host.
    """
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    # A password with / or ? ends the host too early: what was read as the host is part of it.
    if "@" in parts.path + parts.query + parts.fragment:
        return ""
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{port}" if port else host


def proxy_unavailable(endpoint: Endpoint, details: str) -> ProxyUnavailable | None:
    """Return the error that names the proxy through which requests to an address go.

    A connection to the address has failed, so it is this proxy that does not answer. None if the
    environment names no proxy for the scheme of the address, or excepts its host.
    """
    if proxy_bypass(endpoint.host):  # excepted by NO_PROXY or by the system
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
