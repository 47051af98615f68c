"""A disk that takes some files and then is full."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from unittest import mock

from lmchat.files import write_new_file


class NoRoomAfter:
    """Writes files until there is no room left: then the system says so when the file is flushed."""

    def __init__(self, files: int) -> None:
        self._left = files

    def write(self, path: Path, text: str, *, is_forced: bool = False) -> None:
        self._left -= 1
        if self._left >= 0:
            write_new_file(path, text, is_forced=is_forced)
            return
        full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        with mock.patch("os.fsync", side_effect=full):
            write_new_file(path, text, is_forced=is_forced)
