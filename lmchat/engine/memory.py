"""Memory: what a model needs, and what this machine has left."""

from __future__ import annotations

import os
from pathlib import Path

from lmchat.domain.engine import ModelFile

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_OVERHEAD = 1.15
"""Beside the file: the window and what is computed with; measured 1.3 for the smallest, 1.1 for 8B."""
_GB = 1e9


def available_bytes() -> int | None:
    """Return what can be had without swapping, also in a container; None where nothing tells."""
    amounts = [one for one in (_free(), _left_in_container()) if one is not None]
    return min(amounts, default=None)


def needed_bytes(model: ModelFile) -> int:
    """Return about what it takes to serve a model."""
    return int(model.size_bytes * _OVERHEAD)


def memory_words(model: ModelFile) -> str:
    """Return need and supply, in brackets for a sentence; nothing where the file would fit."""
    available = available_bytes()
    if available is None or needed_bytes(model) <= available:
        return ""
    return f" (it needs about {needed_bytes(model) / _GB:.1f} GB, {available / _GB:.1f} GB are free)"


def warning(model: ModelFile) -> str:
    """Return a sentence where a model will hardly fit, else nothing."""
    words = memory_words(model)
    return f"{model.name} may be too large for the memory of this machine{words}." if words else ""


def _free() -> int | None:
    try:
        for line in _MEMINFO.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _left_in_container() -> int | None:
    """Return what a limit of the container leaves; what its files take in memory can be given back."""
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(stat.get("file", 0)))
    except (OSError, ValueError):
        return None
