"""Lets a test that runs as root meet a file as any user does: root may read and write everything."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_NOBODY = 65534


@contextmanager
def no_root() -> Iterator[None]:
    """Be nobody for a while, where the tests run as root; what is imported meanwhile must lie open to all."""
    if os.geteuid() != 0:
        yield
        return
    os.setresuid(_NOBODY, _NOBODY, 0)
    try:
        yield
    finally:
        os.setresuid(0, 0, 0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that everybody can enter and write to, unlike those of the tests."""
    with tempfile.TemporaryDirectory(prefix="lmchat-open-") as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)
