"""Errors on the way to a server: the network, TLS and proxies of the environment."""

from __future__ import annotations

import os
import random
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import httpx
from msgspec import Struct

from lmchat.config.settings import LimitSettings
from lmchat.domain.product import Product
from lmchat.domain.server import Endpoint
from lmchat.errors import FileRefused, LMChatError, ServerRejected, ServerUnavailable
from lmchat.files import path_of, read_plain
from lmchat.text import shell_word

VARIABLES = (
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)  # environment variables that name certificates for all programs
MAX_BYTES = 4 << 20  # longest file of certificates; all authorities of the world are 250 kB
_QUOTES = ("bytearray(b", "b'", 'b"')
TRANSPORT_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)
"""All that httpx and the sockets below it raise."""


class NothingAnswers(ServerUnavailable):
    """No program takes the connection: it is refused (kind `offline`), or not answered (`timeout`)."""


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
    """Return type and words of an error of the network; not what h11 quotes: a header may hold the key."""
    said = str(error)
    for mark in _QUOTES:
        said = said.partition(mark)[0]
    return f"{type(error).__name__}: {said}".rstrip(" :({")


def unavailable(error: BaseException, endpoint: Endpoint) -> ServerUnavailable:
    """Return our error for one of the network's."""
    place, details = endpoint.netloc, error_words(error)
    if isinstance(error, httpx.ConnectTimeout):
        return NothingAnswers(
            f"Nothing answers at {place}.",
            kind="timeout",
            hint="Check the address and the network.",
            details=details,
        )
    if isinstance(error, httpx.TimeoutException):
        return ServerUnavailable(
            f"Request timeout: {place} does not answer in time.",
            kind="timeout",
            hint="Check whether the server is busy or hangs.",
            details=details,
        )
    if isinstance(error, httpx.ConnectError) or not isinstance(error, httpx.TransportError):
        return _not_connected(error, endpoint, details)
    is_plain = endpoint.scheme == "http"
    https = "; if it uses https, write https:// in its address" if is_plain else ""
    return ServerUnavailable(
        f"Streaming failed: {place} closed the connection before it answered.",
        kind="dropped",
        hint=f"Check the server's log, then try again{https}.",
        details=details,
    )


def _causes(error: BaseException) -> Iterator[BaseException]:
    yield error
    for behind in (error.__cause__ or error.__context__, *getattr(error, "exceptions", ())):
        if behind is not None:
            yield from _causes(behind)


def _not_connected(error: BaseException, endpoint: Endpoint, details: str) -> ServerUnavailable:
    failure = next((one for one in _causes(error) if isinstance(one, ssl.SSLError)), None)
    if failure is not None:
        message, hint = _tls_failure(failure, endpoint)
        words = f"{type(failure).__name__}: {failure}"
        return ServerUnavailable(
            f"{message} Nothing was sent.", kind="certificate", hint=hint, details=words
        )
    through_proxy = None if endpoint.is_local else proxy_unavailable(endpoint, details)
    if through_proxy is not None:
        return through_proxy
    if any(isinstance(one, socket.gaierror) for one in _causes(error)):
        return ServerUnavailable(
            f"The name {endpoint.host} is unknown.", hint="Check the address.", details=details
        )
    return NothingAnswers(
        f"Nothing answers at {endpoint.netloc}.", hint="Start the server there.", details=details
    )


_TRUST_IT = (
    "If you trust it, save it or its issuer's certificate, and set ca_file in config.toml "
    "or SSL_CERT_FILE to that file."
)
_UNKNOWN_SIGNER = ("is not trusted: its issuer is unknown", _TRUST_IT)
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
    **dict.fromkeys((18, 19, 20, 21), _UNKNOWN_SIGNER),
    **dict.fromkeys((62, 64), _OTHER_NAME),
}
"""Message and hint by OpenSSL's code."""


def _tls_failure(failure: ssl.SSLError, endpoint: Endpoint) -> tuple[str, str]:
    place = endpoint.netloc
    if not isinstance(failure, ssl.SSLCertVerificationError):
        step = "Check its port, and whether its address should begin with http://."
        return f"{place} does not use https.", step
    other = (f"is not trusted: {failure.verify_message}", _TRUST_IT)
    message, hint = _CERTIFICATE_FAULTS.get(failure.verify_code, other)
    return f"The certificate of {place} {message.replace('{host}', endpoint.host)}.", hint


