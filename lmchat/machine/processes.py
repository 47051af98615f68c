"""Who listens at the ports of this machine: `/proc` on Linux, `lsof` on macOS; only looked at.

`port_holders(ports)` is what others call. It reads some hundred small files or runs a program, so it is
called in a thread.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.candidate import PortHolder
from lmchat.files import find_program

_PROC = Path("/proc")
_LISTENING = "0A"
_LSOF_S = 3.0
"""It asks the kernel only; a name server that hangs cannot hold it up (`-n`, `-P`)."""
_WORD_BYTES = 4
_SCRIPTED = re.compile(r"(python|node|ruby|perl|java)[\d.]*$")
"""Programs that say little by themselves: what they run says more."""


class _Socket(Struct, frozen=True, kw_only=True):
    """A listening socket of Linux."""

    port: int
    address: str
    inode: str
    user_id: int


def port_holders(ports: Collection[int], *, proc: Path = _PROC) -> dict[int, PortHolder]:
    """Return who listens at each of these ports; a port where nobody does is left out."""
    if (proc / "net" / "tcp").exists() or (proc / "net" / "tcp6").exists():
        return _of_linux(ports, proc)
    return _of_lsof(ports) if sys.platform == "darwin" else {}


def tool_to_see(port: int) -> str:
    """Return the command that shows the holder of a port where this user may not see it."""
    if sys.platform == "darwin":
        return f"sudo lsof -nP -iTCP:{port} -sTCP:LISTEN"
    return f"sudo ss -ltnp 'sport = :{port}'"


def _of_linux(ports: Collection[int], proc: Path) -> dict[int, PortHolder]:
    sockets = [one for one in _sockets(proc) if one.port in ports]
    owners = _owners({one.inode for one in sockets}, proc) if sockets else {}
    holders: dict[int, PortHolder] = {}
    for one in sockets:
        pid = owners.get(one.inode)
        before = holders.get(one.port)
        if before is not None:
            addresses = tuple(dict.fromkeys((*before.addresses, one.address)))
            holders[one.port] = replace(before, addresses=addresses)
        if before is None or (before.pid is None and pid is not None):
            holders[one.port] = PortHolder(
                port=one.port,
                addresses=before.addresses if before else (one.address,),
                program=_program(pid, proc) if pid is not None else "",
                pid=pid,
                user=_user(one.user_id),
            )
    return holders


def _sockets(proc: Path) -> Iterator[_Socket]:
    for name in ("tcp", "tcp6"):
        with suppress(OSError, ValueError, IndexError):
            for line in (proc / "net" / name).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] != _LISTENING:
                    continue
                address, _, port = fields[1].partition(":")
                yield _Socket(
                    port=int(port, 16), address=_address(address), inode=fields[9], user_id=int(fields[7])
                )


def _address(written: str) -> str:
    """Read an address as the kernel writes it: words of 4 bytes, each in the order of this machine."""
    words = bytes.fromhex(written)
    parts = [words[at : at + _WORD_BYTES] for at in range(0, len(words), _WORD_BYTES)]
    ordered = b"".join(part[::-1] if sys.byteorder == "little" else part for part in parts)
    return str(ip_address(ordered))


def _owners(inodes: Collection[str], proc: Path) -> dict[str, int]:
    """Return the process of each socket, as far as this user may see."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[str, int] = {}
    for pid in _pids(proc):
        for target in _open_files(proc / str(pid) / "fd"):
            if target in wanted:
                owners.setdefault(wanted[target], pid)
        if len(owners) == len(wanted):
            break
    return owners


def _pids(proc: Path) -> list[int]:
    with suppress(OSError):
        return sorted(int(name) for name in os.listdir(proc) if name.isdecimal())  # noqa: PTH208 - names only
    return []


def _open_files(folder: Path) -> Iterator[str]:
    with suppress(OSError):  # another user's, or it has just ended
        for entry in os.scandir(folder):
            with suppress(OSError):
                yield os.readlink(entry.path)  # noqa: PTH115 - `socket:[1]` is no path


def _program(pid: int, proc: Path) -> str:
    words: list[str] = []
    with suppress(OSError):
        words = (proc / str(pid) / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    with suppress(OSError):
        name = (proc / str(pid) / "comm").read_text(errors="replace").strip()
        return _with_script(name, words)
    return ""


def _with_script(name: str, words: list[str]) -> str:
    """Add what an interpreter runs, but no argument of that: a key may be among them."""
    if not _SCRIPTED.match(name) or len(words) < 2:  # noqa: PLR2004 - program and script
        return name
    if words[1] == "-m" and len(words) > 2:  # noqa: PLR2004 - and its module
        return f"{name} -m {words[2]}"
    return name if words[1].startswith("-") else f"{name} {Path(words[1]).name}".rstrip()


def _user(user_id: int) -> str:
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return str(user_id)


def _of_lsof(ports: Collection[int]) -> dict[int, PortHolder]:
    program = find_program("lsof", os.environ.get("PATH", os.defpath)) or "/usr/sbin/lsof"
    where = [f"-iTCP:{port}" for port in ports]
    if not where:
        return {}
    try:
        done = subprocess.run(  # noqa: S603 - our own arguments
            [program, "-nP", "-sTCP:LISTEN", "-Fpcun", *where],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_LSOF_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return read_lsof(done.stdout.decode("utf-8", "replace").splitlines())


def read_lsof(lines: Iterable[str]) -> dict[int, PortHolder]:
    """Read what `lsof -F` prints: a letter and a value a line, first of the process, then of its files."""
    holders: dict[int, PortHolder] = {}
    process: dict[str, str] = {}
    for line in lines:
        letter, value = line[:1], line[1:]
        if letter == "p":
            process = {}
        process[letter] = value
        if letter == "n":
            _take_file(holders, process, value)
    return holders


def _take_file(holders: dict[int, PortHolder], process: Mapping[str, str], place: str) -> None:
    address, _, port = place.rpartition(":")
    if not port.isdecimal():
        return
    shown = "0.0.0.0" if address == "*" else address.strip("[]")  # noqa: S104 - read, not bound to
    before = holders.get(int(port))
    if before is not None:
        holders[int(port)] = replace(before, addresses=tuple(dict.fromkeys((*before.addresses, shown))))
        return
    pid, user = process.get("p", ""), process.get("u", "")
    holders[int(port)] = PortHolder(
        port=int(port),
        addresses=(shown,),
        program=process.get("c", ""),
        pid=int(pid) if pid.isdecimal() else None,
        user=_user(int(user)) if user.isdecimal() else user,
    )
