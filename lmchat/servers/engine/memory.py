"""Memory that is free on this machine, and memory that a model needs."""

from __future__ import annotations

from lmchat.servers.engine.model_files import ModelFile

_OVERHEAD = 1.15
"""Memory per file size, with window and buffers; measured 1.3 for the smallest, 1.1 for 8B."""
_GB = 1e9


def available_bytes() -> int:
    """Return the bytes that are free without swapping."""
    import psutil  # noqa: PLC0415 - a list of models does without it

    return psutil.virtual_memory().available


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
