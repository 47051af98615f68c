"""Hosts that lmchat may send requests to, for answers, pages and tools."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from lmchat.errors import EndpointNotAllowed, RequestInvalid
from lmchat.servers.endpoint import Endpoint, usual_host
from lmchat.servers.products import PRODUCTS

_PROVIDER_HOSTS = frozenset(host for product in PRODUCTS for host in product.hosts)


class AllowList:
    """Hosts, with or without a port, that requests may go to in addition to this machine.

    Addresses are parsed before they are compared, so another spelling cannot pass the check.
    """

    def __init__(self, hosts: Iterable[str] = ()) -> None:
        # Hosts with a port; None as the port means all ports.
        self._hosts = set(map(_host_and_port, hosts))

    def allow(self, host: str) -> None:
        """Add a host: "host" allows all its ports, "host:port" only this one.

        Raises:
            EndpointNotAllowed: the text is neither.
        """
        self._hosts.add(_host_and_port(host))

    def check(self, endpoint: Endpoint) -> None:
        """Return if requests may go to an endpoint: it is on this machine, or its host is listed.

        Raises:
            EndpointNotAllowed: neither is the case, or its fields are not a plain address.
            RequestInvalid: it is a provider on the internet, addressed by http.
        """
        # An endpoint may have been made without `parse`, for example with "evil.example/" as its
        # host. Its URL must be parsed to the same fields, or requests would go to another host.
        if Endpoint.parse(endpoint.base_url) != endpoint:
            raise EndpointNotAllowed("Endpoint not allowed: write it as http://HOST:PORT.")

        host = endpoint.host
        if endpoint.scheme == "http" and host in _PROVIDER_HOSTS:
            raise RequestInvalid(
                f"Endpoint not allowed: {host} accepts only https, "
                "because http would expose the API key.",
                hint=f"Write https://{host} in the address.",
                kind="insecure",
            )
        if endpoint.is_loopback or self.has_host(host, endpoint.port):
            return

        raise EndpointNotAllowed(
            "Endpoint not allowed: Endpoint must be localhost, "
            f"or be allowed by --allow-host {endpoint.host}",
            hint="Check the address, or add the host to allowed_hosts in config.toml.",
        )

    def has_host(self, host: str, port: int) -> bool:
        """Whether the list has this host, with all its ports or with this one."""
        host = usual_host(host)
        return (host, None) in self._hosts or (host, port) in self._hosts


def _host_and_port(text: str) -> tuple[str, int | None]:
    """Return the host and the port of "host" or "host:port"; the port is None if it is left out.

    Raises:
        EndpointNotAllowed: the text is neither.
    """
    host = text.strip().lower()
    if not host.startswith("[") and host.count(":") > 1:  # an IPv6 address without a port
        host = f"[{host}]"
    with suppress(EndpointNotAllowed):  # its message asks for an address
        endpoint = Endpoint.parse(f"http://{host}")
        if {"/", "?", "#"}.isdisjoint(host):  # it has no path
            # not `endpoint.port`, which is 80 if the text names no port
            return endpoint.host, urlsplit(f"//{host}").port
    raise EndpointNotAllowed(
        "Endpoint not allowed: a host or host:port is needed, without a path.",
        hint="Correct it in allowed_hosts or --allow-host, for example: gpu.lan:8080",
    )
