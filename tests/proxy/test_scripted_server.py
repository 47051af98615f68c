from __future__ import annotations

import urllib.request
from pathlib import Path

from tests.support.scripted_server import DONE, ScriptedServer, finish, sse

ROOT = Path(__file__).parents[2]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - http, and ours
        return reply.read()


def test_bytes_of_a_stream_are_the_same_however_they_are_cut():
    with ScriptedServer() as server:
        server.on("/whole", sse("Hé", finish(), DONE)).on("/bytes", sse("Hé", finish(), DONE, every=1))
        server.on("/close", sse("Hé", finish(), DONE, framing="close"))
        whole = get(f"{server.url}/whole")
        assert "Hé".encode() in whole
        assert get(f"{server.url}/bytes") == whole == get(f"{server.url}/close")
