"""Refuses connections to what is not of the tests; Python imports it first in every child.

One that leaves this machine is also reported. At a usual port of this machine, nothing answers: a
model server there is the person's own.

It must not import more than `sys` and `os` at once: it is in front of every start that a test measures.
"""

from __future__ import annotations

import os
import sys

REPORT = "TEST_NETWORK_REPORT"
"""Environment variable that names the file with one line for each refused connection."""

_INSTALLERS = ("pip", "pip3", "uv", "__pip-runner__.py")
_installed = False
_WITH_ADDRESS = frozenset(("socket.connect", "socket.sendto", "socket.sendmsg"))
_WITH_HOST = frozenset(("socket.getaddrinfo", "socket.gethostbyname"))
_WATCHED = _WITH_ADDRESS | _WITH_HOST
USUAL_PORTS = frozenset(
    (1234, 1337, 3928, 4000, 4891, 5000, 5001, 6767, 8000, 8080, 9931, 11434, 12434, 13305, 30000)
)


class LeavesThisMachineError(PermissionError):
    """A connection to another machine; an OSError, so that programs meet it as they would a dead network."""


def install():
    global _installed  # noqa: PLW0603 - an audit hook cannot be taken away, so there must be only one
    if not _installed and not _is_installer(sys.orig_argv):
        sys.addaudithook(_watch)
        _installed = True


def _is_installer(argv):
    """Package installers may fetch; `python -m pip`, `pip`, and what pip starts to build."""
    words = [word for word in argv[:4] if word != "-P"]
    names = [os.path.basename(word) for word in words[:3]]  # noqa: PTH119 - pathlib is not imported yet
    return any(name in _INSTALLERS for name in names[:2]) or names[1:3] == ["-m", "pip"]


def _watch(event, args):
    if event not in _WATCHED:  # at once: each `id()` is an event, too
        return
    if event in _WITH_ADDRESS:
        address = args[1]
        if isinstance(address, tuple) and not _is_here(address[0]):
            _refuse(f"{event} {address[0]} port {address[1]}")
        if isinstance(address, tuple) and address[1] in USUAL_PORTS:
            import errno  # noqa: PLC0415 - see above

            raise ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED))
    elif not _is_here(args[0]):
        _refuse(f"{event} {args[0]}")


def _is_here(host):
    if host is None:
        return True
    host = host.decode("ascii", "replace") if isinstance(host, bytes) else str(host)
    if host.lower() in ("", "localhost", "0.0.0.0", "::"):  # noqa: S104 - what servers of the tests bind to
        return True
    import ipaddress  # noqa: PLC0415 - see above

    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return bool((getattr(address, "ipv4_mapped", None) or address).is_loopback)


def _refuse(what):
    where = f"{what} by process {os.getpid()} {sys.orig_argv[:4]} in {os.environ.get('PYTEST_CURRENT_TEST', '?')}"
    report = os.environ.get(REPORT)
    if report:
        handle = os.open(report, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, (where + "\n").encode())
        os.close(handle)
    raise LeavesThisMachineError(f"tests talk to this machine only: {what}")


install()
