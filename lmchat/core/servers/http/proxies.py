"""The proxy that the environment names for a server."""

from __future__ import annotations

from urllib.request import getproxies, proxy_bypass

from lmchat.base.safe_text import safe_line
from lmchat.core.servers.endpoint import Endpoint


def proxy_for(endpoint: Endpoint) -> str:
    """Return "" without a proxy (R-8), or if `NO_PROXY` has the host, as Python reads it."""
    if endpoint.is_near:
        return ""
    found = getproxies()
    proxy = (found.get(endpoint.scheme) or found.get("all") or "").strip()
    if not proxy or proxy_bypass(endpoint.netloc):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_name(endpoint: Endpoint) -> str:
    """Return host and port, without the password."""
    scheme, _, address = proxy_for(endpoint).partition("://")
    return safe_line(address.rpartition("@")[2].partition("/")[0]) or scheme
