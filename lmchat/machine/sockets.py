"""Owners of the ports of this machine, as the kernel's tables of sockets name them on Linux.

psutil finds the programs of other users for root only; these tables name the user of each socket to
everybody.
"""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from msgspec import Struct

OWN_USER = "Stop that program, or start the server as your own user."
"""Next step where another user holds a port."""
_TABLES = Path("/proc/net")
_LISTENING = "0A"
_ALL_4 = IPv4Address("0.0.0.0")  # noqa: S104 - read, not bound to
_ALL_6 = IPv6Address("::")
_ROOT = 0


class _Listener(Struct, frozen=True, kw_only=True):
    """Row of a table: a socket that listens."""

    address: str  # hexadecimal, with the port
    user: int


def foreign_owner(host: str, port: int, tables: Path = _TABLES) -> str:
    """Return the user who holds a local port; empty for this user, root, and where unknown.

    It is unknown on other systems than Linux, and for a port where nothing listens: only root can
    forward that to a container or another machine. `host` is `localhost` or an IP address.
    """
    if sys.platform != "linux":
        return ""
    hosts = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    for address in map(ip_address, hosts):
        for listener in _listeners_for(address, port, tables):
            if listener.user not in (_ROOT, os.getuid(), os.geteuid()):
                return _name_of(listener.user)
    return ""


def _listeners_for(address: IPv4Address | IPv6Address, port: int, tables: Path) -> list[_Listener]:
    """Return the sockets that take a connection: of the address itself, else of all addresses."""
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    listeners = _read(tables / "tcp6")
    addresses: list[IPv4Address | IPv6Address]
    if isinstance(address, IPv6Address):
        addresses = [address, _ALL_6]
    else:
        listeners += _read(tables / "tcp")
        addresses = [address, IPv6Address(f"::ffff:{address}"), _ALL_4, _ALL_6]
    for candidate in addresses:
        wanted = _written(candidate, port)
        found = [listener for listener in listeners if listener.address == wanted]
        if found:
            return found
    return []


def _written(address: IPv4Address | IPv6Address, port: int) -> str:
    """Return an address as the tables write it."""
    packed = address.packed
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    figures = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    return f"{figures}:{port:04X}"


def _read(table: Path) -> list[_Listener]:
    """Return the listening sockets of a table; none where the system does not show it."""
    try:
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
    except OSError:
        return []
    return [_Listener(address=row[1], user=int(row[7])) for row in rows if row[3] == _LISTENING]


def _name_of(user: int) -> str:
    import pwd  # noqa: PLC0415 - Windows has none

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:  # as in a container
        return str(user)
