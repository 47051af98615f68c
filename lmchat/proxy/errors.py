"""Errors on the way to a server: the network, TLS and proxies of the environment."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

import httpx

from lmchat.domain.server import Endpoint
from lmchat.errors import FileRefused, ServerUnavailable
from lmchat.files import path_of, read_plain


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that led to it, each once, the outermost first."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = one.__cause__ or one.__context__
        waiting += [
            *(one.exceptions if isinstance(one, BaseExceptionGroup) else ()),
            *filter(None, (behind,)),
        ]


VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that name certificates for all programs."""
MAX_BYTES = 4 << 20
"""All authorities of the world are a quarter of a megabyte."""
_NOT_TRUSTED = frozenset({18, 19, 20, 21})
"""OpenSSL: self-signed, or the issuer is unknown or missing."""
_OTHER_NAME = frozenset({62, 64})
_OVER, _NOT_YET = 10, 9
_TRUST_IT = (
    "If it is right, save it, or that of who signed it, and name the file as ca_file in config.toml, or in "
    "SSL_CERT_FILE."
)


def trusted(ca_file: str = "") -> ssl.SSLContext:
    """Return what an https server has to convince; reads files.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` take the place of the usual certificates, as with other programs;
    `ca_file` comes on top of whatever else holds.

    Raises:
        ServerUnavailable: a file that is named cannot be read, or holds no certificate.
    """
    file, folder = (os.environ.get(name) or None for name in VARIABLES)
    if file or folder:
        with _told(VARIABLES[0] if file else VARIABLES[1], file or folder or ""):
            context = ssl.create_default_context(cafile=file, capath=folder)
    else:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
    if ca_file:
        with _told("ca_file", ca_file):
            content = read_plain(path_of(ca_file), limit=MAX_BYTES)
            context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    if file or ca_file:
        # the certificate of one server may be named itself, and own authorities are seldom made by the book
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@contextmanager
def _told(setting: str, named: str) -> Iterator[None]:
    """Turn what goes wrong with a file of certificates into a sentence that says where it was named."""
    try:
        yield
    except (OSError, ValueError, FileRefused) as error:  # ssl.SSLError is an OSError
        is_empty = isinstance(error, ssl.SSLError | ValueError)
        reason = "it holds no certificates" if is_empty else getattr(error, "strerror", "") or str(error)
        raise ServerUnavailable(
            f"The certificates that {setting} names cannot be used: {named}: {reason.rstrip('.')}.",
            kind="certificate",
            hint=f"Name a file of certificates (PEM) in {setting}, or none.",
            details=type(error).__name__,
        ) from None


def distrusted(error: BaseException, host: str, place: str) -> ServerUnavailable | None:
    """Return the error for a failure that TLS is behind, with the way out; None for any other."""
    failure = next((one for one in causes(error) if isinstance(one, ssl.SSLError)), None)
    if failure is None:
        return None
    message, hint = _words(failure, host, place)
    return ServerUnavailable(
        f"{message} Nothing was sent.",
        kind="certificate",
        hint=hint,
        details=f"{type(failure).__name__}: {failure}",
    )


def _words(failure: ssl.SSLError, host: str, place: str) -> tuple[str, str]:
    if not isinstance(failure, ssl.SSLCertVerificationError):
        return (
            f"{place} speaks no https.",
            "See whether its address begins with http://, and which port it has.",
        )
    code = failure.verify_code
    if code == _OVER:
        return (
            f"The certificate of {place} has expired.",
            "Have it renewed there; if it is not over, set the clock of this machine.",
        )
    if code == _NOT_YET:
        return f"The certificate of {place} is not valid yet.", "Set the clock, here or there."
    if code in _OTHER_NAME:
        return (
            f"The certificate of {place} is made for another name than {host}.",
            "Use the name that it is made for in the address, or have one made for this name.",
        )
    who = "it is signed by nobody who is known here" if code in _NOT_TRUSTED else failure.verify_message
    return f"The certificate of {place} is not trusted: {who}.", _TRUST_IT


_SCHEMES = ("http", "https", "all")


class ProxyUnavailable(ServerUnavailable):
    """A proxy of the environment does not answer."""


