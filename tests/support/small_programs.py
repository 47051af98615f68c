"""Small real programs that stand in for model servers on PATH; each is a script of a test."""

from __future__ import annotations

import sys
from pathlib import Path

LISTEN = """
import os, signal, socket, sys, threading, time
signal.alarm(120)  # nothing outlives its test for long
{before}
listener = socket.create_server(("127.0.0.1", {port}))
print("listening", flush=True)
while True:
    taken, _ = listener.accept()
    taken.close()
"""
FAIL = """
import sys
print("starting up", file=sys.stderr)
print("Error: listen tcp 127.0.0.1:{port}: bind: address already in use", file=sys.stderr)
sys.exit(1)
"""
HANG = """
import signal, time
signal.alarm(120)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("hanging", flush=True)
time.sleep(600)
"""


def put(folder: Path, name: str, text: str, *, is_executable: bool = True) -> str:
    """Write a program of Python and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!{sys.executable} -IS\n{text}")
    file.chmod(0o755 if is_executable else 0o644)
    return str(file)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not waited for does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"
