"""The doctor's checks of the network: proxies, certificates, and the addresses of this machine for itself."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib.util import find_spec
from urllib.parse import urlsplit

from msgspec import Struct

from lmchat.domain.candidate import Finding, FindingRows, Grade, Group
from lmchat.domain.server import Endpoint
from lmchat.errors import ServerUnavailable
from lmchat.proxy.errors import VARIABLES, host_and_port, proxies_of, trusted

LITERALS = ("127.0.0.1", "::1")
"""In the order in which lmchat asks them (R-6)."""
CONNECT_S = 1.5
"""A connection to this machine is made or refused at once, unless a firewall drops packets."""
_row = FindingRows(Group.NETWORK, "network.")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_KNOWN = ("http", "https", "socks5", "socks5h")


def certificates_findings(environ: Mapping[str, str], ca_file: str, *, is_needed: bool) -> list[Finding]:
    """Say which certificates https servers are judged by; nothing where none is named and none is needed.

    `is_needed` tells whether one of the user's own servers is asked over https. Reads files.
    """
    named = {name: value for name in VARIABLES if (value := environ.get(name, ""))}
    usual = " and ".join(f"{name}={value}" for name, value in named.items())
    named |= {"ca_file": ca_file} if ca_file else {}
    if not named and not is_needed:
        return []
    grade, step = Grade.OK, ""
    cause = f"Servers are judged by {usual or 'the certificates of Mozilla and of this system'}"
    cause += f", and by ca_file {ca_file}." if ca_file else "."
    try:
        trusted(ca_file)
    except ServerUnavailable as error:
        grade, cause, step = Grade.FAULT if is_needed else Grade.WARNING, error.message, error.hint
    return [_row("certificates", "Certificates", grade, cause, step, **named)]


def proxy_finding(environ: Mapping[str, str], remote: Sequence[Endpoint]) -> Finding:
    """Say what the proxy variables do; `remote` are the user's own servers on other machines."""
    proxies = {name: (value, _without_password(value)) for name, value in proxies_of(environ).items()}
    shown = ", ".join(f"{name}={told}" for name, (_, told) in proxies.items())
    bad = next((name for name, (value, _) in proxies.items() if _fault(value)), "")
    bypassed = _bypassed(environ)
    missed = [host for host in _LOOPBACK if host not in bypassed]
    through = f" Requests to {', '.join(one.host for one in remote)} go through it." if remote else ""
    grade, step = Grade.OK, ""
    if not proxies:
        return _row("proxy", "Proxy variables", Grade.OK, "No proxy is set in the environment.")
    if bad:
        grade = Grade.FAULT if remote else Grade.WARNING
        needed = f" It is needed for {remote[0].host}." if remote else ""
        cause = (
            f"{bad} names a proxy that lmchat cannot use: {_fault(proxies[bad][0])}.{needed} Servers of this "
            "machine are reached without it."
        )
        step = f"unset {bad}, or name an http:// proxy in it"
    elif missed:
        grade = Grade.WARNING
        cause = (
            f"{shown}: lmchat asks servers of this machine directly all the same; other programs would ask "
            f"the proxy for {' and '.join(missed)}, and fail.{through}"
        )
        step = "export NO_PROXY=127.0.0.1,localhost,::1 no_proxy=127.0.0.1,localhost,::1"
    else:
        cause = f"{shown}: not used for this machine, by lmchat or by others (NO_PROXY).{through}"
    facts = {"variables": {name: told for name, (_, told) in proxies.items()}}
    return _row("proxy", "Proxy variables", grade, cause, step, **facts)


def _bypassed(environ: Mapping[str, str]) -> set[str]:
    """Return the names of this machine that no proxy is asked for; each entry may name a port."""
    listed = environ.get("no_proxy", "") or environ.get("NO_PROXY", "")
    names = set()
    for word in listed.split(","):
        name = word.strip().lower().strip(".")
        is_bare_v6 = name.count(":") > 1 and "]" not in name
        names.add(name if is_bare_v6 else name.removeprefix("[").partition("]" if "]" in name else ":")[0])
    return {host for host in _LOOPBACK if "*" in names or host in names}


