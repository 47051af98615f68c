from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from http.client import RemoteDisconnected
from pathlib import Path

import pytest

from tests.support.scripted_server import DONE, Cut, Gate, ScriptedServer, finish, json_reply, raw_reply, sse

ROOT = Path(__file__).parents[2]


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as reply:  # noqa: S310 - http, and ours
        return reply.read()


def test_replies_of_a_route_follow_each_other_and_the_last_stays():
    with ScriptedServer() as server:
        server.on("GET /a", json_reply(1), json_reply(2))
        assert [get(f"{server.url}/a") for _ in range(3)] == [b"1", b"2", b"2"]
        assert [one.path for one in server.requests] == ["/a", "/a", "/a"]


def test_bytes_of_a_stream_are_the_same_however_they_are_cut():
    with ScriptedServer() as server:
        server.on("/whole", sse("Hé", finish(), DONE)).on("/bytes", sse("Hé", finish(), DONE, every=1))
        server.on("/close", sse("Hé", finish(), DONE, framing="close"))
        whole = get(f"{server.url}/whole")
        assert "Hé".encode() in whole
        assert get(f"{server.url}/bytes") == whole == get(f"{server.url}/close")


def test_a_cut_closes_the_connection():
    with ScriptedServer() as server:
        server.on("/", raw_reply(Cut(is_reset=True)))
        with pytest.raises((ConnectionResetError, RemoteDisconnected)):
            get(server.url + "/")


def test_the_server_waits_at_a_gate():
    gate = Gate()
    gate.open()
    with ScriptedServer() as server:
        server.on("/", sse("a", gate, "b"))
        assert get(server.url + "/").count(b"data:") == 2
        assert gate.reached.is_set()


def test_it_runs_as_a_process(tmp_path):
    ready = tmp_path / "ready.json"
    command = [sys.executable, "-m", "tests.support.scripted_server", "--product", "llama.cpp"]
    child = subprocess.Popen(  # noqa: S603 - our own words
        [*command, "--ready-file", str(ready), "--say", "Hi"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        while not ready.exists():
            assert child.poll() is None
        assert b"tiny.gguf" in get(json.loads(ready.read_text())["url"] + "/v1/models")
    finally:
        child.terminate()
        assert child.wait(10) == 0
