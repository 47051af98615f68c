"""Memory that is free on this machine, and memory that a model needs."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from lmchat.domain.engine import ModelFile

_CGROUP = Path("/sys/fs/cgroup")
_OVERHEAD = 1.15
"""Memory per file size, with window and buffers; measured 1.3 for the smallest, 1.1 for 8B."""
_GB = 1e9


def available_bytes() -> int:
    """Return the bytes that are free without swapping, and within the limit of a container."""
    import psutil  # noqa: PLC0415 - a list of models does without it

    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):
        free = min(free, _free_in_container())
    return free


def _free_in_container() -> int:
    """Return the bytes that are free within the limit of a container (Linux, cgroup v2).

    Raises `OSError` outside a container, and `ValueError` if there is no limit: its file then has
    the word `max`.
    """
    limit = int((_CGROUP / "memory.max").read_text())
    used = int((_CGROUP / "memory.current").read_text())
    statistics = (_CGROUP / "memory.stat").read_text().splitlines()  # a name and a number each
    by_name = dict(line.split() for line in statistics)
    # the copies of files that are kept in memory can be given up, except files that are only there
    file_cache = int(by_name.get("file", 0)) - int(by_name.get("shmem", 0))
    return max(0, limit - used + max(0, file_cache))


def needed_bytes(model: ModelFile) -> int:
    """Return an estimate of the bytes that serving a model takes."""
    return int(model.size_bytes * _OVERHEAD)


def shortage_text(model: ModelFile) -> str:
    """Return needed and free memory for the end of a sentence; "" if the model fits.

    The text is in brackets, with a blank before it.
    """
    available = available_bytes()
    needed = needed_bytes(model)
    if needed <= available:
        return ""
    return f" (it needs about {needed / _GB:.1f} GB, {available / _GB:.1f} GB are free)"


def size_warning(model: ModelFile) -> str:
    """Return a sentence if a model may be too large for the memory, else ""."""
    shortage = shortage_text(model)
    if not shortage:
        return ""
    return f"{model.name} may be too large for the memory of this machine{shortage}."
