"""Lets the system notice that the other machine is gone: a connection says nothing of that by itself."""

from __future__ import annotations

import socket

VANISHED_S = 30
"""A machine that acknowledges nothing for so long is gone; sooner, a change of network would cut answers."""
EVERY_S = 5
"""Between two questions of the system to a connection on which nothing moves."""

Option = tuple[int, int, int]


def keepalive_options() -> list[Option]:
    """Return what this system can do of it, as options of a socket."""
    named = [
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", EVERY_S),
        (socket.IPPROTO_TCP, "TCP_KEEPALIVE", EVERY_S),  # the same on macOS
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", EVERY_S),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", VANISHED_S // EVERY_S - 1),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", VANISHED_S * 1000),  # also for what is on its way
    ]
    known = [(level, getattr(socket, name), value) for level, name, value in named if hasattr(socket, name)]
    with socket.socket() as trial:
        return [option for option in known if _takes(trial, option)]


def _takes(trial: socket.socket, option: Option) -> bool:
    """Whether the system takes it; one that it refuses would make every connection fail."""
    try:
        trial.setsockopt(*option)
    except OSError:
        return False
    return True
