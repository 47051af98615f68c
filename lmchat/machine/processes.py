"""Programs that listen at the ports of this machine.

`port_holders` looks at all processes, so it is called in a thread.
"""

from __future__ import annotations

import pwd
import re
import sys
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from msgspec.structs import replace

from lmchat.domain.candidate import PortHolder

_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTENING = "0A"
_INTERPRETER = re.compile(r"(python|node|ruby|perl|java)[\d.]*$", re.IGNORECASE)
"""Programs whose name says little; the script that they run says more."""


def port_holders(ports: Collection[int]) -> dict[int, PortHolder]:
    """Return the program that listens at each of these ports, as far as this user may see."""
    holders: dict[int, PortHolder] = {}
    for address, port, pid in _listeners():
        if port not in ports:
            continue
        before = holders.get(port)
        if before is None or (before.pid is None and pid is not None):
            holders[port] = _holder(port, pid)
        addresses = (*(before.addresses if before else ()), address)
        holders[port] = replace(holders[port], addresses=tuple(dict.fromkeys(addresses)))
    return holders


def tool_to_see(port: int) -> str:
    """Return the command that shows the holder of a port that this user may not see."""
    if sys.platform == "darwin":
        return f"sudo lsof -nP -iTCP:{port} -sTCP:LISTEN"
    return f"sudo ss -ltnp 'sport = :{port}'"


def _listeners() -> Iterator[tuple[str, int, int | None]]:
    """Yield address, port and process of each listening socket."""
    for connection, pid in _connections():
        if connection.status == psutil.CONN_LISTEN:
            yield *connection.laddr, pid


def _connections() -> list[tuple[Any, int | None]]:
    try:
        return [(one, one.pid) for one in psutil.net_connections("tcp")]
    except psutil.AccessDenied:  # macOS lets only root see those of all users
        pass
    except (psutil.Error, OSError, RuntimeError):  # a table of the kernel that psutil cannot read
        return []
    found: list[tuple[Any, int | None]] = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            found += [(one, process.pid) for one in process.net_connections("tcp")]
    return found


def _holder(port: int, pid: int | None) -> PortHolder:
    if pid is None:
        return PortHolder(port=port, user=_user_of(port))
    holder = PortHolder(port=port, pid=pid)
    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        holder = replace(holder, program=process.name(), user=process.username())
        holder = replace(holder, program=_with_script(holder.program, process.cmdline()))
    return holder


def _with_script(name: str, words: list[str]) -> str:
    """Add what an interpreter runs, but none of its arguments: a key may be among them."""
    if not _INTERPRETER.match(name) or len(words) < 2:  # noqa: PLR2004 - program and script
        return name
    if words[1] == "-m" and len(words) > 2:  # noqa: PLR2004 - and its module
        return f"{name} -m {words[2]}"
    return name if words[1].startswith("-") else f"{name} {Path(words[1]).name}".rstrip()


def _user_of(port: int) -> str:
    """Return the owner of a socket whose process may not be seen, on Linux; psutil does not tell it."""
    for table in _TABLES:
        with suppress(OSError, ValueError, IndexError, KeyError):
            for fields in (line.split() for line in table.read_text().splitlines()[1:]):
                if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    return pwd.getpwuid(int(fields[7])).pw_name
    return ""
