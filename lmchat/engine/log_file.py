"""The log of the child: its last run and the one before, each of bounded size."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from lmchat.errors import EngineUnavailable

LOG_BYTES = 1_000_000
"""A run that writes more begins its log anew."""
_TAIL_BYTES = 16_384


class RunLog:
    """The log of one run; it stays that of this run, even when another lmchat begins one of the same name."""

    def __init__(self, path: Path) -> None:
        """Put the log of the run before aside and begin a new one.

        Raises:
            EngineUnavailable: it cannot be written.
        """
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if path.exists():
                path.replace(path.with_name(f"{path.name}.1"))
            flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            self.file: BinaryIO = os.fdopen(os.open(path, flags, 0o600), "r+b", buffering=0)
            """What the child writes to."""
        except OSError as error:
            raise EngineUnavailable(
                f"The log of the built-in engine cannot be written: {path}: {error.strerror or error}.",
                hint="Check who may write there, or set LMCHAT_HOME to another folder.",
            ) from error

    def tail(self) -> str:
        """Return its end; nothing where it cannot be read."""
        try:
            size = os.fstat(self.file.fileno()).st_size
            data = os.pread(self.file.fileno(), _TAIL_BYTES, max(0, size - _TAIL_BYTES))
        except (OSError, ValueError):
            return ""
        return data.decode("utf-8", "replace")

    def close(self) -> None:
        """Forget it; the file stays."""
        self.file.close()
