"""Certificates of the tests' own servers, and names of hosts elsewhere that lead to this machine.

`hosts` is for this machine, `workstation.lan` and the hosts of the providers, signed by `AUTHORITY`;
`elsewhere` for another name; `expired` is; `alone` is signed by itself, as servers in a home are.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / "certificates"
AUTHORITY = str(FOLDER / "authority.pem")
ALONE = str(FOLDER / "alone.pem")


def server_context(certificate: str) -> ssl.SSLContext:
    """Return what a server needs to show a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(FOLDER / f"{certificate}.pem", FOLDER / "key.pem")
    return context


def lead_here(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> list[str]:
    """Let these names mean 127.0.0.1 in this process; return a list that fills with who is looked up."""
    look_up, asked = socket.getaddrinfo, []

    def here(host, *rest, **more):
        name = host.decode() if isinstance(host, bytes) else host
        if name in hosts:
            asked.append(name)
        return look_up("127.0.0.1" if name in hosts else host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", here)
    return asked
