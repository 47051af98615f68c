"""Processes that hold files until a block ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOLD_LOCKS = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from lmchat.base.files.disk import locked
with ExitStack() as stack:
    for name in sys.argv[1:]:
        stack.enter_context(locked(Path(name)))
    print("held", flush=True)
    time.sleep(60)
"""
HOLD_SQLITE = """
import sqlite3, sys, time
sqlite3.connect(sys.argv[1], isolation_level=None).execute("begin immediate")
print("held", flush=True)
time.sleep(60)
"""


@contextmanager
def held(code: str, *files: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-c", code, *map(str, files)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - ours
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            yield process
        finally:
            process.kill()
