"""Room on the disk and in memory: how much there is, and the sentences where it does not suffice."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from lmchat.errors import EngineUnavailable

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MB = 1_000_000


def free_bytes(folder: Path) -> int | None:
    """Return what is free where a folder is or would be; None where the system does not tell."""
    for there in (folder, *folder.parents):
        try:
            return shutil.disk_usage(there).free
        except FileNotFoundError:
            continue
        except OSError:
            return None
    return None


def is_no_room(error: OSError) -> bool:
    """Whether the disk or a quota is full."""
    return error.errno in _NO_ROOM


def no_room(folder: Path, needed_bytes: int) -> EngineUnavailable:
    """Return the error that tells that the disk is full."""
    free = free_bytes(folder)
    there = "" if free is None else f", and {free // _MB} MB are free"
    return EngineUnavailable(
        f"The demo model needs {-(-needed_bytes // _MB)} MB of room in {folder}{there}.",
        hint="Make room there, or let LMCHAT_HOME name a folder on another disk.",
        kind="fetch",
    )
