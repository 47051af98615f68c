"""Which addresses may be talked to: this machine, and what the user named."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address

from lmchat.domain.server import Endpoint
from lmchat.errors import EndpointNotAllowed, RequestInvalid
from lmchat.proxy.servers import SERVERS

_PROVIDERS = frozenset(host for server in SERVERS for host in server.hosts)


class AllowList:
    """Compares parsed hosts and ports, never strings of addresses."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        self._hosts: set[tuple[str, int | None]] = set()
        for host in hosts:
            self.allow(host)

    def allow(self, host: str) -> None:
        """Add "host" (any port) or "host:port".

        Raises:
            EndpointNotAllowed: it is neither.
        """
        self._hosts.add(_parsed(host))

    def check(self, endpoint: Endpoint) -> None:
        """Refuse an address that is not allowed.

        Raises:
            EndpointNotAllowed: it is neither of this machine nor named by the user.
            RequestInvalid: it is a provider's, and in plain text.
        """
        # An endpoint may have been built by hand: only one that reads back as itself is what it says.
        if Endpoint.parse(endpoint.base_url) != endpoint:
            raise EndpointNotAllowed("Endpoint not allowed: write it as http://HOST:PORT")
        host = _canonical(endpoint.host)
        if endpoint.scheme == "http" and host in _PROVIDERS:
            raise RequestInvalid(
                f"Endpoint not allowed: {host} is asked over https only, or the key could be read on the way",
                hint=f"Write https://{host} in the address.",
                kind="not_allowed",
            )
        if endpoint.is_loopback or {(host, None), (host, endpoint.port)} & self._hosts:
            return
        raise EndpointNotAllowed(
            f"Endpoint not allowed: Endpoint must be localhost, "
            f"or be allowed by --allow-host {endpoint.host}",
            hint=f"Start with --allow-host {endpoint.host}, or put it into allowed_hosts of config.toml.",
        )


def _parsed(text: str) -> tuple[str, int | None]:
    host, port = text.strip().lower(), ""
    if not host.startswith("[") and host.count(":") > 1:  # a bare IPv6 address has no port
        host = f"[{host}]"
    endpoint = Endpoint.parse(f"http://{host}")
    if endpoint.path != "/v1" or "/" in host:
        shown = "that" if "@" in text else f'"{text}"'  # what stands before the sign may be a password
        raise EndpointNotAllowed(f"Endpoint not allowed: {shown} is not a host or host:port")
    port = host.rpartition("]")[2].rpartition(":")[2] if ":" in host.rpartition("]")[2] else ""
    return _canonical(endpoint.host), int(port) if port else None


def _canonical(host: str) -> str:
    try:
        return ip_address(host).compressed
    except ValueError:
        return host
