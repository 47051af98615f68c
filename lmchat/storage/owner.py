"""Which process streams an answer, and whether that process is still there."""

from __future__ import annotations

import os
import re
import subprocess
from functools import cache
from pathlib import Path

_DEAD_STATES = "ZXx"
"""A killed process that its parent has not collected yet writes nothing any more."""
_PID = re.compile(r"[0-9]{1,10}")


@cache
def this_process() -> str:
    """Return the mark of this process: its id, and its start time, because ids are used again."""
    return f"{os.getpid()}@{_started(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether the process with this mark runs."""
    pid, _, started = owner.partition("@")
    if not _PID.fullmatch(pid) or not started:
        return False
    return owner == this_process() or _started(int(pid)) == started


def _started(pid: int) -> str:
    """Return when a process was started, in whatever form this system tells it; empty if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return "" if Path("/proc/self/stat").exists() else _started_by_ps(pid)
    fields = stat.rpartition(")")[2].split()  # the name before it may hold anything, also blanks
    if fields[0] in _DEAD_STATES:
        return ""
    return f"{fields[19]}-{_boot()}"


@cache
def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _started_by_ps(pid: int) -> str:
    command = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603 - no shell, a number
    except (OSError, subprocess.TimeoutExpired):
        return ""
    state, _, started = answer.stdout.strip().partition(" ")
    return "" if state[:1] in _DEAD_STATES else " ".join(started.split())
