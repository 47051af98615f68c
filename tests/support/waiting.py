"""Waits for conditions: of other processes, which cannot tell when they hold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

WAIT_S = 15.0
_LOOK_S = 0.01


async def until(condition: Callable[[], object], what: str) -> None:
    """Wait while the event loop goes on."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for: {what}"
        await asyncio.sleep(_LOOK_S)


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Wait and do nothing else."""
    end_s = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end_s, f"waited in vain for: {what}"
        time.sleep(_LOOK_S)


def is_running(pid: int) -> bool:
    """Whether a process is there, and not only its exit code (Linux)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")
