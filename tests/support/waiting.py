"""Waits for conditions of other processes, and finds these processes (Linux)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
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
    """Whether a process is there, and not only its exit code ."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in ("Z", "X")


def processes(*words: str) -> list[int]:
    """Return the processes whose command lines have all these words."""
    found = []
    for folder in _folders():
        with suppress(OSError):
            line = (folder / "cmdline").read_bytes().decode("utf-8", "replace")
            if all(word in line for word in words):
                found.append(int(folder.name))
    return found


def children_of(parent: int) -> list[int]:
    """Return the processes that a process has started."""
    found = []
    for folder in _folders():
        with suppress(OSError, IndexError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(folder.name))
    return found


def _folders() -> Iterator[Path]:
    return (folder for folder in Path("/proc").iterdir() if folder.name.isdigit())