def proxies_of(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that name a proxy; of two forms of one name the lower-case one counts."""
    found: dict[str, str] = {}
    for scheme in _SCHEMES:
        for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
            if value := environ.get(name, "").strip():
                found[name] = value
                break
    return found


def host_and_port(value: str) -> str:
    """Return these two of a proxy and nothing else, for the rest may hold a password; empty for none."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if "@" in parts.path + parts.query + parts.fragment:  # a password with a raw sign that ends the host
        return ""
    host = f"[{host}]" if ":" in host else host
    return f"{host}:{port}" if port else host


def proxy_unavailable(endpoint: Endpoint, details: str) -> ProxyUnavailable | None:
    """Return the error for an address that is asked through a proxy; None where none is named for it."""
    if proxy_bypass(endpoint.host):
        return None
    names = (f"{endpoint.scheme}_proxy", "all_proxy")
    for name, value in proxies_of(os.environ).items():
        if name.lower() in names:
            return _error(endpoint, name, host_and_port(value) or "of the environment", details)
    return None


def _error(endpoint: Endpoint, name: str, proxy: str, details: str) -> ProxyUnavailable:
    return ProxyUnavailable(
        f"The proxy {proxy} does not answer; {name} names it for {endpoint.netloc}.",
        hint=f"Start the proxy {proxy}, or NO_PROXY={endpoint.host} lmchat",
        details=details,
    )


_UNKNOWN_NAME = (
    "Name or service not known",
    "nodename nor servname",
    "name resolution",
    "getaddrinfo failed",
)
VANISHED_S = 30
"""A machine that acknowledges nothing for so long is gone; sooner, a change of network would cut answers."""
REFUSED = frozenset({errno.ECONNREFUSED})
_VANISHED = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})
TRANSPORT_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)
"""All that httpx and the sockets below it raise."""


@contextmanager
def reaching(endpoint: Endpoint) -> Iterator[None]:
    """Turn what the network raises inside the block into `ServerUnavailable`."""
    try:
        yield
    except TRANSPORT_ERRORS as error:
        raise unavailable(error, endpoint) from error


class NothingAnswers(ServerUnavailable):
    """No program takes the connection: it is refused (kind `offline`), or not answered (`timeout`)."""


def unavailable(error: BaseException, endpoint: Endpoint) -> ServerUnavailable:
    """Return our error for one of the network's."""
    place, details = endpoint.netloc, f"{type(error).__name__}: {error}"
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
            hint="See whether the server is busy or hangs.",
            details=details,
        )
    if isinstance(error, httpx.ConnectError) or not isinstance(error, httpx.TransportError):
        return _not_connected(error, endpoint, details)
    if caused_by(error, _VANISHED):
        return ServerUnavailable(
            f"Request timeout: {place} has not answered for {VANISHED_S} s, the connection is dead.",
            kind="timeout",
            hint="See whether that machine is on and in the network, then try again.",
            details=details,
        )
    return ServerUnavailable(
        f"Streaming failed: {place} closed the connection before it answered.",
        kind="dropped",
        hint="Look at the server's log, then try again."
        if endpoint.scheme == "https"
        else "Look at the server's log, then try again; if it speaks https, write https:// in its address.",
        details=details,
    )


def caused_by(error: BaseException, numbers: frozenset[int]) -> bool:
    """Whether a system error with one of these numbers is among the causes."""
    return any(isinstance(one, OSError) and one.errno in numbers for one in causes(error))


def _not_connected(error: BaseException, endpoint: Endpoint, details: str) -> ServerUnavailable:
    untrusted = distrusted(error, endpoint.host, endpoint.netloc)
    if untrusted is not None:
        return untrusted
    through_proxy = None if endpoint.is_local else proxy_unavailable(endpoint, details)
    if through_proxy is not None:
        return through_proxy
    if any(words in details for words in _UNKNOWN_NAME):
        return ServerUnavailable(
            f"The name {endpoint.host} is not known.", hint="Check the address.", details=details
        )
    return NothingAnswers(
        f"Nothing answers at {endpoint.netloc}.", hint="Start the server there.", details=details
    )
