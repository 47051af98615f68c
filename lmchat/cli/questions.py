"""Questions at the terminal, and reading of standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from io import BufferedReader
from typing import TypeVar

from lmchat.text import safe_line

Result = TypeVar("Result")


def can_ask() -> bool:
    """Return whether a user can read and answer questions: stdin and stderr are terminals."""
    return all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stderr))


async def typed_line() -> bytes:
    """Wait for a line on stdin and return it with its line end; empty at the end of the input."""
    from lmchat.threads import run_abandonable  # imports asyncio, which `config` does without

    return await run_abandonable(lambda: from_stdin(BufferedReader.readline))


async def ask_yes_no(question: str, read: Callable[[], Awaitable[bytes]] = typed_line) -> bool:
    """Ask the user a question and return whether the answer is yes.

    `read` waits for the line with the answer. Every other line means no.
    """
    sys.stderr.write(f"{safe_line(question)} [y/N] ")
    sys.stderr.flush()
    line = await read()
    return line.strip().lower() in (b"y", b"yes")


def from_stdin(read: Callable[[BufferedReader], Result]) -> Result:
    """Call `read` with another file object for stdin than `sys.stdin`, and return its result.

    The caller may be a thread that is abandoned while `read` waits. If that thread held the lock of
    `sys.stdin`, Python could not exit.
    """
    with os.fdopen(os.dup(sys.stdin.fileno()), "rb") as file:
        return read(file)