def _fault(value: str) -> str:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "it is no address"
    if parts.scheme not in _KNOWN:
        return f"{parts.scheme}:// is not known"
    if not host:
        return "it names no host"
    is_silent = parts.scheme.startswith("socks") and find_spec("socksio") is None
    return "SOCKS is not spoken here" if is_silent else ""


def _without_password(value: str) -> str:
    """Return scheme, host and port only: the rest may hold a password."""
    scheme = value.partition("://")[0] if "://" in value else "http"
    place = host_and_port(value)
    return f"{scheme}://{place}" if place else "(no address)"


class Loopback(Struct, frozen=True, kw_only=True):
    """This machine's addresses for itself, as they were seen."""

    has_ipv6: bool
    """Whether there is `::1`."""
    localhost: tuple[str, ...]
    """Addresses of the name, in the order in which programs try; empty where it is not known."""
    answering: Mapping[int, tuple[str, ...]]
    """Literals that take connections, by port; a port where none does is left out."""


async def see_loopback(ports: Sequence[int]) -> Loopback:
    """Connect to each port on each literal; nothing is sent."""
    places = [(port, literal) for port in dict.fromkeys(ports) for literal in LITERALS]
    taken = await asyncio.gather(*(_takes_connections(literal, port) for port, literal in places))
    answering: dict[int, tuple[str, ...]] = {}
    for (port, literal), is_taken in zip(places, taken, strict=True):
        if is_taken:
            answering[port] = (*answering.get(port, ()), literal)
    return Loopback(has_ipv6=has_ipv6(), localhost=await _localhost(), answering=answering)


def has_ipv6() -> bool:
    """Whether this machine has the loopback address of IPv6."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


async def _takes_connections(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(CONNECT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return True


async def _localhost() -> tuple[str, ...]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(CONNECT_S):
            found = await loop.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError):
        return ()
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


def loopback_findings(seen: Loopback, names: Mapping[int, str]) -> list[Finding]:
    """Return the row about `localhost` and the one about both families; `names` says what a port is for."""
    named = {
        port: f"port {port} ({names[port]})" if port in names else f"port {port}" for port in seen.answering
    }
    return [_name(seen, named), _families(seen, named)]


def _name(seen: Loopback, named: Mapping[int, str]) -> Finding:
    missed = [port for port, literals in seen.answering.items() if not {*literals} & {*seen.localhost}]
    grade, cause, step = Grade.OK, f"localhost leads to {' and '.join(seen.localhost)}.", ""
    if not seen.localhost:
        grade, step = Grade.WARNING, "Add the line `127.0.0.1 localhost` to /etc/hosts"
        cause = "The name localhost leads nowhere; lmchat asks 127.0.0.1 and ::1 by themselves."
    elif missed:
        grade = Grade.WARNING
        cause = (
            f"localhost leads to {' and '.join(seen.localhost)} only, where "
            f"{', '.join(named[port] for port in missed)} does not answer; lmchat asks both addresses, "
            "other programs may not."
        )
        literal = seen.answering[missed[0]][0]
        host = f"[{literal}]" if ":" in literal else literal
        step = f"Name http://{host}:{missed[0]} in other programs"
    facts = {"localhost": list(seen.localhost), "has_ipv6": seen.has_ipv6}
    return _row("localhost", "localhost", grade, cause, step, **facts)


def _families(seen: Loopback, named: Mapping[int, str]) -> Finding:
    only_ipv6 = [port for port, literals in seen.answering.items() if literals == ("::1",)]
    listed = "; ".join(f"{named[port]} on {' and '.join(on)}" for port, on in seen.answering.items())
    grade, cause, step = Grade.OK, f"Answering: {listed}.", ""
    if not seen.answering:
        missing = "" if seen.has_ipv6 else " This machine has no ::1."
        grade, cause = Grade.ABSENT, f"No known port takes connections, on 127.0.0.1 or on ::1.{missing}"
    elif only_ipv6:
        grade = Grade.WARNING
        cause = (
            f"{', '.join(named[port] for port in only_ipv6)} answers on ::1 only: programs that ask "
            "127.0.0.1 do not reach it; lmchat does."
        )
        step = f"Name http://[::1]:{only_ipv6[0]} in other programs, or let the server listen on 127.0.0.1"
    facts = {"answering": {str(port): list(on) for port, on in seen.answering.items()}}
    return _row("families", "IPv4 and IPv6", grade, cause, step, **facts)
