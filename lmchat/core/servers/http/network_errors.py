"""Errors on the way to a server: the network, TLS and a proxy of the environment."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

from lmchat.base.errors import NothingAnswers, ServerUnavailable
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.http.proxies import proxy_name

_QUOTE_BEGINNINGS = ("bytearray(b", "b'", 'b"')
"""Before a quotation of bytes in messages of h11."""
_NO_HTTP = ("Server disconnected", "illegal request line")
"""In messages of httpcore and h11: nothing came, or an alert of TLS (RFC 8446, 6)."""

_NAME_DIFFERS = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH
_PROXY_STEP = (
    "Start the proxy, correct HTTP_PROXY, HTTPS_PROXY or ALL_PROXY, or name the host in NO_PROXY."
)


def error_text(error: BaseException) -> str:
    """Cut a message before bytes that h11 quotes: they may contain the API key."""
    message = str(error)
    for beginning in _QUOTE_BEGINNINGS:
        message = message.partition(beginning)[0]
    # without the signs before a quotation
    return f"{type(error).__name__}: {message}".rstrip(" :({")


def http_fault(error: BaseException) -> str:
    """Return how a reply breaks HTTP, in the words of the parser, or ""."""
    text = error_text(error).partition(": ")[2]
    is_fault = type(error).__name__ == "RemoteProtocolError" and not text.startswith(_NO_HTTP)
    return text if is_fault else ""


def unavailable_error(
    error: BaseException, endpoint: Endpoint, *, has_answered: bool = False
) -> ServerUnavailable:
    """`error` may also be of httpx2, which the MCP SDK uses: its errors have the same names.

    `has_answered` tells that the scheme of the address is right.
    """
    kinds = {kind.__name__ for kind in type(error).__mro__}
    address = endpoint.netloc
    details = error_text(error)
    proxy = proxy_name(endpoint)
    no_proxy = ServerUnavailable(
        f"Nothing answers at the proxy {proxy}, which the environment names for {endpoint.host}.",
        kind="timeout" if "ConnectTimeout" in kinds else "offline",
        next_step=_PROXY_STEP,
        details=details,
    )
    if "ConnectTimeout" in kinds:
        if proxy:
            return no_proxy
        return NothingAnswers(
            f"Nothing answers at {address}.",
            kind="timeout",
            next_step="Check the address and the network.",
            details=details,
        )
    if "TimeoutException" in kinds:
        return ServerUnavailable(
            f"Request timeout: {address} does not answer in time.",
            kind="timeout",
            next_step="Check whether the server is busy or hangs.",
            details=details,
        )
    if "ProxyError" in kinds:
        return ServerUnavailable(
            f"The proxy {proxy} of the environment does not connect to {address}: "
            f"{safe_line(str(error))}.",
            next_step="Check the server, and user and password in HTTP_PROXY, HTTPS_PROXY or "
            "ALL_PROXY, or name the host in NO_PROXY.",
            details=details,
        )
    if "DecodingError" in kinds:
        return ServerUnavailable(
            f"The reply of {address} cannot be read: {error}.",
            kind="server_error",
            next_step="Check the server's log, and any proxy in front of it.",
            details=details,
        )
    if "TransportError" in kinds and "ConnectError" not in kinds:
        message = f"Streaming failed: {address} closed the connection before it answered."
        next_step = "Check the server's log, then try again"
        if fault := http_fault(error):
            message = f"Streaming failed at {address}. Its reply breaks HTTP: {fault}."
        elif (
            endpoint.scheme == "http" and not has_answered
        ):  # a port with TLS closes a connection without it
            next_step += "; if it uses https, write https:// in its address"
        return ServerUnavailable(
            message,
            kind="dropped",
            next_step=f"{next_step}.",
            details=details,
        )
    # No connection was made. That is also the cause of errors of other types, such as `OSError`.
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            fault = cause.verify_message.rstrip(".")
            step = (
                "Renew or correct it on the server. If you trust it, save it or its issuer's "
                "certificate, and set ca_file in config.toml or SSL_CERT_FILE to that file."
            )
            if cause.verify_code in _NAME_DIFFERS:  # trust does not help
                step = f"It is for another name. Use that in place of {endpoint.host}, or renew it."
            return ServerUnavailable(
                f"The certificate of {address} is not trusted: {fault}. Nothing was sent.",
                kind="certificate",
                next_step=step,
                details=error_text(cause),
            )
        if isinstance(cause, ssl.SSLError):
            return ServerUnavailable(
                f"{address} does not use https. Nothing was sent.",
                kind="certificate",
                next_step="Check its port, and whether its address should begin with http://.",
                details=error_text(cause),
            )
        if isinstance(cause, socket.gaierror):
            message = f"The name {endpoint.host} is unknown."
            next_step = "Check the address."
            if proxy:
                message, next_step = f"The name of the proxy {proxy} is unknown.", _PROXY_STEP
            return ServerUnavailable(message, next_step=next_step, details=details)
    if proxy:
        return no_proxy
    next_step = (
        "Start the server there." if endpoint.is_near else "Check the address and the network."
    )
    return NothingAnswers(f"Nothing answers at {address}.", next_step=next_step, details=details)


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for cause in (error.__cause__ or error.__context__, *getattr(error, "exceptions", ())):
        if cause is not None:
            yield from _causes(cause)
