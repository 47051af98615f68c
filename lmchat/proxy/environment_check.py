"""Proxy variables of the environment: what lmchat does with them, and whether other programs are misled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from urllib.parse import urlsplit

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.domain.server import Endpoint
from lmchat.proxy.errors import host_and_port, proxies_of

_row = Rows(Group.NETWORK, "network.")
_NAME = "Proxy variables"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KNOWN = ("http", "https", "socks5", "socks5h")


def proxy_finding(environ: Mapping[str, str], remote: Sequence[Endpoint]) -> Finding:
    """Say what the variables do; `remote` are the user's own servers on other machines."""
    proxies = proxies_of(environ)
    if not proxies:
        return _row("proxy", _NAME, Grade.OK, "No proxy is set in the environment.")
    shown = ", ".join(f"{name}={_without_password(value)}" for name, value in proxies.items())
    facts = {"variables": {name: _without_password(value) for name, value in proxies.items()}}
    bad = [name for name, value in proxies.items() if _fault(value)]
    if bad:
        reason = _fault(proxies[bad[0]])
        used_for = f" It is needed for {remote[0].host}." if remote else ""
        return _row(
            "proxy",
            _NAME,
            Grade.FAULT if remote else Grade.WARNING,
            f"{bad[0]} names a proxy that lmchat cannot use: {reason}.{used_for} Servers of this machine are "
            "reached without it.",
            f"unset {bad[0]}, or name an http:// proxy in it",
            **facts,
        )
    bypassed = _bypassed(environ)
    missed = [host for host in _LOOPBACK if host not in bypassed]
    through = f" Requests to {', '.join(one.host for one in remote)} go through it." if remote else ""
    if missed:
        return _row(
            "proxy",
            _NAME,
            Grade.WARNING,
            f"{shown}: lmchat asks servers of this machine directly all the same; other programs would ask "
            f"the proxy for {' and '.join(missed)}, and fail.{through}",
            "export NO_PROXY=127.0.0.1,localhost,::1 no_proxy=127.0.0.1,localhost,::1",
            **facts,
        )
    cause = f"{shown}: not used for this machine, by lmchat or by others (NO_PROXY).{through}"
    return _row("proxy", _NAME, Grade.OK, cause, **facts)


def _bypassed(environ: Mapping[str, str]) -> set[str]:
    """Return the names of this machine that no proxy is asked for; each entry may leave out the port."""
    listed = environ.get("no_proxy", "") or environ.get("NO_PROXY", "")
    words = {word.strip().lower().strip(".") for word in listed.split(",")}
    names = {
        word if word.count(":") > 1 and "]" not in word else word.partition("]")[0].strip("[")
        for word in words
    }
    names = {name if name.count(":") > 1 else name.partition(":")[0] for name in names}
    return {host for host in _LOOPBACK if "*" in names or host in names}


def _fault(value: str) -> str:
    """Return why a proxy cannot be used; empty where it can."""
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in _KNOWN:
        return f"{parts.scheme}:// is not known"
    if not host:
        return "it names no host"
    if parts.scheme.startswith("socks") and find_spec("socksio") is None:
        return "SOCKS is not spoken here"
    return ""


def _without_password(value: str) -> str:
    """Return scheme, host and port only: the rest may hold a password."""
    scheme = value.partition("://")[0] if "://" in value else "http"
    place = host_and_port(value)
    return f"{scheme}://{place}" if place else "(no address)"
