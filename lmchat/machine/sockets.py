"""Owners of the ports of this machine, as the tables of sockets in `/proc/net` name them on Linux.

psutil finds the programs of other users for root only. These tables show the user id of each socket
to every user.
"""

from __future__ import annotations

import os
import sys
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

from msgspec import Struct

OWN_USER_HINT = "Stop that program, or start the server as your own user."
"""Next step where another user holds a port."""
_TABLES = Path("/proc/net")
_LISTENING = "0A"  # state of a socket in the tables
_ALL_4 = IPv4Address("0.0.0.0")  # noqa: S104 - read, not bound to
_ALL_6 = IPv6Address("::")
_ROOT = 0  # user id


class _Listener(Struct, frozen=True, kw_only=True):
    """Row of a table: a socket that listens."""

    address: str  # with the port, as `_table_form` returns it
    user_id: int


def foreign_owner(host: str, port: int, tables: Path = _TABLES) -> str:
    """Return the name of another user whose program listens on a local port, else an empty text.

    Any user can take a free port and read the API keys that are sent to it. This user and root are
    not reported: root can read everything anyway. A port on which nothing listens may be forwarded
    to a container or another machine; only root can set that up, so the text is empty then, too.
    It is always empty on other systems than Linux. `host` is `localhost` or an IP address.
    """
    if sys.platform != "linux":
        return ""
    # which of the two `localhost` means depends on the program that connects
    hosts = ("127.0.0.1", "::1") if host == "localhost" else (host,)
    for address in map(ip_address, hosts):
        for listener in _listeners_for(address, port, tables):
            if listener.user_id not in (_ROOT, os.getuid(), os.geteuid()):
                return _user_name(listener.user_id)
    return ""


def _listeners_for(address: IPv4Address | IPv6Address, port: int, tables: Path) -> list[_Listener]:
    """Return the sockets that accept a connection to an address and a port.

    These are the sockets that listen on the address itself, or else those that listen on all
    addresses. Return an empty list if nothing listens.
    """
    # `::ffff:127.0.0.1` is another form of 127.0.0.1
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    listeners = _all_listeners(tables / "tcp6")
    addresses: list[IPv4Address | IPv6Address]
    if isinstance(address, IPv6Address):
        addresses = [address, _ALL_6]
    else:  # IPv6 sockets accept connections to IPv4 addresses, too
        listeners += _all_listeners(tables / "tcp")
        addresses = [address, IPv6Address(f"::ffff:{address}"), _ALL_4, _ALL_6]

    for candidate in addresses:
        table_form = _table_form(candidate, port)
        matching = [listener for listener in listeners if listener.address == table_form]
        if matching:
            return matching
    return []


def _table_form(address: IPv4Address | IPv6Address, port: int) -> str:
    """Return an address and a port in the form of the tables.

    They have each 4 bytes of an address as one number in the byte order of the machine. On most
    machines, 127.0.0.1 and port 1234 are `0100007F:04D2`.
    """
    packed = address.packed
    words = [packed[start : start + 4] for start in range(0, len(packed), 4)]
    digits = "".join(f"{int.from_bytes(word, sys.byteorder):08X}" for word in words)
    return f"{digits}:{port:04X}"


def _all_listeners(table: Path) -> list[_Listener]:
    """Return the listening sockets of a table; an empty list if the table cannot be read."""
    try:
        lines_below_heading = table.read_text().splitlines()[1:]
    except OSError:
        return []
    listeners: list[_Listener] = []
    for line in lines_below_heading:
        # number, local address, remote address, state, queues, timer, retries, user id, …
        _, address, _, state, _, _, _, user_id, *_ = line.split()
        if state == _LISTENING:
            listeners.append(_Listener(address=address, user_id=int(user_id)))
    return listeners


def _user_name(user_id: int) -> str:
    """Return the name of a user, or the id if the user has no name, as in a container."""
    import pwd  # noqa: PLC0415 - Windows has none

    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)
