"""Modes of files; on Windows, the folder of a user has an access list in their place."""

from __future__ import annotations

import os
import stat
from pathlib import Path


def is_private(path: Path) -> bool:
    """Whether no other user may read a file, or enter a folder."""
    mode = 0o700 if path.is_dir() else 0o600
    return os.name == "nt" or stat.S_IMODE(path.stat().st_mode) == mode
