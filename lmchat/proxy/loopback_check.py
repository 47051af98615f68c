"""On which forms of the loopback address the known ports answer, and where `localhost` leads."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress

from msgspec import Struct

from lmchat.domain.candidate import Finding, Grade, Group, Rows

_row = Rows(Group.NETWORK, "network.")
LITERALS = ("127.0.0.1", "::1")
"""In the order in which lmchat asks them (R-6)."""
CONNECT_S = 1.5
"""A connection to this machine is made or refused at once, unless a firewall drops packets."""


class Loopback(Struct, frozen=True, kw_only=True):
    """What was seen of this machine's address for itself."""

    has_ipv6: bool
    """Whether there is `::1`."""
    localhost: tuple[str, ...]
    """Where the name leads, in the order in which programs try; empty where it is not known."""
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


def loopback_findings(seen: Loopback, names: Mapping[int, str]) -> list[Finding]:
    """Return the row about `localhost` and the one about both families; `names` says what a port is for."""
    return [_name_finding(seen, names), _family_finding(seen, names)]


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


def _name_finding(seen: Loopback, names: Mapping[int, str]) -> Finding:
    missed = [
        port
        for port, literals in seen.answering.items()
        if seen.localhost and not {*literals} & {*seen.localhost}
    ]
    grade, step = Grade.OK, ""
    cause = f"localhost leads to {' and '.join(seen.localhost)}."
    if not seen.localhost:
        grade = Grade.WARNING
        cause = "The name localhost leads nowhere; lmchat asks 127.0.0.1 and ::1 by themselves."
        step = "Add the line `127.0.0.1 localhost` to /etc/hosts"
    elif missed:
        grade = Grade.WARNING
        listed = ", ".join(_named(port, names) for port in missed)
        cause = (
            f"localhost leads to {' and '.join(seen.localhost)} only, where {listed} does not answer; "
            "lmchat asks both addresses, other programs may not."
        )
        step = f"Name http://{_written(seen.answering[missed[0]][0])}:{missed[0]} in other programs"
    facts: dict[str, object] = {"localhost": list(seen.localhost), "has_ipv6": seen.has_ipv6}
    return _row("localhost", "localhost", grade, cause, step, **facts)


def _family_finding(seen: Loopback, names: Mapping[int, str]) -> Finding:
    told = {str(port): list(literals) for port, literals in seen.answering.items()}
    only_ipv6 = [port for port, literals in seen.answering.items() if literals == ("::1",)]
    listed = "; ".join(
        f"{_named(port, names)} on {' and '.join(literals)}" for port, literals in seen.answering.items()
    )
    grade, cause, step = Grade.OK, f"Answering: {listed}.", ""
    if not seen.answering:
        missing = "" if seen.has_ipv6 else " This machine has no ::1."
        grade, cause = Grade.ABSENT, f"No known port takes connections, on 127.0.0.1 or on ::1.{missing}"
    elif only_ipv6:
        grade = Grade.WARNING
        cause = (
            f"{', '.join(_named(port, names) for port in only_ipv6)} answers on ::1 only: programs that ask "
            "127.0.0.1 do not reach it; lmchat does."
        )
        step = f"Name http://[::1]:{only_ipv6[0]} in other programs, or let the server listen on 127.0.0.1"
    return _row("families", "IPv4 and IPv6", grade, cause, step, answering=told)


def _named(port: int, names: Mapping[int, str]) -> str:
    return f"port {port} ({names[port]})" if port in names else f"port {port}"


def _written(literal: str) -> str:
    return f"[{literal}]" if ":" in literal else literal
