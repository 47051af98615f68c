"""The proxies that the environment names, and what is told when one does not answer."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import proxy_bypass

from lmchat.domain.server import Endpoint
from lmchat.errors import ServerUnavailable

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
