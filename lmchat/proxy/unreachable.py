"""What goes wrong on the way to a server, as our own errors."""

from __future__ import annotations

import errno

import httpx

from lmchat.domain.server import Endpoint
from lmchat.errors import ServerUnavailable
from lmchat.proxy.causes import causes
from lmchat.proxy.environment_proxy import proxy_unavailable
from lmchat.proxy.keepalive import VANISHED_S
from lmchat.proxy.nearness import is_local
from lmchat.proxy.trust import distrusted

_UNKNOWN_NAME = (
    "Name or service not known",
    "nodename nor servname",
    "name resolution",
    "getaddrinfo failed",
)
REFUSED = frozenset({errno.ECONNREFUSED})
_VANISHED = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})
TRANSPORT_ERRORS = (httpx.HTTPError, httpx.StreamError, httpx.InvalidURL, OSError)
"""All that httpx and the sockets below it raise."""


class reaching:  # noqa: N801 - reads as what it is: `with reaching(endpoint):`
    """Turns what the network raises inside the block into `ServerUnavailable`."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate."""
        if isinstance(error, TRANSPORT_ERRORS):
            raise unavailable(error, self._endpoint) from error


def unavailable(error: BaseException, endpoint: Endpoint) -> ServerUnavailable:
    """Return our error for one of the network's."""
    place, details = endpoint.netloc, f"{type(error).__name__}: {error}"
    if isinstance(error, httpx.ConnectTimeout):
        return ServerUnavailable(
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
    """Whether an error of the system with one of these numbers stands behind it."""
    return any(isinstance(one, OSError) and one.errno in numbers for one in causes(error))


def _not_connected(error: BaseException, endpoint: Endpoint, details: str) -> ServerUnavailable:
    untrusted = distrusted(error, endpoint.host, endpoint.netloc)
    if untrusted is not None:
        return untrusted
    through_proxy = None if is_local(endpoint) else proxy_unavailable(endpoint, details)
    if through_proxy is not None:
        return through_proxy
    is_unknown_name = any(words in details for words in _UNKNOWN_NAME)
    message = (
        f"The name {endpoint.host} is not known."
        if is_unknown_name
        else f"Nothing answers at {endpoint.netloc}."
    )
    hint = "Check the address." if is_unknown_name else "Start the server there."
    return ServerUnavailable(message, hint=hint, details=details)
