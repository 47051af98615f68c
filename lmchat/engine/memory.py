"""Memory that is free on this machine, and that a model needs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lmchat.domain.engine import ModelFile

_CGROUP = Path("/sys/fs/cgroup")
_OVERHEAD = 1.15
"""Memory per file size, with window and buffers; measured 1.3 for the smallest, 1.1 for 8B."""
_GB = 1e9


def available_bytes() -> int:
    """Return the free memory without swapping, within a container's limit."""
    import psutil  # noqa: PLC0415 - a list of models does without it

    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # without a limit, memory.max is a word
        limit = int((_CGROUP / "memory.max").read_text())
        used = int((_CGROUP / "memory.current").read_text())
        rows = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        # what the files of the container take in memory can be given back
        free = min(free, max(0, limit - used + int(rows.get("file", 0))))
    return free


def needed_bytes(model: ModelFile) -> int:
    """Return the estimated memory to serve a model."""
    return int(model.size_bytes * _OVERHEAD)


def memory_words(model: ModelFile) -> str:
    """Return need and supply in brackets; empty if the model fits."""
    available = available_bytes()
    needed = needed_bytes(model)
    if needed <= available:
        return ""
    return f" (it needs about {needed / _GB:.1f} GB, {available / _GB:.1f} GB are free)"


def warning(model: ModelFile) -> str:
    """Return a sentence if a model will hardly fit, else ""."""
    words = memory_words(model)
    return f"{model.name} may be too large for the memory of this machine{words}." if words else ""
