"""How near a server is: on this machine, in the own network, or anywhere."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address

from lmchat.domain.server import Endpoint

_OWN_ZONES = (".local", ".lan", ".home", ".internal", ".home.arpa", ".localdomain")


def is_local(endpoint: Endpoint) -> bool:
    """Whether its address is one of this machine or of a private network."""
    if endpoint.is_loopback:
        return True
    address = _address(endpoint)
    return address is not None and address.is_private


def is_near(endpoint: Endpoint) -> bool:
    """Whether it stands in the own network, be it by a name that only that knows.

    Whose server it is decides what is tried again and how much at a time; which proxy leads there, the
    address alone does.
    """
    if endpoint.is_loopback or _address(endpoint) is not None:
        return is_local(endpoint)
    return "." not in endpoint.host or endpoint.host.endswith(_OWN_ZONES)


def one_name(endpoint: Endpoint) -> tuple[str, int]:
    """Return what all addresses of one server have in common, as far as an address can tell."""
    return "localhost" if endpoint.is_loopback else endpoint.host, endpoint.port


def _address(endpoint: Endpoint) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(endpoint.host)
    except ValueError:
        return None
