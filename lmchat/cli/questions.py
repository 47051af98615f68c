"""Questions at the terminal, and reading of standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from io import BufferedReader

from lmchat.text import safe_line


def can_ask() -> bool:
    """Return whether stdin and stderr are a terminal."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


async def typed_line() -> bytes:
    """Return a line of stdin with its end; empty at the end of the input."""
    from lmchat.threads import run_abandonable  # imports asyncio, which `config` does without

    return await run_abandonable(lambda: from_stdin(BufferedReader.readline))


async def consents(question: str, read: Callable[[], Awaitable[bytes]] = typed_line) -> bool:
    """Ask a yes/no question; anything but yes means no. `read` returns the line with the answer."""
    sys.stderr.write(f"{safe_line(question)} [y/N] ")
    sys.stderr.flush()
    return (await read()).strip().lower() in (b"y", b"yes")


def from_stdin(read: Callable[[BufferedReader], bytes]) -> bytes:
    """Read from a copy of stdin.

    An abandoned thread that holds the lock of `sys.stdin` would keep Python from ending.
    """
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as file:
        return read(file)
