"""Errors on the way to a server: the network, TLS and a proxy of the environment."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.request import getproxies

import httpx

from lmchat.errors import NothingAnswers, ServerUnavailable
from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint

TRANSPORT_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)
"""All that httpx and the sockets below it raise."""
_QUOTE_BEGINNINGS = ("bytearray(b", "b'", 'b"')
"""How a quotation of sent or received bytes begins in messages of h11."""


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
    if isinstance(error, httpx.ProxyError):
        return ServerUnavailable(
            f"The proxy of the environment does not connect to {endpoint.netloc}: "
            f"{safe_line(str(error))}.",
            hint="Check user and password in HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, "
            "or name the host in NO_PROXY.",
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
    if not endpoint.is_local and getproxies().keys() & {endpoint.scheme, "all"}:
        return ServerUnavailable(
            f"Nothing answers at {endpoint.netloc}, or at the proxy of the environment.",
            hint="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY, or name the host in NO_PROXY.",
            details=details,
        )
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


def _tls_error(error: ssl.SSLError, endpoint: Endpoint) -> ServerUnavailable:
    """Return the error for a refused certificate; any other error means a port without TLS."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = error.verify_message.rstrip(".")
        message = f"The certificate of {endpoint.netloc} is not trusted: {fault}."
        hint = (
            "Renew or correct it on the server. If you trust it, save it or its issuer's "
            "certificate, and set ca_file in config.toml or SSL_CERT_FILE to that file."
        )
    else:
        message = f"{endpoint.netloc} does not use https."
        hint = "Check its port, and whether its address should begin with http://."
    return ServerUnavailable(
        f"{message} Nothing was sent.",
        kind="certificate",
        hint=hint,
        details=f"{type(error).__name__}: {error}",
    )
