"""Sockets that listen on this machine."""

from __future__ import annotations

import socket

import pytest


def listener(host: str = "127.0.0.1") -> socket.socket:
    """Listen at a free port; only a machine whose kernel lacks IPv6 leaves a test of `::1` out."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, 0), family=family)
    except OSError:
        if family == socket.AF_INET:
            raise
        pytest.skip(f"this machine has no {host}")
