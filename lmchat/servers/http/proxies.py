"""The proxy that the environment names for a server."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from urllib.request import getproxies

from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint


def proxy_for(endpoint: Endpoint) -> str:
    """Return "" without a proxy (R-8)."""
    if endpoint.is_near:
        return ""
    found = getproxies()
    proxy = (found.get(endpoint.scheme) or found.get("all") or "").strip()
    if not proxy or _is_excluded(endpoint, found.get("no", "")):
        return ""
    return proxy if "://" in proxy else f"http://{proxy}"


def proxy_name(endpoint: Endpoint) -> str:
    """Return host and port, without the password."""
    scheme, _, address = proxy_for(endpoint).partition("://")
    return safe_line(address.rpartition("@")[2].partition("/")[0]) or scheme


def _is_excluded(endpoint: Endpoint, no_proxy: str) -> bool:
    """Read `NO_PROXY` as curl does; what cannot be read names none."""
    try:
        address = ip_address(endpoint.host)
    except ValueError:
        address = None
    for entry in no_proxy.lower().replace(",", " ").split():
        scheme, _, rest = entry.rpartition("://")
        host, port = rest.rstrip("/"), ""
        if host.count(":") == 1 or "]:" in host:
            host, _, port = host.rpartition(":")
        if scheme not in ("", "all", endpoint.scheme) or port not in ("", str(endpoint.port)):
            continue
        if host == "*":
            return True
        host = host.replace("[", "").replace("]", "")
        if address is None:
            # with `*.`, only names below it; else itself, too
            name = f".{endpoint.host}" if not host.startswith("*.") else endpoint.host
            if (ending := host.removeprefix("*").strip(".")) and name.endswith(f".{ending}"):
                return True
            continue
        try:
            if address in ip_network(host, strict=False):
                return True
        except ValueError:
            continue
    return False
