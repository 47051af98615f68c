"""Reading a file that should be an ordinary one, whatever stands in its place."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

MAX_BYTES = 16 << 20
"""More than any file that lmchat writes or a person does."""


def read_plain(path: Path, *, limit: int = MAX_BYTES, may_stream: bool = False) -> bytes:
    """Return what a file holds; never waits for a writer, never reads without end.

    `may_stream` lets pipes and devices through, for a path that a person named: `--config <(pass lmchat)`.

    Raises:
        OSError: it cannot be read, is no ordinary file, or is larger than the limit.
    """
    waiting = 0 if may_stream else os.O_NONBLOCK
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | waiting)
    with os.fdopen(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if not (stat.S_ISREG(mode) or may_stream):
            raise OSError(errno.EINVAL, "it is no ordinary file", str(path))
        if stat.S_ISREG(mode) and os.fstat(descriptor).st_size > limit:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
        data = file.read(limit + 1)
    if len(data) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), str(path))
    return data
