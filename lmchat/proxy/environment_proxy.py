"""The proxy that the environment names for an address, and what is told when it does not answer."""

from __future__ import annotations

import os
from urllib.request import proxy_bypass

import httpx

from lmchat.domain.server import Endpoint
from lmchat.errors import ServerUnavailable


class ProxyUnavailable(ServerUnavailable):
    """A proxy of the environment does not answer."""


def proxy_unavailable(endpoint: Endpoint, details: str) -> ProxyUnavailable | None:
    """Return the error for an address that is asked through a proxy; None where none is named for it."""
    if proxy_bypass(endpoint.host):
        return None
    for scheme in (endpoint.scheme, "all"):
        for name in (f"{scheme}_proxy", f"{scheme.upper()}_PROXY"):
            if value := os.environ.get(name, "").strip():
                return _error(endpoint, name, _address(value), details)
    return None


def _address(value: str) -> str:
    """Return host and port alone: what stands before them may be a password."""
    try:
        return httpx.URL(value if "://" in value else f"http://{value}").netloc.decode("ascii")
    except (httpx.InvalidURL, ValueError):
        return "of the environment"


def _error(endpoint: Endpoint, name: str, proxy: str, details: str) -> ProxyUnavailable:
    return ProxyUnavailable(
        f"The proxy {proxy} does not answer; {name} names it for {endpoint.netloc}.",
        hint=f"Start the proxy {proxy}, or NO_PROXY={endpoint.host} lmchat",
        details=details,
    )