def trusted(ca_file: str = "") -> ssl.SSLContext:
    """Return the certificates that https servers are judged by; reads files.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the usual ones, `ca_file` is added. Raises `ServerUnavailable`
    for a file that cannot be read, or holds no certificate.
    """
    file, folder = (os.environ.get(name) or None for name in VARIABLES)
    if file or folder:
        with _readable(VARIABLES[0] if file else VARIABLES[1], file or folder or ""):
            context = ssl.create_default_context(cafile=file, capath=folder)
    else:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
    if ca_file:
        with _readable("ca_file", ca_file):
            content = read_plain(path_of(ca_file), limit=MAX_BYTES)
            context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    if file or ca_file:
        # the certificate of one server may be named itself, and own authorities are seldom made by the book
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@contextmanager
def _readable(setting: str, named: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, FileRefused) as error:  # ssl.SSLError is an OSError
        is_empty = isinstance(error, ssl.SSLError | ValueError)
        reason = (
            "it contains no certificates"
            if is_empty
            else getattr(error, "strerror", "") or str(error)
        )
        raise ServerUnavailable(
            f"The certificates in {setting} cannot be used: {named}: {reason.rstrip('.')}.",
            kind="certificate",
            hint=f"Set {setting} to a PEM file with certificates, or unset it.",
            details=type(error).__name__,
        ) from None


def proxies_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that name a proxy; of two forms of one name the lower-case one counts."""
    found: dict[str, str] = {}
    for lower in ("http_proxy", "https_proxy", "all_proxy"):
        name = next((name for name in (lower, lower.upper()) if environ.get(name, "").strip()), "")
        if name:
            found[name] = environ[name].strip()
    return found


def host_and_port(value: str) -> str:
    """Return host and port of a proxy, never its password; empty for none."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if (
        "@" in parts.path + parts.query + parts.fragment
    ):  # a password with a raw sign that ends the host
        return ""
    host = f"[{host}]" if ":" in host else host
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
                hint=f"Start the proxy {proxy}, or run: NO_PROXY={shell_word(endpoint.host)} lmchat",
                details=details,
            )
    return None


MAX_WAIT_S = 60.0  # a longer wait that a server asks for is told, not waited for
REFUSED_WAIT_S = 0.3
JITTER = 0.25
_PASSING = frozenset({"rate_limited", "busy", "upstream"})
_MAY_PASS = _PASSING | {"timeout", "context_overflow", "bad_request", "loading", "server_error"}
_PASSING_STATUSES = frozenset({408, 429, 502, 503, 504, 529})


class Plan(Struct, frozen=True, kw_only=True):
    """Another try that is worth it."""

    tries: int | None = None  # tries in all, where fewer than the settings allow
    wait_s: float | None = None  # seconds to wait; None: the own backoff

    def wait_after(self, attempt: int, limits: LimitSettings) -> float:
        if self.wait_s is not None:
            return self.wait_s
        own_s = min(limits.retry_base_s * 2.0 ** (attempt - 1), limits.retry_max_s)
        return own_s * random.uniform(1 - JITTER, 1 + JITTER)


def plan_for(error: LMChatError, endpoint: Endpoint, product: Product) -> Plan | None:
    """Return another try where a failure before the first token may pass, else None."""
    if isinstance(error, ServerRejected):
        return _rejected(error, endpoint, product)
    if endpoint.is_near:
        return Plan(tries=2, wait_s=REFUSED_WAIT_S) if error.kind == "offline" else None
    if error.kind == "offline":
        return Plan()
    # A read that timed out is not repeated: the server may be loading, and would do the work twice.
    # Connecting that timed out is, once: the system itself has knocked several times by then.
    return Plan(tries=2) if isinstance(error, NothingAnswers) else None


def _rejected(error: ServerRejected, endpoint: Endpoint, product: Product) -> Plan | None:
    wait_s = error.retry_after_s
    if error.kind not in _MAY_PASS or (wait_s or 0) > MAX_WAIT_S:
        return None
    if error.status is None:  # in the stream: only a gateway, which passes on what others say
        is_gateway = product is Product.LITELLM or not endpoint.is_near
        return Plan(wait_s=wait_s) if is_gateway and error.kind in _PASSING else None
    is_hosted_failure = error.status in (409, 500) and not endpoint.is_near
    return Plan(wait_s=wait_s) if error.status in _PASSING_STATUSES or is_hosted_failure else None
