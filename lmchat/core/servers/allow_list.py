"""Hosts that lmchat may send requests to, for answers, pages and tools."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from lmchat.base.errors import EndpointNotAllowed, RequestInvalid
from lmchat.core.servers.endpoint import Endpoint, usual_host
from lmchat.core.servers.products import PRODUCTS

_PROVIDER_HOSTS = frozenset(host for product in PRODUCTS for host in product.place.hosts)


class AllowList:
    """Hosts, with or without a port, that may be asked in addition to this machine."""

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        # None as the port: all ports
        self._hosts = set(map(_host_and_port, hosts))

    def allow(self, host: str) -> None:
        """Add "host" for all its ports, or "host:port"; raise `EndpointNotAllowed`."""
        self._hosts.add(_host_and_port(host))

    def check(self, endpoint: Endpoint) -> None:
        """Raise `EndpointNotAllowed`, and `RequestInvalid` for a provider addressed by http."""
        # an endpoint may have been made without `parse`, with "evil.example/" as its host: its URL
        # must be parsed to the same fields, or requests would go to another host
        if Endpoint.parse(endpoint.base_url) != endpoint:
            raise EndpointNotAllowed("Endpoint not allowed: write it as http://HOST:PORT.")

        host = endpoint.host
        if endpoint.scheme == "http" and host in _PROVIDER_HOSTS:
            raise RequestInvalid(
                f"Endpoint not allowed: {host} accepts only https, "
                "because http would expose the API key.",
                next_step=f"Write https://{host} in the address.",
                kind="insecure",
            )
        if self.allows(endpoint):
            return

        raise EndpointNotAllowed(
            "Endpoint not allowed: Endpoint must be localhost, "
            f"or be allowed by --allow-host {endpoint.host}",
            next_step="Check the address, or add the host to allowed_hosts in config.toml.",
        )

    def allows(self, endpoint: Endpoint) -> bool:
        return endpoint.is_loopback or self.names(endpoint)

    def names(self, endpoint: Endpoint) -> bool:
        host = usual_host(endpoint.host)
        return (host, None) in self._hosts or (host, endpoint.port) in self._hosts


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Raise `EndpointNotAllowed`."""
    host = text.strip().lower()
    if not host.startswith("[") and host.count(":") > 1:  # an IPv6 address without a port
        host = f"[{host}]"
    with suppress(EndpointNotAllowed):  # its message asks for an address
        endpoint = Endpoint.parse(f"http://{host}")
        if {"/", "?", "#"}.isdisjoint(host):  # it has no path
            # `endpoint.port` is 80 if the text names none
            return endpoint.host, urlsplit(f"//{host}").port
    raise EndpointNotAllowed(
        "Endpoint not allowed: a host or host:port is needed, without a path.",
        next_step="Correct it in allowed_hosts or --allow-host, for example: gpu.lan:8080",
    )
